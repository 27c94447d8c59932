"""The finding that training is stuck: since when, why as far as the record shows, and what may free it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cloudchamber._core.finding import Confidence, Evidence, Finding
from cloudchamber.diagnosis.advice import cures
from cloudchamber.diagnosis.case import Case
from cloudchamber.diagnosis.phase import Phase

_MEANING = (
    "A first phase without end: all samples drive the weights along one common direction, so that the network gives "
    "nearly the same output for each of them, and what would tell them apart is too weak to be learned in this time."
)
ALIKE = 0.95
UNMOVED = 0.01
GROWTH = 1.5


@dataclass(frozen=True)
class Cause:
    """Something in the record that explains why training is stuck."""

    words: str
    evidence: tuple[Evidence, ...] = ()
    advice: str = ""


def stuck(case: Case) -> Finding | None:
    """Training is stuck so far."""
    phase = case.phases.named("stuck")
    if phase is None:
        return None
    causes = tuple(cause for find in _CAUSES if (cause := find(case)) is not None)
    confidence, because = _trust(case, phase)
    return Finding(
        code="stuck",
        title=_title(case, phase, causes),
        severity="problem",
        confidence=confidence,
        because=because,
        explanation=_MEANING,
        steps=(phase.start, phase.until),
        evidence=_loss_evidence(case, phase) + tuple(item for cause in causes for item in cause.evidence),
        advice=tuple(cause.advice for cause in causes if cause.advice) + cures(case),
        source="mlp2024, Section 2 and Appendix C",
    )


def _title(case: Case, phase: Phase, causes: tuple[Cause, ...]) -> str:
    above = float(np.median(_values(case, phase))) > (1 + case.rule.stuck_tolerance) * case.level
    where = "above that" if above else "at that"
    length = phase.until - phase.start
    words = f"Training is stuck so far: the loss stays {where} of a constant output for {length} steps"
    return f"{words}; a likely cause: {causes[0].words}." if causes else f"{words}. The record shows no cause."


def _trust(case: Case, phase: Phase) -> tuple[Confidence, str]:
    """A long first phase looks the same until it ends: one of ours counted as stuck from step 500, left at 1440."""
    length = phase.until - phase.start
    leaving = _leaving(case, phase)
    if leaving:
        return "medium", f"{leaving}: it may get free by itself"
    if length < 2 * case.rule.stuck_steps:
        return "medium", f"{length} steps so far; a long first phase looks the same until it ends"
    return "high", "no sign of leaving; still, a very long first phase would look the same"


def _leaving(case: Case, phase: Phase) -> str:
    """How the loss draws away from the constant's in the last `stuck_steps`, by thirds; "" if it does not clearly."""
    recent = case.loss.steps >= phase.until - case.rule.stuck_steps
    steps = np.array_split(case.loss.steps[recent], 3)
    below = np.array_split(case.level - case.loss.values[recent], 3)
    early, late = float(np.median(below[0])), float(np.median(below[2]))
    scatter = float(np.median(np.abs(below[0] - early)))
    if late <= max(GROWTH * early, early + 3 * scatter, 0.0):
        return ""
    if early <= 0:
        return "the loss has begun to fall below that of a constant output"
    doubling = float(np.median(steps[2]) - np.median(steps[0])) / math.log2(late / early)
    return f"the loss falls below that of a constant output, twice as far every {doubling:.0f} steps"


def _values(case: Case, phase: Phase) -> np.ndarray:
    return case.loss.values[case.loss.steps >= phase.start]


def _loss_evidence(case: Case, phase: Phase) -> tuple[Evidence, ...]:
    values = _values(case, phase)
    gained = float(1 - values.min() / case.level)
    meaning = "at best, as a fraction, against what would count as leaving"
    better = Evidence("probe_loss below a constant's", gained, case.rule.stuck_tolerance, meaning)
    return (*case.beside_constant(phase.until), better)


def _zero_features(case: Case) -> Cause | None:
    dead = [layer for layer in case.hidden if case.is_dead(layer)]
    if not dead:
        return None
    return Cause(
        f"the features of {dead[0]} are zero, so that no gradient passes",
        advice="Zero features do not come back: start again, with a smaller learning rate or leaky ReLU "
        "(`--set model.activation=leaky_relu`).",
    )


def _weights_unmoved(case: Case) -> Cause | None:
    moved = {layer: case.curve("relative_distance", layer).finite for layer in case.hidden}
    last = {layer: found.last for layer, found in moved.items() if len(found)}
    if not last or max(last.values()) >= UNMOVED:
        return None
    furthest = max(last, key=lambda layer: last[layer])
    return Cause(
        "the weights hardly move",
        (Evidence(f"relative_distance of {furthest}", last[furthest], UNMOVED, "the largest of the hidden layers"),),
        "Try a larger learning rate first: nothing has moved yet.",
    )


def _alike_from_start(case: Case) -> Cause | None:
    start = {layer: case.curve("feature_cosine", layer).finite.first for layer in case.hidden}
    layers = [layer for layer, value in start.items() if value >= ALIKE]
    if not layers:
        return None
    return Cause(
        f"all samples look alike to {layers[0]} from the first observation on (too many layers, or too small weights)",
        case.beside_start("feature_cosine", layers[0]),
    )


def _alike(case: Case) -> Cause | None:
    layers = [layer for layer in case.hidden if case.grown_alike(layer, ALIKE)]
    if not layers:
        return None
    return Cause(f"all samples look alike to {layers[-1]}", case.beside_start("feature_cosine", layers[-1]))


def _one_gradient(case: Case) -> Cause | None:
    layer = case.phases.layer
    gradient = case.curve("gradient_cosine", layer).finite if layer else None
    if gradient is None or not len(gradient) or gradient.last < 0.9 or case.rise("gradient_cosine", layer) == 0:
        return None
    words = f"the samples of a class all push {layer} the same way (the self-enhancing common direction)"
    return Cause(words, case.beside_start("gradient_cosine", layer))


def _small_weights(case: Case) -> Cause | None:
    scale = case.number("initialization.variance_scale")
    if not scale < 1:
        return None
    evidence = Evidence("initialization.variance_scale", scale, 1.0, "of the recipe; smaller weights condense more")
    return Cause("the initial weights are small", (evidence,))


_CAUSES = (_zero_features, _weights_unmoved, _alike_from_start, _alike, _one_gradient, _small_weights)
