"""What is computed for a dense chain: a forward pass, the loss, and a backward pass written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber.training.ensemble.dense.activations import TANHS, Elementwise, Kept
from cloudchamber.training.ensemble.dense.chain import DenseChain
from cloudchamber.training.ensemble.dense.losses import head_of
from cloudchamber.training.ensemble.dense.stages import Affine, Computed
from cloudchamber.training.ensemble.gradients import Loss
from cloudchamber.training.ensemble.layout import Flat, Layout

TanhName = Literal["exact", "rational"]
_FEW_COLUMNS = 64
Hidden = Float[Tensor, "k h n"]
"""Members, neurons, samples: samples last, so that a bias is one number per row."""
Raised = Float[Tensor, "k m n"]
"""The same of the layer after."""
Parts = tuple[Float[Tensor, " k"], list[Float[Tensor, "k _"]]]
"""The losses, and the gradients of the layout's parameters one by one."""
Named = Mapping[str, Tensor]


@dataclass(frozen=True)
class Program:
    """Losses and gradients of K members of a dense chain: pure tensor code, every product for all members in one call.

    Equation: `H_l = σ(W_l H_{l−1} + b_l)`, `D_l = ∂L/∂Z_l`, `∂L/∂W_l = D_l H_{l−1}ᵀ`, `∂L/∂b_l = Σ_n D_l`,
    `D_{l−1} = (W_lᵀ D_l) ⊙ σ'(Z_{l−1})`.

    Attributes:
        chain: what `dense_chain` made of the module.
        layout: of the module's parameters.
        loss: "mse", "cross_entropy", or a function of one member's outputs (n, o) and targets.
        per_member: whether inputs and targets have the members as their first axis.
        tanh: "exact" or "rational".
    """

    chain: DenseChain
    layout: Layout
    loss: Loss
    per_member: bool
    tanh: TanhName

    def __call__(self, flat: Flat, fixed: Named, inputs: Tensor, targets: Tensor) -> Parts:
        """Return the losses and gradients."""
        parameters = {**self.layout.views(flat), **fixed}
        outputs, kept = self._forward(parameters, self._first(inputs, len(flat)))
        losses, gradient = head_of(self.loss)(outputs, targets, self.per_member)
        found = self._backward(parameters, kept, gradient)
        return losses, [found[name].flatten(1) for name in self.layout.names]

    def _first(self, inputs: Tensor, members: int) -> Hidden:
        """Return the inputs as (K, d, n), a view wherever it can be one."""
        if self.chain.flattens:
            inputs = inputs.flatten(2 if self.per_member else 1)
        return inputs.mT.expand(members, -1, -1)

    def _forward(self, parameters: Named, hidden: Hidden) -> tuple[Raised, list[Kept]]:
        """Return the outputs, and what the gradient needs of each stage."""
        kept: list[Kept] = []
        for stage in self.chain.stages:
            hidden, needed = self._apply(stage, parameters, hidden)
            kept.append(needed)
        return hidden, kept

    def _apply(self, stage: Computed, parameters: Named, hidden: Hidden) -> tuple[Raised, Kept]:
        if isinstance(stage, Affine):
            return _affine(stage, parameters, hidden), (hidden,)
        if isinstance(stage, Elementwise):
            return stage.value(hidden, TANHS[self.tanh])
        return hidden * parameters[stage.name][:, None, None], ()

    def _backward(self, parameters: Named, kept: list[Kept], gradient: Hidden) -> dict[str, Tensor]:
        """Return the gradients by name, from that by the outputs."""
        found: dict[str, Tensor] = {}
        first = self.chain.affine[0]
        for stage, needed in zip(reversed(self.chain.stages), reversed(kept), strict=True):
            if isinstance(stage, Elementwise):
                gradient = stage.pull(gradient, *needed)
                continue
            if not isinstance(stage, Affine):
                gradient = gradient * parameters[stage.name][:, None, None]
                continue
            found[stage.weight] = _outer(gradient, *needed)
            if stage.bias is not None:
                found[stage.bias] = gradient.sum(2)
            if stage is first:
                break
            gradient = _pulled(parameters[stage.weight], gradient)
        return found


def _affine(stage: Affine, parameters: Named, hidden: Hidden) -> Raised:
    weight = parameters[stage.weight]
    if stage.bias is None:
        return torch.bmm(weight, hidden)
    return torch.baddbmm(parameters[stage.bias][:, :, None], weight, hidden)


def _outer(gradient: Raised, hidden: Hidden) -> Float[Tensor, "k m h"]:
    """Return `D Hᵀ`. A matrix product is slow where its result has few columns: then the longer side is made columns.

    Turning a large result back would take as long as the product.
    """
    if hidden.shape[1] < min(gradient.shape[1], _FEW_COLUMNS):
        return torch.bmm(hidden, gradient.mT).mT
    return torch.bmm(gradient, hidden.mT)


def _pulled(weight: Float[Tensor, "k m h"], gradient: Raised) -> Hidden:
    """Return `Wᵀ D`; with one output it is an outer product."""
    return weight.mT * gradient if weight.shape[1] == 1 else torch.bmm(weight.mT, gradient)
