"""From a record to its findings."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from cloudchamber._core.finding import Finding, Findings
from cloudchamber.diagnosis import classes, layers, progress
from cloudchamber.diagnosis.case import Case
from cloudchamber.diagnosis.rule import DEFAULT_RULE, PhaseRule
from cloudchamber.diagnosis.stuck import stuck

_FINDERS: tuple[Callable[[Case], Finding | None], ...] = (
    progress.diverged,
    stuck,
    progress.loss_returned,
    layers.dead_features,
    progress.cannot_tell,
    progress.in_first_phase,
    classes.one_class_first,
    layers.condensed_features,
    layers.condensed_layers,
    progress.first_phase_over,
)


def diagnose(record: xr.Dataset, *, layer: str | None = None, rule: PhaseRule = DEFAULT_RULE) -> Findings:
    """Say what a record shows: what, where, the evidence, how sure, what to change, and the source.

    The codes by severity: problem "diverged", "stuck", "loss_returned", "dead_features"; unknown "cannot_tell"; notice
    "in_first_phase", "one_class_first", "condensed_features", "condensed_layers"; good "first_phase_over",
    "nothing_to_report". docs/diagnosis.md holds what each one rests on.

    Args:
        record: a record, as `Monitor.record` or `open_record` gives it.
        layer: the layer of the similarity markers; None = the middle hidden layer.
        rule: the thresholds of the phases.

    Returns:
        At least one finding, worst first: by severity, then by confidence.

    Raises:
        InvalidInput: if `layer` is not in the record.

    Source: mlp2024, Sections 2 and 3.3, Appendices C, I and J; zhou2022, Section 4.

    >>> import numpy as np
    >>> step = np.arange(0, 1010, 10)
    >>> record = xr.Dataset(
    ...     {"probe_loss": ("step", np.full(101, 2.3)), "constant_predictor_loss": 2.3}, coords={"step": step}
    ... )
    >>> diagnose(record).codes
    ('stuck',)
    """
    case = Case.open(record, layer, rule)
    found = [finding for find in _FINDERS if (finding := find(case)) is not None]
    return Findings(sorted(found or [_nothing(case)], key=lambda finding: finding.urgency))


def _nothing(case: Case) -> Finding:
    return Finding(
        code="nothing_to_report",
        title="Nothing to report: the run has no first phase to speak of and is not stuck.",
        severity="good",
        confidence="high",
        because=case.phases.reason,
        steps=(int(case.loss.steps[0]), case.last_step),
        evidence=case.beside_constant(case.last_step),
    )
