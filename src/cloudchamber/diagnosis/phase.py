"""What a phase is, and the phases of a record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

PhaseName = Literal["first phase", "stuck"]
Status = Literal["first phase", "second phase", "no plateau", "stuck", "diverged", "cannot tell"]


@dataclass(frozen=True)
class Phase:
    """An interval of steps.

    Attributes:
        name: "first phase" or "stuck".
        start: its first observed step.
        stop: the observed step at which it is over; None if it is not over within the record.
        until: `stop`, or the last observed step of a phase that is not over.
        ended_by: "features" (the feature similarity peaks) or "loss" (the loss leaves its plateau); "" if not over.
    """

    name: PhaseName
    start: int
    stop: int | None
    until: int
    ended_by: Literal["", "features", "loss"] = ""

    def __str__(self) -> str:
        return f"{self.name} (step {self.start}–{'' if self.stop is None else self.stop})"


@dataclass(frozen=True)
class Phases:
    """The phases of a record, by which one its last observation is in; iterates over the phases.

    Attributes:
        status: where the run is at the end of the record.
        reason: why, in words, where the status needs it.
        intervals: the phases in the order in which they start.
        layer: the layer of the similarity markers, "" if there is none.
        loss_marker: the step at which the loss leaves its plateau, None if it does not.
        feature_peak: the step at which the feature similarity of `layer` peaks, None if it does not.
        gradient_peak: the same for the gradient similarity.
    """

    status: Status
    reason: str = ""
    intervals: tuple[Phase, ...] = ()
    layer: str = ""
    loss_marker: int | None = None
    feature_peak: int | None = None
    gradient_peak: int | None = None

    def __iter__(self) -> Iterator[Phase]:
        return iter(self.intervals)

    def __len__(self) -> int:
        return len(self.intervals)

    def named(self, name: PhaseName) -> Phase | None:
        """Return the phase of this name, None if the record has none."""
        return next((phase for phase in self if phase.name == name), None)
