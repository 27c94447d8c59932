"""One update of all members: gradient, then optimizer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber.training.ensemble.gradients import Gradients
from cloudchamber.training.ensemble.layout import Flat
from cloudchamber.training.ensemble.optimizers import Optimizer, State


@runtime_checkable
class Step(Protocol):
    """Applies one update to all members in place."""

    def __call__(
        self, flat: Flat, state: State, inputs: Tensor, targets: Tensor, number: Float[Tensor, ""]
    ) -> Float[Tensor, " k"]:
        """Update `flat` and `state` in place (update `number`, from 1) and return the losses before the update."""
        ...

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those."""
        ...


class PlainStep:
    """A step without compiler."""

    def __init__(self, gradients: Gradients, optimizer: Optimizer) -> None:
        self.gradients, self.optimizer = gradients, optimizer
        self._gradient = torch.empty(0)

    def __call__(
        self, flat: Flat, state: State, inputs: Tensor, targets: Tensor, number: Float[Tensor, ""]
    ) -> Float[Tensor, " k"]:
        """Update all members."""
        if self._gradient.shape != flat.shape:
            self._gradient = torch.empty_like(flat)
        losses = self.gradients(flat, inputs, targets, self._gradient)
        self.optimizer.update(flat, self._gradient, state, number)
        return losses

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those."""
        self.gradients.keep(rows)
