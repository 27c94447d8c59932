"""The probe: the fixed samples on which a model is observed, and the few of them that cosine images show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.schema import MAX_IMAGE_NEURONS


@dataclass(frozen=True)
class Probe:
    """Inputs and targets, (n, ...) each, copied so that later changes to the user's tensors change nothing."""

    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, probe: tuple[Tensor, Tensor], device: torch.device) -> Probe:
        """Check and copy the user's probe.

        Raises:
            InvalidInput: if it is not a pair of tensors of equal, positive length.
        """
        parts = [type(part).__name__ for part in probe] if isinstance(probe, tuple | list) else type(probe).__name__
        require(
            isinstance(probe, tuple | list) and len(probe) == 2 and all(isinstance(part, Tensor) for part in probe),
            "`probe` is a pair of tensors (inputs, targets)",
            parts,
            "pass probe=(inputs, targets)",
        )
        inputs, targets = probe
        require(
            inputs.ndim > 0 and targets.ndim > 0 and len(inputs) == len(targets),
            "a probe has as many targets as inputs",
            f"shapes {tuple(inputs.shape)} and {tuple(targets.shape)}",
            "pass one target per input",
        )
        require(len(inputs) >= 2, "a probe has at least 2 samples", len(inputs), "pass more, for example 100")
        with torch.inference_mode(False):  # so that a probe made in inference mode can be used in a graph
            return cls(inputs.detach().clone(), targets.detach().clone()).to(device)

    def to(self, device: torch.device) -> Probe:
        """Return the probe on a device."""
        return Probe(self.inputs.to(device), self.targets.to(device))

    def classes(self, outputs: Tensor) -> int:
        """Return the number of classes: the outputs per sample (more than one) if the targets are labels, else 0.

        Raises:
            InvalidInput: if a label is negative or not below the number of outputs.
        """
        integer = not (self.targets.is_floating_point() or self.targets.is_complex())
        if not (integer and self.targets.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] > 1):
            return 0
        low, high, count = int(self.targets.min()), int(self.targets.max()), outputs.shape[1]
        require(
            low >= 0 and high < count,
            f"labels of a network with {count} outputs lie in 0 … {count - 1}",
            f"labels from {low} to {high}",
            "pass labels that start at 0, or a network with one output per class",
        )
        return count

    def labels(self, classes: int) -> Tensor:
        """Return the labels (n,); without classes all samples form one class."""
        if classes:
            return self.targets.long()
        return torch.zeros(len(self.targets), dtype=torch.long, device=self.targets.device)


def image_samples(labels: Tensor, count: int) -> Tensor:
    """Choose at most `count` samples for the cosine images: equally many of each class, ordered by class."""
    ordered = torch.argsort(labels.cpu(), stable=True)
    if len(ordered) <= count:
        return ordered
    classes = labels.unique().tolist()
    per_class = max(count // len(classes), 1)
    chosen = torch.cat([ordered[labels.cpu()[ordered] == c][:per_class] for c in classes])
    return chosen[:count]


def image_neurons(width: int) -> Tensor:
    """Choose at most 128 neurons for the cosine images, evenly over the layer."""
    count = min(width, MAX_IMAGE_NEURONS)
    return torch.from_numpy(np.linspace(0, width - 1, count).round().astype(np.int64))
