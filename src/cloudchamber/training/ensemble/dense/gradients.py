"""Losses and gradients of dense chains behind the interface of all paths."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.training.ensemble.dense.chain import DenseChain
from cloudchamber.training.ensemble.dense.memory import keep_freed_memory
from cloudchamber.training.ensemble.dense.program import Program, TanhName
from cloudchamber.training.ensemble.gradients import Loss
from cloudchamber.training.ensemble.layout import Flat, Layout


class DenseGradients:
    """Losses and gradients of K members of a dense chain; equal to `VmapGradients` to rounding.

    Args:
        chain: what `dense_chain` made of the module.
        layout: of the module's parameters.
        loss: "mse", "cross_entropy", or a function of one member's outputs (n, o) and targets.
        per_member: whether inputs and targets have the members as their first axis.
        tanh: "exact", or "rational": a relative error of 4e-7, and faster where a step is compiled.
        fixed: by name, (K, ...), at least what `chain.fixed` names.

    Raises:
        InvalidInput: if something that the chain needs is not in `fixed`.

    >>> from cloudchamber.training.ensemble.dense.chain import dense_chain
    >>> module = torch.nn.Sequential(torch.nn.Linear(5, 50), torch.nn.Tanh(), torch.nn.Linear(50, 1))
    >>> gradients = DenseGradients(dense_chain(module), Layout.of(module), "mse", False)
    >>> flat, out = torch.randn(100, 351), torch.empty(100, 351)
    >>> gradients(flat, torch.randn(80, 5), torch.randn(80, 1), out).shape
    torch.Size([100])
    """

    def __init__(
        self,
        chain: DenseChain,
        layout: Layout,
        loss: Loss,
        per_member: bool,
        tanh: TanhName = "exact",
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        keep_freed_memory()
        missing = [name for name in chain.fixed if name not in (fixed or {})]
        require(not missing, "`fixed` has what the chain multiplies by", f"none for {missing}", "pass fixed=")
        self.per_member = per_member
        self.fixed: Mapping[str, Tensor] = dict(fixed or {})
        self.program = Program(chain, layout, loss, per_member, tanh)

    def __call__(self, flat: Flat, inputs: Tensor, targets: Tensor, out: Flat) -> Float[Tensor, " k"]:
        """Write the gradients into `out` and return the losses."""
        losses, parts = self.program(flat, self.fixed, inputs, targets)
        torch.cat(parts, 1, out=out)
        return losses

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those."""
        self.fixed = {name: value[rows] for name, value in self.fixed.items()}

    def misfit(self, inputs: Tensor, targets: Tensor) -> str | None:
        """Return why this path cannot take these inputs and targets, or None if it can."""
        chain, axes = self.program.chain, 1 + self.per_member
        samples, fan_in = inputs.shape[axes:], chain.affine[0].fan_in
        if len(samples) != 1 and not chain.flattens:
            return f"samples must be vectors, as the chain does not flatten them; got shape {tuple(samples)}"
        if samples.numel() != fan_in:
            return f"samples must have the {fan_in} entries that the first layer takes; got {samples.numel()}"
        allowed = self._target_shape(inputs.shape[:axes], targets)
        if targets.shape != allowed:
            return f"targets must have the shape {tuple(allowed)}; got {tuple(targets.shape)}"
        return None

    def _target_shape(self, batch: torch.Size, targets: Tensor) -> torch.Size:
        """The one shape of targets that cannot be taken for something else; any, for a function."""
        full = torch.Size((*batch, self.program.chain.affine[-1].fan_out))
        labels = self.program.loss == "cross_entropy" and not targets.is_floating_point()
        by_name = isinstance(self.program.loss, str)
        return batch if labels else full if by_name else targets.shape
