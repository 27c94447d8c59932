"""A data set in memory."""

from __future__ import annotations

from dataclasses import dataclass

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

    def probe(self, samples: int) -> tuple[Tensor, Tensor]:
        """Return the first samples, equally many of each class, in the order of the classes."""
        if not self.classes:
            return self.inputs[:samples], self.targets[:samples]
        each = max(samples // self.classes, 1)
        chosen = torch.cat([torch.nonzero(self.targets == c).flatten()[:each] for c in range(self.classes)])
        return self.inputs[chosen], self.targets[chosen]
