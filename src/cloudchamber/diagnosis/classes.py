"""The finding that the first phase has learned one or two classes only."""

from __future__ import annotations

import numpy as np

from cloudchamber._core.finding import Evidence, Finding
from cloudchamber.diagnosis.case import Case

FAR = 0.3
NEAR = 0.15
MEAN = 1.5


def one_class_first(case: Case) -> Finding | None:
    """At the end of the first phase, or so far, one or two classes are far above chance and the others near it.

    A constant output gets one class right and no other: the mean of its class accuracies is 1/C whichever it is. So
    something is learned only if the mean is above that.
    """
    first = case.phases.named("first phase")
    if first is None:
        return None
    measured = case.curve("class_accuracy").until(first.until)
    if not len(measured):
        return None
    accuracy, step = measured.values[-1], int(measured.steps[-1])
    best = _learned(accuracy)
    if not best:
        return None
    chance = 1 / np.isfinite(accuracy).sum()
    rest = np.nanmax(np.delete(accuracy, best))
    when = "At the end of the first phase" if first.stop is not None else "So far"
    return Finding(
        code="one_class_first",
        title=f"{when}, only {' and '.join(f'class {name}' for name in best)} stood out: the others are near chance.",
        severity="notice",
        confidence="medium",
        because="read from the probe, which holds few samples of each class",
        explanation="While features of all samples are alike, the common direction can serve only one or two classes; "
        "the others are learned once it breaks up.",
        steps=(first.start, first.until),
        evidence=(
            *(Evidence(f"class_accuracy of {name}", float(accuracy[name]), chance, f"at step {step}") for name in best),
            Evidence("class_accuracy of the best other", float(rest), chance, f"at step {step}, against chance"),
        ),
        source="mlp2024, Section 3.2.2 and Figure 6",
    )


def _learned(accuracy: np.ndarray) -> list[int]:
    """The classes far above chance, if they are one or two and all others are near it; else none."""
    present = np.isfinite(accuracy)
    chance = 1 / max(int(present.sum()), 1)
    far = np.flatnonzero(present & (accuracy >= chance + FAR))
    others = np.setdiff1d(np.flatnonzero(present), far)
    one_or_two = len(far) in (1, 2) and len(others) >= 2
    if not one_or_two or accuracy[others].max() > chance + NEAR or accuracy[present].mean() < MEAN * chance:
        return []
    return [int(index) for index in far]
