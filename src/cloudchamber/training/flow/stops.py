"""When a gradient flow ends: by its loss, its time or its steps, whichever comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from cloudchamber._core.errors import require


@dataclass(frozen=True)
class Progress:
    """How far each member of a stack has come."""

    time: Float[Tensor, " k"]
    loss: Float[Tensor, " k"]
    first_loss: Float[Tensor, " k"]
    steps: Int[Tensor, " k"]


@dataclass(frozen=True)
class LossRatio:
    """Stop after the first step at which the loss is at most this part of the first loss; reason "loss_ratio".

    >>> LossRatio(1e-4).reason
    'loss_ratio'
    """

    ratio: float
    reason = "loss_ratio"

    def __post_init__(self) -> None:
        require(0 < self.ratio < 1, "a loss ratio is in (0, 1)", self.ratio, "use 1e-4")

    def met(self, progress: Progress) -> Bool[Tensor, " k"]:
        """Which members are done."""
        return progress.loss <= self.ratio * progress.first_loss


@dataclass(frozen=True)
class LossBelow:
    """Stop after the first step at which the loss is at most this; reason "loss".

    >>> LossBelow(1e-6).reason
    'loss'
    """

    loss: float
    reason = "loss"

    def met(self, progress: Progress) -> Bool[Tensor, " k"]:
        """Which members are done."""
        return progress.loss <= self.loss


@dataclass(frozen=True)
class Time:
    """Stop exactly at this physical time; reason "time".

    >>> Time(10.0).reason
    'time'
    """

    time: float
    reason = "time"

    def __post_init__(self) -> None:
        require(0 <= self.time < float("inf"), "a time to stop at is finite, and not negative", self.time, "use 1.0")

    def met(self, progress: Progress) -> Bool[Tensor, " k"]:
        """Which members are done."""
        return progress.time >= self.time


@dataclass(frozen=True)
class Steps:
    """Stop after so many accepted steps; reason "steps".

    >>> Steps(100).reason
    'steps'
    """

    steps: int
    reason = "steps"

    def __post_init__(self) -> None:
        require(self.steps >= 0, "a number of steps is not negative", self.steps, "use 10000")

    def met(self, progress: Progress) -> Bool[Tensor, " k"]:
        """Which members are done."""
        return progress.steps >= self.steps


Stop = LossRatio | LossBelow | Time | Steps


def all_stops(until: Stop | Sequence[Stop], most_steps: int) -> tuple[Stop, ...]:
    """Return the rules to check, in order, ending with the limit on steps.

    Raises:
        InvalidInput: if there is no rule.
    """
    rules = (until,) if isinstance(until, LossRatio | LossBelow | Time | Steps) else tuple(until)
    require(len(rules) > 0, "there is a rule to stop by", "none", "pass until=LossRatio(1e-4)")
    return (*rules, Steps(most_steps))
