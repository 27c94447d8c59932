"""A data set in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """Inputs (n, ...) with targets: labels (n,) of `classes` classes, or values (n, k) where `classes` is 0."""

    name: str
    inputs: Tensor
    targets: Tensor
    classes: int

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def input_size(self) -> int:
        """Numbers per sample."""
        return self.inputs[0].numel()

    @property
    def output_size(self) -> int:
        """Outputs that a network needs: one per class, or one per target value."""
        return self.classes or self.targets[0].numel()

    def to(self, device: torch.device) -> Dataset:
        """Return the same data on a device."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))

    def probe(self, samples: int) -> tuple[Tensor, Tensor]:
        """Return about so many of the first samples, equally many of each class, in the order of the classes."""
        if not self.classes:
            return self.inputs[:samples], self.targets[:samples]
        members = [torch.nonzero(self.targets == label).flatten() for label in range(self.classes)]
        each = min(max(samples // self.classes, 1), *map(len, members))
        chosen = torch.cat([of_class[:each] for of_class in members])
        return self.inputs[chosen], self.targets[chosen]
