"""A data set in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cloudchamber.data.augmentation import Augmentation


@dataclass(frozen=True)
class Dataset:
    """Inputs (n, ...) with targets: labels (n,) of `classes` classes, or values (n, k) where `classes` is 0.

    Attributes:
        name: what the set is called in recipes.
        inputs: numbers, or whole numbers that index `vocabulary`; as a network is observed and tested on them.
        targets: labels or values.
        classes: number of classes, 0 for values.
        class_names: what each label stands for; empty where nobody says.
        vocabulary: the words that whole-number inputs stand for; empty for numbers.
        source: the file that was read, its checksum, and what in it is not as published.
        augmentation: makes what is trained on, at random; None = `inputs` as they are.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    classes: int
    class_names: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    source: str = ""
    augmentation: Augmentation | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.inputs.shape[1:])

    @property
    def output_size(self) -> int:
        """Outputs that a network needs: one per class, or one per target value."""
        return self.classes or self.targets[0].numel()

    def to(self, device: torch.device) -> Dataset:
        """Return the same data on a device."""
        return replace(
            self,
            inputs=self.inputs.to(device),
            targets=self.targets.to(device),
            augmentation=self.augmentation and self.augmentation.to(device),
        )

    def batch(self, chosen: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of the samples `chosen` for one training step, augmented as `random` says."""
        if self.augmentation is None:
            return self.inputs[chosen], self.targets[chosen]
        return self.augmentation(chosen, random).to(self.inputs.dtype), self.targets[chosen]

    def of(self, rows: Tensor) -> Dataset:
        """Return the data set of some of the samples."""
        return replace(
            self,
            inputs=self.inputs[rows],
            targets=self.targets[rows],
            augmentation=self.augmentation and self.augmentation.of(rows),
        )

    def probe(self, samples: int) -> tuple[Tensor, Tensor]:
        """Return about so many of the first samples, equally many of each class, in the order of the classes."""
        if not self.classes:
            return self.inputs[:samples], self.targets[:samples]
        members = [torch.nonzero(self.targets == label).flatten() for label in range(self.classes)]
        each = min(max(samples // self.classes, 1), *map(len, members))
        chosen = torch.cat([of_class[:each] for of_class in members])
        return self.inputs[chosen], self.targets[chosen]
