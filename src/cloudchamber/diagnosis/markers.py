"""The events of a curve that phases are made of: crossings that hold, and peaks that stand out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudchamber.diagnosis.curves import Curve
from cloudchamber.diagnosis.rule import PhaseRule
from cloudchamber.diagnosis.smoothing import noise_level, smooth


def first_held(condition: np.ndarray, hold: int) -> int | None:
    """Return the first index from which on `condition` is true `hold` times, or to the end; None if it never is.

    >>> first_held(np.array([False, True, False, True, True, True, False]), hold=3)
    3
    """
    starts = np.flatnonzero(condition)
    return next((int(i) for i in starts if condition[i : i + hold].all()), None)


@dataclass(frozen=True)
class Plateau:
    """Where a loss meets its plateau, as indices of `steps`; None = not within the record.

    Attributes:
        start: the first loss no more than drop/3 above the level.
        sagged: the first loss held more than drop/3 below the level.
        left: the loss marker: the first loss held more than drop below the level.
        steps: (n,) the observed steps.
    """

    start: int | None
    sagged: int | None
    left: int | None
    steps: np.ndarray

    @property
    def observations(self) -> int:
        """How many observations lie on the plateau and on the way down, before the loss marker."""
        return 0 if self.start is None else (len(self.steps) if self.left is None else self.left) - self.start

    @property
    def share(self) -> float:
        """Of the time before the loss marker, or the end of the record, the part until the loss sags; in [0, 1]."""
        if self.start is None or self.sagged is None:
            return 1.0
        begin, sag = self.steps[self.start], self.steps[self.sagged]
        end = self.steps[-1 if self.left is None else self.left]
        return float((sag - begin) / (end - begin)) if end > begin else 0.0


def find_plateau(loss: Curve, level: float, rule: PhaseRule) -> Plateau:
    """Locate the plateau at `level` in a smoothed, finite, non-empty loss curve."""
    margin = rule.drop / 3
    reached = np.flatnonzero(loss.values <= (1 + margin) * level)
    return Plateau(
        start=int(reached[0]) if len(reached) else None,
        sagged=first_held(loss.values < (1 - margin) * level, rule.hold),
        left=first_held(loss.values < (1 - rule.drop) * level, rule.hold),
        steps=loss.steps,
    )


def peak_step(curve: Curve, rule: PhaseRule, loss_marker: int | None) -> int | None:
    """Return the step at which a similarity peaks, or None; `phases.find_phases` holds the definition.

    Every decision rests on what was observed until then (the noise on what was observed up to the loss marker), so that
    a peak stays where it is while a record grows.

    Args:
        curve: a cosine; what is not finite is left out.
        rule: the thresholds.
        loss_marker: the step at which the loss leaves its plateau, if it does.
    """
    finite = curve.finite
    known = finite if loss_marker is None else finite.until(loss_marker)
    floor = rule.noise_factor * noise_level(known.values)
    values = smooth(finite.values, rule.window)
    falls = _completed_falls(values, max(rule.fall, floor))
    if loss_marker is not None:
        falls = [fall for fall in falls if finite.steps[fall.end] > loss_marker][:1]
    tops = [fall.top for fall in falls if fall.rise >= max(rule.rise, floor)]
    return int(finite.steps[_sharpened(finite.values, tops[0], rule.window // 2)]) if tops else None


def _sharpened(values: np.ndarray, top: int, half: int) -> int:
    """Undo the shift of a lopsided peak by the running median: the highest value within its window."""
    begin = max(0, top - half)
    return begin + int(np.argmax(values[begin : top + half + 1]))


@dataclass(frozen=True)
class _Fall:
    """A fall from `top` to `end` (indices), after a rise to `top`."""

    top: int
    end: int
    rise: float


def _completed_falls(values: np.ndarray, least: float) -> list[_Fall]:
    falls: list[_Fall] = []
    top, lowest, rise = 0, np.inf, 0.0
    for i, value in enumerate(values):
        lowest = min(lowest, value)
        if value > values[top]:
            top, rise = i, value - lowest
        elif values[top] - value >= least:
            falls.append(_Fall(top, i, rise))
            top, lowest, rise = i, value, 0.0
    return falls
