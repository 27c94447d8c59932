"""Phases of a run, found from its record: the first phase, and being stuck."""

from __future__ import annotations

from dataclasses import replace

import xarray as xr

from cloudchamber._core.errors import require
from cloudchamber.diagnosis.curves import constant, curve, layer_names, middle_layer
from cloudchamber.diagnosis.loss_phases import phases_of_loss
from cloudchamber.diagnosis.markers import peak_step
from cloudchamber.diagnosis.phase import Phase, Phases
from cloudchamber.diagnosis.rule import DEFAULT_RULE, PhaseRule


def find_phases(record: xr.Dataset, *, layer: str | None = None, rule: PhaseRule = DEFAULT_RULE) -> Phases:
    """Find the first phase of a run, and whether it is stuck.

    L is the probe loss, smoothed by a running median; L_const the loss of the best constant output; both from the
    record. The numbers are the defaults of `PhaseRule`.

    *Plateau.* It starts at the first observation with L ≤ 1.05 L_const. The **loss marker** is the first observation
    from which on L < 0.85 L_const for 10 observations (or to the end of the record). It was a plateau if L stayed above
    0.95 L_const for at least 55 % of the time in between, over at least 3 observations: slow, then fast.

    *Similarity markers.* A smoothed cosine of `layer` peaks at its highest point if it rose to it by at least 0.01 and
    then fell by at least 0.01, both also at least 5 standard deviations of the noise. Each such fall closes what came
    before it. With a loss marker, the first fall that is completed after it decides: its top is the **feature peak**
    (of the feature cosine) or **gradient peak** (of the gradient cosine), or there is none if it had not risen.
    Without a loss marker they are the first peak. The step is that of the highest value within the running window.

    *First phase.* From the start of the plateau to the feature peak, if there is a loss marker and the peak comes no
    later than 3 times it; to the loss marker, if there is no such peak; not over without a loss marker.

    *Stuck* is defined by the loss alone: over at least 500 steps and 10 observations, up to the end of the record, L is
    never below 0.99 L_const, so no better than a constant, and does not fall: the median of the second half of the last
    500 steps lies no more than 0.1 % of L_const (or twice the scatter within the halves) below that of the first half.
    It starts where L comes into [0.99 L_const, the larger of 1.01 L_const and the largest L of the last 500 steps].
    A loss above that of a constant is stuck as well if it does not fall. A plateau that has been left is not.

    Unmeasured observations are left out. A probe loss whose last measured value is NaN or inf, or exceeds 10 times both
    its first value and L_const, has diverged; earlier NaN and inf are left out.

    Args:
        record: with `probe_loss` and `constant_predictor_loss`; `feature_cosine` and `gradient_cosine` if it has them.
        layer: the layer of the similarity markers; None = the middle hidden layer (every observed layer but the last
            is hidden; of H it is number ⌊H/2⌋ + 1, the 5th of 8).
        rule: the thresholds.

    Returns:
        The phases, all in steps (updates applied), the markers, and the status with its reason.

    Raises:
        InvalidInput: if `layer` is not in the record.

    Source: mlp2024, Section 2, Figure 2 (both similarities rise in the first phase and fall after it), Figure 1(c) and
    Appendix C (learning sticking is a first phase without end). The paper gives no numbers: these are ours.

    >>> import numpy as np, xarray as xr
    >>> step = np.arange(0, 400, 10)
    >>> loss = 2.3 / (1 + np.exp((step - 250) / 20))
    >>> record = xr.Dataset(
    ...     {"probe_loss": ("step", loss), "constant_predictor_loss": 2.3}, coords={"step": step, "layer": []}
    ... )
    >>> [str(phase) for phase in find_phases(record)]
    ['first phase (step 0–220)']
    """
    known = layer_names(record)
    require(
        layer is None or layer in known,
        f"this record's layers are {', '.join(known) or 'none'}",
        repr(layer),
        "choose one of them, or leave it out for the middle hidden layer",
    )
    found = phases_of_loss(curve(record, "probe_loss"), constant(record, "constant_predictor_loss"), rule)
    return _with_peaks(found, record, middle_layer(record) if layer is None else layer, rule)


def current_phase(record: xr.Dataset, *, layer: str | None = None, rule: PhaseRule = DEFAULT_RULE) -> str:
    """Return a short label of where the run is: "first phase (step 0–)", "second phase (step 640–)", "stuck (step 0–)".

    Without an interval to show: "no plateau", "diverged", "cannot tell". Arguments and errors are those of
    `find_phases`.

    >>> import numpy as np, xarray as xr
    >>> current_phase(xr.Dataset(coords={"step": np.arange(3)}))
    'cannot tell'
    """
    phases = find_phases(record, layer=layer, rule=rule)
    first, stuck = phases.named("first phase"), phases.named("stuck")
    if phases.status == "second phase" and first is not None:
        return f"second phase (step {first.stop}–)"
    shown = {"first phase": first, "stuck": stuck}.get(phases.status)
    return phases.status if shown is None else str(shown)


def _with_peaks(phases: Phases, record: xr.Dataset, layer: str, rule: PhaseRule) -> Phases:
    if not layer:
        return phases
    similarities = (curve(record, name, layer) for name in ("feature_cosine", "gradient_cosine"))
    feature_peak, gradient_peak = (peak_step(similarity, rule, phases.loss_marker) for similarity in similarities)
    return replace(
        phases,
        intervals=tuple(_ended_by_features(phase, feature_peak, rule) for phase in phases),
        layer=layer,
        feature_peak=feature_peak,
        gradient_peak=gradient_peak,
    )


def _ended_by_features(phase: Phase, peak: int | None, rule: PhaseRule) -> Phase:
    """Move the end of a first phase from the loss marker to the feature peak, if the two agree."""
    if phase.stop is None or peak is None:
        return phase
    if not phase.start < peak <= phase.start + rule.agreement * (phase.stop - phase.start):
        return phase
    return replace(phase, stop=peak, until=peak, ended_by="features")
