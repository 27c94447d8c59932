"""The samples on which remedies are tried: a probe with its loss, and the batches of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from cloudchamber._core.errors import require
from cloudchamber._core.seeding import generator
from cloudchamber.anatomy import Forward
from cloudchamber.monitor.losses import Loss, Reduction, SampleLoss, constant_predictor_loss, detect_reduction
from cloudchamber.monitor.probe import Probe

Batch = tuple[Any, Tensor]
Batches = Callable[[int], Batch] | Iterable[Batch] | None
"""Batches of a trial: a function of the update (from 1), something to iterate over, or None for parts of the probe."""


@dataclass(frozen=True)
class Samples:
    """A probe with its loss.

    Attributes:
        probe: the samples.
        loss: takes (outputs, targets), as in training.
        forward: calls a model with inputs.
        reduction: of the loss.
        constant_loss: that of the best constant output, per sample.
        target_spread: how far targets lie apart: 1 for classes, `(E ‖y − E y‖²)^½` for values.
    """

    probe: Probe
    loss: Loss
    forward: Forward
    reduction: Reduction
    constant_loss: float
    target_spread: float

    @classmethod
    def of(cls, model: nn.Module, probe: Probe, loss: Loss, forward: Forward, reduction: Reduction | None) -> Samples:
        """Find out what the loss is like.

        Raises:
            InvalidInput: if the loss does not fit the model's outputs, or has no positive best constant output.
        """
        with torch.no_grad():
            outputs = forward(model, probe.inputs)
        known = reduction or detect_reduction(loss, outputs, probe.targets)
        constant = constant_predictor_loss(SampleLoss(loss, probe.targets, known), outputs)
        require(
            0 < constant < math.inf,
            "a rescued run has a loss that is positive at the best constant output",
            constant,
            "use a loss such as cross entropy or squared error",
        )
        classes = probe.classes(outputs)
        spread = 1.0 if classes or not probe.targets.is_floating_point() else _spread(probe.targets)
        return cls(probe, loss, forward, known, constant, spread)

    def outputs(self, model: nn.Module) -> Tensor:
        """Return a model's outputs on the probe, (n, ...)."""
        with torch.no_grad():
            return self.forward(model, self.probe.inputs)

    def batch_loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, float]:
        """Return the loss of a batch, to be differentiated, and its mean over the samples."""
        inputs, targets = batch
        value = self.loss(self.forward(model, inputs), targets)
        if self.reduction == "none":
            return value.mean(), float(value.detach().sum()) / len(targets)
        return value, float(value.detach()) / (len(targets) if self.reduction == "sum" else 1)

    def batches(self, given: Batches, size: int, seed: int) -> Iterator[Batch]:
        """Yield the batches of a trial; without end unless a given iterable is empty."""
        if callable(given):
            yield from (given(step) for step in range(1, 2**62))
        elif given is not None:
            yield from _again_and_again(given)
        else:
            yield from self._parts(size, seed)

    def _parts(self, size: int, seed: int) -> Iterator[Batch]:
        count, random = len(self.probe.targets), generator(seed, "trial")
        while True:
            for chosen in torch.randperm(count, generator=random).split(size):
                if len(chosen) == min(size, count):
                    chosen = chosen.to(self.probe.device)
                    inputs = pytree.tree_map_only(Tensor, lambda part, rows=chosen: part[rows], self.probe.inputs)
                    yield inputs, self.probe.targets[chosen]


def _again_and_again(given: Iterable[Batch]) -> Iterator[Batch]:
    while True:
        some = False
        for batch in given:
            some = True
            yield batch
        require(some, "`batches` can be iterated over, as often as needed", "none", "pass a list or a DataLoader")


def _spread(targets: Tensor) -> float:
    flat = targets.detach().double().reshape(len(targets), -1)
    return float((flat - flat.mean(0)).square().sum(1).mean().sqrt()) or 1.0
