"""Findings about how far the run has come: its first phase, a loss that returns, divergence, and what is unclear."""

from __future__ import annotations

import math

from cloudchamber._core.finding import Confidence, Evidence, Finding
from cloudchamber.diagnosis.advice import momentum, smaller_steps
from cloudchamber.diagnosis.case import Case
from cloudchamber.diagnosis.phase import Phase

SOURCE = "mlp2024, Section 2"
_FIRST_PHASE = (
    "In the first phase every sample pushes the neurons of a layer along nearly one common direction, which makes "
    "features and gradients of different samples more alike, which strengthens that direction: the network can "
    "hardly tell samples apart and its loss stays near that of a constant output"
)


def first_phase_over(case: Case) -> Finding | None:
    """The first phase has an end."""
    first = case.phases.named("first phase")
    if first is None or first.stop is None:
        return None
    confidence, because = _trust_in_end(case, first)
    return Finding(
        code="first_phase_over",
        title=f"The first phase is over: it lasted from step {first.start} to step {first.stop}.",
        severity="good",
        confidence=confidence,
        because=because,
        explanation=f"{_FIRST_PHASE}. Where the similarity peaks, samples begin to pull apart and the loss falls.",
        steps=(first.start, first.stop),
        evidence=_marker_evidence(case, first.stop),
        source=SOURCE,
    )


def _trust_in_end(case: Case, first: Phase) -> tuple[Confidence, str]:
    marker, peak = case.phases.loss_marker, case.phases.feature_peak
    since = int((case.loss.steps >= (marker or 0)).sum())
    if since < case.rule.hold:
        return "low", f"the loss left its plateau only {since} observations ago"
    if first.ended_by == "features":
        return "high", f"the loss leaves its plateau at step {marker}, the feature similarity peaks at step {peak}"
    if peak is not None:
        return "medium", f"the loss leaves its plateau at step {marker}, but the features peak at step {peak}"
    return "medium", f"by the loss alone: {_why_no_peak(case)}"


def _why_no_peak(case: Case) -> str:
    layer = case.phases.layer
    if not layer:
        return "the record has no hidden layer"
    if not len(case.curve("feature_cosine", layer).finite):
        return f"the record holds no feature cosine of {layer}"
    return f"the feature similarity of {layer} does not peak there"


def _marker_evidence(case: Case, stop: int) -> tuple[Evidence, ...]:
    loss_marker, gradient_peak = case.phases.loss_marker, case.phases.gradient_peak
    evidence = case.beside_constant(stop if loss_marker is None else loss_marker)
    if case.phases.layer:
        evidence += case.beside_start("feature_cosine", case.phases.layer, stop)
    if gradient_peak is not None:
        evidence += case.beside_start("gradient_cosine", case.phases.layer, gradient_peak)
    return evidence


def in_first_phase(case: Case) -> Finding | None:
    """The loss is on its plateau, not long enough to be stuck, or too evidently on its way down."""
    first = case.phases.named("first phase")
    if case.phases.status != "first phase" or first is None:
        return None
    layer = case.phases.layer
    risen = bool(layer) and case.rise("feature_cosine", layer) > 0
    by = f"the features of {layer} become alike, as they do in it" if risen else "by the loss alone"
    length = first.until - first.start
    short = length < case.rule.stuck_steps
    wait = f"; {length} steps cannot tell it from a run that is stuck" if short else ""
    return Finding(
        code="in_first_phase",
        title=f"The run is in its first phase: since step {first.start} its loss is near that of a constant output.",
        severity="notice",
        confidence="medium",
        because=by + wait,
        explanation=f"{_FIRST_PHASE}, until one class after the other is told apart.",
        steps=(first.start, first.until),
        evidence=case.beside_constant(first.until)
        + (case.beside_start("feature_cosine", layer) + case.beside_start("gradient_cosine", layer) if layer else ()),
        advice=_go_on(case, short),
        source=SOURCE,
    )


def _go_on(case: Case, short: bool) -> tuple[str, ...]:
    train_on = f"Train on: {case.rule.stuck_steps} steps without a fall of the loss would count as stuck."
    return (train_on,) if short or not momentum(case) else (train_on, momentum(case))


def loss_returned(case: Case) -> Finding | None:
    """The loss left its plateau and is back."""
    marker, level = case.phases.loss_marker, case.level
    if marker is None or case.phases.status == "diverged" or case.loss.last < (1 - case.rule.drop) * level:
        return None
    after = case.loss.steps >= marker
    lowest = float(case.loss.values[after].min())
    low_step = int(case.loss.steps[after][case.loss.values[after].argmin()])
    return Finding(
        code="loss_returned",
        title="The loss has come back to that of a constant output: what was learned is lost.",
        severity="problem",
        confidence="high",
        because=f"it had left it at step {marker}",
        steps=(low_step, case.last_step),
        evidence=(
            Evidence("probe_loss", lowest, level, f"its lowest after step {marker}, against the best constant output"),
            *case.beside_constant(case.last_step),
        ),
        advice=(f"Go on from before step {low_step}. {smaller_steps(case, 3)}",),
    )


def diverged(case: Case) -> Finding | None:
    """The loss is NaN, inf or huge."""
    if case.phases.status != "diverged":
        return None
    measured = case.curve("probe_loss")
    finite = measured.finite
    good = int(finite.steps[-1]) if len(finite) and not math.isfinite(measured.last) else int(measured.steps[0])
    start = Evidence("probe_loss", finite.first, case.level, f"at step {measured.steps[0]}, against a constant output")
    advice = [smaller_steps(case, 10), "Clip the gradients: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)."]
    if case.number("initialization.variance_scale") > 1:
        advice.append("Start again from smaller weights: `--set initialization.variance_scale=1`.")
    return Finding(
        code="diverged",
        title=f"Training has diverged: {case.phases.reason}.",
        severity="problem",
        confidence="high",
        because="the loss itself says so; what set it off is not in the record",
        steps=(good, case.last_step),
        evidence=(start, Evidence("probe_loss", measured.last, None, f"at step {case.last_step}")),
        advice=tuple(advice),
    )


def cannot_tell(case: Case) -> Finding | None:
    """The record does not hold what the phases are found from."""
    if case.phases.status != "cannot tell":
        return None
    return Finding(
        code="cannot_tell",
        title=f"The record cannot tell the phase of the run: {case.phases.reason}.",
        severity="unknown",
        confidence="high",
        because="what is missing is named",
        steps=None if case.last_step < 0 else (int(case.curve("probe_loss").steps[0]), case.last_step),
        evidence=case.beside_constant(case.last_step),
        advice=(_what_is_missing(case),),
    )


def _what_is_missing(case: Case) -> str:
    if case.last_step < 0:
        return "Give the monitor a loss and targets: Monitor(model, probe=(x, y), loss=loss_fn)."
    if not 0 < case.level < math.inf:
        return "Use a loss that is positive and has a best constant output, such as cross entropy or squared error."
    return "Observe more often (`every=` of the monitor, `--set observe.every=` of a recipe) or train longer."
