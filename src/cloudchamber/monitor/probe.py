"""The probe: the fixed samples on which a model is observed, and the few of them that cosine images show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from cloudchamber._core.errors import require
from cloudchamber._core.schema import MAX_IMAGE_NEURONS
from cloudchamber._core.seeding import generator
from cloudchamber.anatomy.batch import count_samples, tensors_of


@dataclass(frozen=True)
class Probe:
    """Inputs and targets of n samples, copied so that later changes to the user's tensors change nothing.

    Attributes:
        inputs: a tensor (n, ...), or tuples, lists and dicts of tensors, samples first in each.
        targets: (n, ...).
    """

    inputs: Any
    targets: Tensor

    @classmethod
    def of(cls, probe: tuple[Any, Tensor], device: torch.device) -> Probe:
        """Check and copy the user's probe.

        Raises:
            InvalidInput: if it is not a pair of inputs and targets of equal, positive length.
        """
        parts = [type(part).__name__ for part in probe] if isinstance(probe, tuple | list) else type(probe).__name__
        require(
            isinstance(probe, tuple | list)
            and len(probe) == 2
            and isinstance(probe[1], Tensor)
            and bool(tensors_of(probe[0])),
            "`probe` is a pair of tensors (inputs, targets), or of tuples, lists and dicts of tensors and targets",
            parts,
            "pass probe=(inputs, targets)",
        )
        inputs, targets = probe
        samples = count_samples(inputs) if all(tensor.ndim for tensor in tensors_of(inputs)) else -1
        require(
            targets.ndim > 0 and samples == len(targets),
            "a probe has as many targets as inputs",
            f"shapes {[tuple(tensor.shape) for tensor in tensors_of(inputs)]} and {tuple(targets.shape)}",
            "pass one target per input",
        )
        require(samples >= 2, "a probe has at least 2 samples", samples, "pass more, for example 100")
        with torch.inference_mode(False):  # so that a probe made in inference mode can be used in a graph
            return cls(inputs, targets)._each(lambda tensor: tensor.detach().clone().to(device))

    def to(self, device: torch.device) -> Probe:
        """Return the probe on a device."""
        return self._each(lambda tensor: tensor.to(device))

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.targets.device

    def shuffled(self) -> Probe:
        """Return the probe with every coordinate of the inputs permuted over the samples, each by itself.

        Each coordinate keeps its distribution; what else the inputs of one sample have in common is lost. Boolean
        tensors (masks) stay, and so do the targets. The same probe is always shuffled alike.
        """
        random = generator(0, "shuffled probe")
        return Probe(pytree.tree_map_only(Tensor, lambda tensor: _shuffled(tensor, random), self.inputs), self.targets)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Probe:
        return Probe(pytree.tree_map_only(Tensor, change, self.inputs), change(self.targets))

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

    def numbers(self, classes: int, outputs: Tensor) -> Tensor | None:
        """Return what the network should give (n, k) as numbers, one-hot for classes; None where that is not known."""
        if classes:
            return torch.nn.functional.one_hot(self.targets.long(), classes).to(outputs.dtype)
        known = self.targets.is_floating_point() and self.targets.numel() == outputs.numel()
        return self.targets.detach().view(outputs.shape).flatten(1) if known else None

    def labels(self, classes: int) -> Tensor:
        """Return the labels (n,); without classes all samples form one class."""
        if classes:
            return self.targets.long()
        return torch.zeros(len(self.targets), dtype=torch.long, device=self.targets.device)


def _shuffled(tensor: Tensor, random: torch.Generator) -> Tensor:
    if tensor.dtype == torch.bool or tensor.ndim < 2:
        return tensor[torch.randperm(len(tensor), generator=random).to(tensor.device)] if tensor.ndim == 1 else tensor
    flat = tensor.flatten(1)
    order = torch.rand(flat.shape, generator=random).argsort(0).to(tensor.device)
    return flat.gather(0, order).view(tensor.shape)


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
