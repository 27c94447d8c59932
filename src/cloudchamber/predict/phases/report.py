"""What is said of a network's phase, and how it is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Literal

from cloudchamber.predict.phases.change import Change
from cloudchamber.predict.phases.first_steps import FirstSteps
from cloudchamber.predict.phases.mechanism import MechanismName, PairChange, strongest
from cloudchamber.predict.phases.parametrised import KERNEL_DRIFT, Parametrised, PhaseName

FROZEN_LEARNED, CLEAR_LEARNED = 0.05, 0.5
"""The part of the first loss that has to be gone for a network to count as learning at all, and to be sure."""
UNSTABLE_RISE = 2.0
"""times the first loss"""
Confidence = Literal["high", "low"]


@dataclass(frozen=True)
class PhaseReport:
    """Which phase a network is in.

    Attributes:
        parametrised: by theory, before any step.
        measured: what its first steps did, on a copy.
        to_learning: what would bring it into the learning phase; None if nothing is known, or it is there.
        to_kernel: the same for the kernel phase.
    """

    parametrised: Parametrised
    measured: FirstSteps
    to_learning: Change | None
    to_kernel: Change | None

    @property
    def name(self) -> PhaseName:
        """The measured phase: "unstable" if the loss ran away, "frozen" if it hardly moved, else by the kernel."""
        return measured_phase(self.measured)

    @property
    def confidence(self) -> Confidence:
        """High if the loss has moved far enough and what was measured agrees with what theory says."""
        clear = self.name in ("frozen", "unstable") or self.measured.learned >= CLEAR_LEARNED
        return "high" if clear and self.parametrised.name in ("cannot tell", self.name) else "low"

    @property
    def mechanism(self) -> MechanismName:
        """What carries the learning: "none" in the kernel phase, and where layers are no chain."""
        pair = strongest(self.measured.pairs)
        return pair.mechanism if self.name == "learning" and pair is not None else "none"

    def __str__(self) -> str:
        return "\n".join(
            [f"{self.name} phase ({self.confidence} confidence)", *(f"  {line}" for line in self._lines())]
        )

    def __repr__(self) -> str:
        return f"<PhaseReport: {self.name}, {self.confidence} confidence>"

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{escape(line)}</li>" for line in self._lines())
        return f"<h3>{escape(self.name)} phase ({self.confidence} confidence)</h3><ul>{items}</ul>"

    def _lines(self) -> list[str]:
        measured, before = self.measured, self.parametrised
        lines = [
            f"as parametrised: {before.name}; {_parametrised(before)}",
            f"in the first {measured.steps} steps: {100 * measured.learned:.0f} % of the loss is gone; the kernel "
            f"moved by {_part(measured.kernel_drift)} (threshold {_part(KERNEL_DRIFT)}), "
            f"1 − cosine {measured.kernel_rotation:.2g}",
            *(_pair(pair) for pair in measured.pairs),
            f"mechanism: {self._mechanism()}",
        ]
        return lines + [
            f"to get into the {change}" for change in (self.to_learning, self.to_kernel) if change is not None
        ]

    def _mechanism(self) -> str:
        if self.name != "learning":
            return f"none ({self.name})"
        if not self.measured.pairs:
            return "not known: layers are no chain of linear ones"
        return self.mechanism


def measured_phase(found: FirstSteps) -> PhaseName:
    """Return the phase that the first steps show."""
    if found.highest > UNSTABLE_RISE or not math.isfinite(found.learned):
        return "unstable"
    if found.learned < FROZEN_LEARNED:
        return "frozen"
    return "kernel" if found.kernel_drift < KERNEL_DRIFT else "learning"


def _part(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.2g} times itself" if abs(value) >= 1 else f"{100 * value:.2g} % of itself"


def _parametrised(before: Parametrised) -> str:
    speed = f"rate × curvature {before.speed:.2g} (unstable above 2)"
    if before.line is None:
        return f"{speed}; theory takes networks with one hidden layer and SGD"
    line = before.line
    learning, kernel = line.terms
    return (
        f"{speed}, learning time {before.learning_time:.3g} steps, terms of 1/t_c² {learning:.2g} (feature learning) "
        f"and {kernel:.2g} (kernel), kernel to change by {_part(line.drift)}, ζ from {line.alignment[0]:.2f} to "
        f"{line.alignment[1]:.2f}"
    )


def _pair(pair: PairChange) -> str:
    (before, after), (small, large) = pair.alignment, pair.size
    return (
        f"{pair.lower} → {pair.upper}: ζ from {before:.2f} to {after:.2f}, ‖u‖‖w‖ times {large / small:.2f}; "
        f"{100 * pair.by_alignment:.0f} % of the change by ζ"
        if small
        else f"{pair.lower} → {pair.upper}: it was zero"
    )
