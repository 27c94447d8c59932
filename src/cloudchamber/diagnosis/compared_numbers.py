"""The numbers by which runs are compared: what each one means, and how it is read from a run or one of its layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from cloudchamber.diagnosis.case import Case
from cloudchamber.diagnosis.curves import Curve, constant, layer_names

Cell = float | None
"""One number. None: not in the run's record. NaN: measured, and no number; of a step: it did not happen."""

STEP = ".0f"
_NOTHING = Curve(np.empty(0, dtype=np.int64), np.empty(0))


@dataclass(frozen=True)
class Column:
    """One number of a run or a layer: its meaning, how it is read from a case (and a layer), and how it is written."""

    words: str
    read: Callable[..., Cell]
    form: str = ".4g"


def _curve(case: Case, name: str, *layer: str) -> Curve:
    """Return the curve of a quantity, of a layer if one is given; empty where the run has no such thing."""
    held = name in case.record and case.record[name].dims == ("step", "layer")[: 1 + len(layer)]
    return case.curve(name, *layer) if held and set(layer) <= set(layer_names(case.record)) else _NOTHING


def _initial(name: str, case: Case, *layer: str) -> Cell:
    found = _curve(case, name, *layer).until(0)
    return found.first if len(found) else None


def _final(name: str, case: Case, *layer: str) -> Cell:
    found = _curve(case, name, *layer)
    return found.last if len(found) else None


def _extreme(pick: Callable[[np.ndarray], float], name: str, case: Case, *layer: str) -> Cell:
    found = _curve(case, name, *layer)
    finite = found.finite.values
    return (float(pick(finite)) if len(finite) else math.nan) if len(found) else None


def _constant(name: str, case: Case, *layer: str) -> Cell:
    held = name in case.record and case.record[name].dims == ("layer",)[: len(layer)]
    value = constant(case.record, name, *layer) if held and set(layer) <= set(layer_names(case.record)) else math.nan
    return None if math.isnan(value) else value


def _final_accuracy(case: Case) -> Cell:
    found = case.curve("class_accuracy")
    if not len(found):
        return None
    last = np.atleast_1d(found.values[-1])
    return float(last[np.isfinite(last)].mean()) if np.isfinite(last).any() else math.nan


def _last_step(case: Case) -> Cell:
    if "stopped_at" in case.record.coords:  # a member of an ensemble, whose record has the steps of all members
        return float(case.record["stopped_at"])
    return float(case.record["step"].values[-1]) if case.record.sizes["step"] else None


def _happened(step: int | None, *, known: bool) -> Cell:
    return float(step) if step is not None else (math.nan if known else None)


def _known(case: Case) -> bool:
    return case.phases.status != "cannot tell"


def _first_phase_end(case: Case) -> Cell:
    first = case.phases.named("first phase")
    return _happened(None if first is None else first.stop, known=_known(case))


def _stuck_since(case: Case) -> Cell:
    stuck = case.phases.named("stuck")
    return _happened(None if stuck is None else stuck.start, known=_known(case))


def _feature_peak(case: Case) -> Cell:
    layer = case.phases.layer
    return _happened(case.phases.feature_peak, known=bool(layer) and len(_curve(case, "feature_cosine", layer)) > 0)


RUN = {
    "last_step": Column("last step", _last_step, STEP),
    "first_phase_end": Column("first phase ends", _first_phase_end, STEP),
    "loss_marker": Column("loss falls", lambda case: _happened(case.phases.loss_marker, known=_known(case)), STEP),
    "feature_peak": Column("features peak", _feature_peak, STEP),
    "stuck_since": Column("stuck since", _stuck_since, STEP),
    "final_probe_loss": Column("last loss", partial(_final, "probe_loss")),
    "lowest_probe_loss": Column("lowest loss", partial(_extreme, np.min, "probe_loss")),
    "constant_predictor_loss": Column("best constant's loss", partial(_constant, "constant_predictor_loss")),
    "final_accuracy": Column("last accuracy", _final_accuracy, ".3f"),
}
TEXTS: dict[str, tuple[str, Callable[[Case], str]]] = {
    "status": ("status", lambda case: case.phases.status),
    "reason": ("why that status", lambda case: case.phases.reason),
    "marker_layer": ("in layer", lambda case: case.phases.layer),
}
LAYER = {
    f"{when}_{name}": Column(f"{name.replace('_', ' ')}, {words}", partial(read, name), ".3f")
    for name in ("feature_cosine", "gradient_cosine")
    for when, words, read in (
        ("initial", "at initialization", _initial),
        ("peak", "largest", partial(_extreme, np.max)),
        ("final", "last", _final),
    )
} | {
    "final_effective_width": Column("effective width, last", partial(_final, "effective_width"), ".3g"),
    "effective_width_null": Column(
        "effective width of random directions", partial(_constant, "effective_width_null"), ".3g"
    ),
    "final_relative_distance": Column("relative distance, last", partial(_final, "relative_distance"), ".3g"),
}
