"""Losses and gradients of all members at once: what every path promises, and the one for any module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from cloudchamber.training.ensemble.layout import Flat, Layout
from cloudchamber.training.ensemble.randomness import Drawn, MemberRandomness
from cloudchamber.training.session import LOSSES

LossName = Literal["mse", "cross_entropy"]
LossFunction = Callable[[Tensor, Tensor], Tensor]
Loss = LossName | LossFunction
"""By name, or a function (outputs, targets) of one member → one number."""


@runtime_checkable
class Gradients(Protocol):
    """Computes the losses and gradients of all members."""

    @property
    def per_member(self) -> bool:
        """Whether inputs and targets are (K, n, ...), or (n, ...) for all members alike."""
        ...

    @property
    def fixed(self) -> Mapping[str, Tensor]:
        """What is not trained, by name, (K, ...): frozen parameters and buffers, as they are now."""
        ...

    def __call__(self, flat: Flat, inputs: Tensor, targets: Tensor, out: Flat) -> Float[Tensor, " k"]:
        """Write the gradients into `out` and return the losses; `flat` stays."""
        ...

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those; later calls are for them, in this order."""
        ...


def loss_function(loss: Loss) -> LossFunction:
    """Return the function that a loss stands for."""
    return LOSSES[loss] if isinstance(loss, str) else loss


class VmapGradients:
    """Gradients through `torch.func`, for any module that `torch.func.vmap` accepts; the slow twin of other paths.

    Args:
        module: the architecture; called in its mode, never changed.
        layout: of its trained parameters.
        loss: by name, or a function of one member's outputs and targets.
        per_member: whether inputs and targets have the members as their first axis.
        fixed: by name, (K, ...), all parameters and buffers that are not in the layout. Buffers that a call changes in
            place (running statistics) go on from call to call.
        random: the members' random states, for modules that draw; None = the module draws nothing.

    Source: torch.func, "Model ensembling".
    """

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        loss: Loss,
        per_member: bool,
        fixed: Mapping[str, Tensor] | None = None,
        random: MemberRandomness | None = None,
    ) -> None:
        self.per_member, self.fixed = per_member, dict(fixed or {})
        self._module, self._layout, self._loss = module, layout, loss_function(loss)
        self._buffers = [name for name, _ in module.named_buffers() if name in self.fixed]
        self._random = random or MemberRandomness((), (), torch.device("cpu"))
        samples = 0 if per_member else None
        self._stacked = vmap(
            grad_and_value(self._loss_of, has_aux=True), in_dims=(0, 0, samples, samples, 0), randomness="different"
        )

    def __call__(self, flat: Flat, inputs: Tensor, targets: Tensor, out: Flat) -> Float[Tensor, " k"]:
        """Write the gradients into `out` and return the losses."""
        drawn = self._random.drawn()
        with sdpa_kernel(SDPBackend.MATH):  # the one kind of attention that `vmap` knows
            gradients, (losses, buffers) = self._stacked(self._layout.views(flat), self.fixed, inputs, targets, drawn)
        for name, place in self._layout.views(out).items():
            place.copy_(gradients[name])
        self.fixed.update(buffers)
        return losses

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those."""
        self.fixed = {name: value[rows] for name, value in self.fixed.items()}
        self._random.keep(rows)

    def _loss_of(
        self,
        parameters: dict[str, Tensor],
        fixed: dict[str, Tensor],
        inputs: Tensor,
        targets: Tensor,
        drawn: list[Drawn],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of one member, and its buffers afterwards."""
        # A call writes into copies, so that what `vmap` was given stays.
        fixed = {**fixed, **{name: fixed[name].clone() for name in self._buffers}}
        with self._random.putting(drawn):
            outputs = functional_call(self._module, {**parameters, **fixed}, (inputs,))
        return self._loss(outputs, targets), {name: fixed[name] for name in self._buffers}
