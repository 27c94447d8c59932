"""What the loss alone says about the phases of a run."""

from __future__ import annotations

import math

import numpy as np

from cloudchamber.diagnosis.curves import Curve
from cloudchamber.diagnosis.markers import Plateau, find_plateau
from cloudchamber.diagnosis.phase import Phase, Phases, Status
from cloudchamber.diagnosis.rule import PhaseRule
from cloudchamber.diagnosis.smoothing import MAD_OF_UNIT_NORMAL, smooth

TOO_FEW = 3


def phases_of_loss(measured: Curve, level: float, rule: PhaseRule) -> Phases:
    """Return status, reason, phases and loss marker; `phases.find_phases` holds the definition."""
    finite = measured.finite
    loss = Curve(finite.steps, smooth(finite.values, rule.window))
    diverged = _divergence(measured, loss, level, rule)
    unreadable = _unreadable(measured, loss, level)
    if unreadable:
        return Phases("diverged", diverged) if diverged else Phases("cannot tell", unreadable)
    plateau = find_plateau(loss, level, rule)
    first = _first_phase(plateau, rule)
    stuck = None if diverged else _stuck(loss, level, rule)
    status, reason = ("diverged", diverged) if diverged else _status(plateau, first, stuck, rule)
    return Phases(
        status,
        reason,
        tuple(phase for phase in (first, stuck) if phase is not None),
        loss_marker=None if plateau.left is None else int(loss.steps[plateau.left]),
    )


def _unreadable(measured: Curve, loss: Curve, level: float) -> str:
    if not len(measured):
        return "the record holds no probe loss: the monitor was given no loss, or did not measure it"
    if math.isnan(level):
        return "the record holds no loss of the best constant output to compare with"
    if not 0 < level < math.inf:
        return f"the loss of the best constant output is {level:.4g}: fractions of it mean nothing"
    if len(loss) < TOO_FEW:
        return f"{len(loss)} observed values of the probe loss are too few"
    return ""


def _divergence(measured: Curve, loss: Curve, level: float, rule: PhaseRule) -> str:
    if len(measured) and not np.isfinite(measured.values[-1]):
        first = int(measured.steps[measured.steps > (loss.steps[-1] if len(loss) else -1)][0])
        return f"the probe loss is no finite number from step {first} on"
    if not len(loss):
        return ""
    start = max(loss.values[0], level if level > 0 else loss.values[0])
    if start > 0 and loss.values[-1] > rule.explosion * start:
        return f"the probe loss has exploded to {loss.values[-1]:.4g}, from {loss.values[0]:.4g}"
    return ""


def _first_phase(plateau: Plateau, rule: PhaseRule) -> Phase | None:
    if plateau.start is None or plateau.observations < rule.plateau_observations:
        return None
    if plateau.share < rule.plateau_share:
        return None
    start, last = int(plateau.steps[plateau.start]), int(plateau.steps[-1])
    if plateau.left is None:
        return Phase("first phase", start, None, last)
    stop = int(plateau.steps[plateau.left])
    return Phase("first phase", start, stop, stop, "loss")


def _stuck(loss: Curve, level: float, rule: PhaseRule) -> Phase | None:
    """Read the last `stuck_steps` first: they decide whether it is stuck, the rest of the record only since when."""
    last = int(loss.steps[-1])
    recent = loss.steps >= last - rule.stuck_steps
    floor, ceiling = (1 - rule.stuck_tolerance) * level, (1 + rule.stuck_tolerance) * level
    outside = np.flatnonzero((loss.values < floor) | (loss.values > max(ceiling, loss.values[recent].max())))
    first = int(outside[-1]) + 1 if len(outside) else 0
    if len(loss) - first < rule.stuck_observations or last - loss.steps[first] < rule.stuck_steps:
        return None
    if _falls(loss.steps[recent], loss.values[recent], rule.stuck_fall * level):
        return None
    return Phase("stuck", int(loss.steps[first]), None, last)


def _falls(steps: np.ndarray, values: np.ndarray, allowed: float) -> bool:
    """Compare the medians of the two halves; within them a straight line scatters by 0.37 of what it falls between."""
    late = 2 * steps >= steps[0] + steps[-1]
    early_median, late_median = float(np.median(values[~late])), float(np.median(values[late]))
    scatter = np.median(np.abs(values - np.where(late, late_median, early_median))) / MAD_OF_UNIT_NORMAL
    return early_median - late_median > max(allowed, 2 * float(scatter))


def _status(plateau: Plateau, first: Phase | None, stuck: Phase | None, rule: PhaseRule) -> tuple[Status, str]:
    if stuck is not None:
        return "stuck", ""
    if first is not None:
        return ("first phase", "") if first.stop is None else ("second phase", "")
    if plateau.start is None:
        return "cannot tell", "the loss is still above that of a constant output"
    if plateau.left is None and plateau.observations < rule.plateau_observations:
        return "cannot tell", f"the loss has been observed near that of a constant output {plateau.observations} times"
    return "no plateau", _why_no_plateau(plateau, rule)


def _why_no_plateau(plateau: Plateau, rule: PhaseRule) -> str:
    if plateau.left == 0:
        return "the loss is far below that of a constant output from its first observation on"
    if plateau.observations < rule.plateau_observations:
        return f"fewer than {rule.plateau_observations} observations lie near the loss of a constant output"
    return "the loss falls steadily from the start: it is not slow first and fast later"
