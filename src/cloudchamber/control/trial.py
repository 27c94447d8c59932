"""A trial: train a copy with a remedy for a while, and see whether the loss moves."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import Unsupported
from cloudchamber.control.remedy import Remedy
from cloudchamber.control.samples import Batch, Samples

WINDOW = 20
"""Batches over which a median is taken: single losses are noisy."""
_FAILURES = (ValueError, TypeError, RuntimeError)
"""What modules and optimizers raise where a remedy does not suit them."""
HELD = 1.5
"""For so many times the trial's steps the loss stays below the plateau before it counts: a network whose phase norm has
become constant, or whose steps are too large, shows it only then."""
Outcome = Literal["moves", "stays", "diverges", "fails"]


@dataclass(frozen=True)
class Trial:
    """What came of remedies on a copy.

    Attributes:
        remedies: what was done to it; nothing for the run as it is.
        outcome: "moves" if the loss left the plateau for good, "stays", "diverges" if it became NaN or far larger than
            at the start, "fails" if the remedies cannot be applied.
        updates: after how many it left, or how many were made.
        loss: the median of the last `WINDOW` batch losses.
        moved: the largest relative change of a weight matrix of the copy, but for the last one.
        reason: why it fails.
        losses: of every batch.
    """

    remedies: tuple[Remedy, ...]
    outcome: Outcome
    updates: int
    loss: float
    moved: float = math.nan
    reason: str = ""
    losses: tuple[float, ...] = field(default=(), repr=False)

    @property
    def names(self) -> str:
        """The names of its remedies."""
        return " + ".join(remedy.name for remedy in self.remedies) or "no change"

    def __str__(self) -> str:
        told = {
            "moves": f"leaves the plateau after {self.updates} updates (loss {self.loss:.4g})",
            "stays": f"still on it after {self.updates} updates (loss {self.loss:.4g})",
            "diverges": f"diverges after {self.updates} updates",
            "fails": f"cannot be applied: {self.reason}",
        }
        return f"{self.names}: {told[self.outcome]}"


def attempt(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    remedies: Sequence[Remedy],
    samples: Samples,
    batches: Iterable[Batch],
    steps: int,
    level: float,
) -> Trial:
    """Train a copy with remedies until the loss has been below `level` for long (`HELD`), or for `steps` updates.

    Args:
        model: stays as it is, and so does the optimizer.
        optimizer: its optimizer.
        remedies: what is done to the copy first.
        samples: the loss.
        batches: what the copy is trained on.
        steps: the most updates until the plateau is left.
        level: the loss at which the plateau is left.

    Raises:
        Unsupported: if the model cannot be copied.
    """
    tried, updater = copied(model, optimizer)
    try:
        for remedy in remedies:
            remedy.apply(tried, updater)
    except _FAILURES as error:
        return _failed(tuple(remedies), error)
    return _trained(tried, updater, tuple(remedies), samples, batches, steps, level)


def _failed(remedies: tuple[Remedy, ...], error: Exception) -> Trial:
    return Trial(remedies, "fails", 0, math.nan, reason=" ".join(str(error).split())[:200])


def copied(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a copy of a model with an optimizer of its own.

    Raises:
        Unsupported: if one of them cannot be copied.
    """
    try:
        return copy.deepcopy((model, optimizer))
    except Exception as error:
        raise Unsupported(
            f"a model that is rescued can be copied with its optimizer; got {error!r}. "
            "Remedy: keep no tensors with a graph in it, and use torch.nn.utils.parametrizations for computed weights."
        ) from error


def _trained(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    remedies: tuple[Remedy, ...],
    samples: Samples,
    batches: Iterable[Batch],
    steps: int,
    level: float,
) -> Trial:
    losses: list[float] = []
    left: int | None = None
    start = _matrices(model)

    def ended(outcome: Outcome) -> Trial:
        updates = left if outcome == "moves" and left is not None else len(losses)
        return Trial(remedies, outcome, updates, _median(losses), _moved(start, _matrices(model)), losses=tuple(losses))

    model.train()
    for batch in batches:
        try:
            losses.append(_updated(model, optimizer, samples, batch))
        except _FAILURES as error:
            return _failed(remedies, error)
        if not math.isfinite(losses[-1]):
            return ended("diverges")
        below = len(losses) >= WINDOW and _median(losses) < level
        left = (left or len(losses)) if below else None
        if (left is None and len(losses) >= steps) or (left is not None and len(losses) >= left + HELD * steps):
            break
    if left is not None:
        return ended("moves")
    far = _median(losses) > 10 * max(losses[0], samples.constant_loss)
    return ended("diverges" if far else "stays")


def _matrices(model: nn.Module) -> list[Tensor]:
    """Return copies of all weight matrices but the last one, or of the only one."""
    found = [parameter.detach().clone() for parameter in model.parameters() if parameter.ndim > 1]
    return found[:-1] or found


def _moved(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    ratios = [float((new - old).norm() / old.norm()) for old, new in zip(before, after, strict=True)]
    return max(ratios, default=math.nan)


def _median(losses: Sequence[float]) -> float:
    return statistics.median(losses[-WINDOW:])


def _updated(model: nn.Module, optimizer: torch.optim.Optimizer, samples: Samples, batch: Batch) -> float:
    value: Any
    value, mean = samples.batch_loss(model, batch)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return mean
