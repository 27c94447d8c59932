"""The batches of a run: a function of seed and step alone, so that a resumed run sees the same ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from cloudchamber._core.seeding import generator
from cloudchamber.data import Dataset


@dataclass
class Batches:
    """Passes over a data set, each in an order of its own; what does not fill a batch is left out of that pass."""

    dataset: Dataset
    size: int
    seed: int
    _epoch: int = field(default=-1, init=False)
    _order: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64), init=False)

    def of_step(self, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets for update number `step` (from 1)."""
        epoch, index = divmod(step - 1, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.order_of(epoch)
        chosen = self._order[index * self.size : (index + 1) * self.size]
        return self.dataset.batch(chosen, generator(self.seed, "augmentation", step))

    def epochs(self, step: int) -> float:
        """Return how many passes over the data `step` updates make."""
        return step / self.per_epoch

    @property
    def per_epoch(self) -> int:
        """Updates in a pass over the data."""
        return len(self.dataset) // self.size

    def order_of(self, epoch: int) -> Tensor:
        """Return the samples in the order of pass number `epoch` (from 0)."""
        if self.size == len(self.dataset):
            return torch.arange(self.size)
        return torch.randperm(len(self.dataset), generator=generator(self.seed, "order", epoch))
