"""Will it leave the plateau: from numbers to a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from cloudchamber._core.finding import Confidence
from cloudchamber.predict.activations import Activations
from cloudchamber.predict.reckoning import Reckoning
from cloudchamber.predict.thresholds import (
    DROP,
    LEAVES_ABOVE,
    NORMALIZED_STABLE_BELOW,
    NORMALIZED_UNSTABLE_ABOVE,
    STABLE_BELOW,
    STUCK_BELOW,
    UNSTABLE_ABOVE,
    VANISHED,
)
from cloudchamber.predict.update_rule import UpdateRule

LeavesPlateau = Literal["leaves", "stuck", "unstable", "cannot tell"]


@dataclass(frozen=True)
class Verdict:
    """Whether training leaves the plateau.

    Attributes:
        name: "leaves", "stuck", "unstable" or "cannot tell".
        confidence: how sure.
        because: why so, and why it is not surer.
    """

    name: LeavesPlateau
    confidence: Confidence
    because: str


def verdict_of(found: Reckoning, rule: UpdateRule, activations: Activations) -> Verdict:
    """Return the verdict; the thresholds are those of `thresholds`."""
    if rule.kind == "other":
        return Verdict("cannot tell", "high", f"how {rule.name} turns gradients into steps is not known here")
    if not (math.isfinite(found.loss) and math.isfinite(found.spread)):
        return Verdict("unstable", "high", "outputs or the loss are not finite at the initialization")
    if not (found.constant_loss > 0 and math.isfinite(found.constant_loss)):
        return Verdict("cannot tell", "high", "the loss of the best constant output is not a positive number")
    if found.drowned:
        words = "weight decay is added to gradients no larger than itself before Adam divides them: use AdamW"
        return Verdict("cannot tell", "medium", words)
    if found.starts_at_zero:
        return _from_zero(found)
    left = found.loss < (1 - DROP) * found.constant_loss
    if found.score < STUCK_BELOW and not left:
        return _stuck(found, rule)
    doubt = _instability(found, rule) or _death(found, rule, activations)
    if doubt is not None:
        return doubt
    if left:
        return Verdict("leaves", "medium", "the loss starts below the plateau")
    slow = found.structure == "branched" and found.linear_score <= LEAVES_ABOVE
    if found.score <= LEAVES_ABOVE or slow:
        return _undecided(found)
    return _leaves(found, rule)


def _stuck(found: Reckoning, rule: UpdateRule) -> Verdict:
    if math.isinf(found.plateau.steps):
        return Verdict("stuck", "high", "the weights never grow: gradients vanish, or decay is faster")
    words = f"the plateau takes {1 / found.score:.2g} times as long as the {found.steps} steps"
    return Verdict("stuck", _confidence(found, rule, clear=found.score < STUCK_BELOW / 2), words)


def _from_zero(found: Reckoning) -> Verdict:
    if found.linear_score > LEAVES_ABOVE:
        words = f"the gradients of the start alone take {1 / found.linear_score:.2g} of the steps"
        return Verdict("leaves", "medium", words)
    return Verdict("cannot tell", "high", "weights start at zero: how gradients grow from there is not known here")


def _leaves(found: Reckoning, rule: UpdateRule) -> Verdict:
    words = f"the {found.steps} steps are {found.score:.3g} times as long as the plateau"
    return Verdict("leaves", _confidence(found, rule, clear=found.score > 2 * LEAVES_ABOVE), words)


def _undecided(found: Reckoning) -> Verdict:
    if found.score > LEAVES_ABOVE:
        words = "layers do not form a chain; whether its growth or that of fixed gradients counts, is not known"
    else:
        words = f"the steps are {found.score:.2g} times as long as the plateau: between {STUCK_BELOW} and "
        words += f"{LEAVES_ABOVE} either happens"
    return Verdict("cannot tell", "medium", words)


def _instability(found: Reckoning, rule: UpdateRule) -> Verdict | None:
    """Whether steps overshoot; None if they do not, or nothing is known about it."""
    if rule.kind != "sgd" or found.structure == "batch normalized":
        return None
    if found.structure == "sample normalized":
        value, low, high = found.depth_overshoot, NORMALIZED_STABLE_BELOW, NORMALIZED_UNSTABLE_ABOVE
        what = "steps beside the signal, with depth and normalization,"
    else:
        value, low, high = found.overshoot, STABLE_BELOW, UNSTABLE_ABOVE
        what = "steps at the end of the plateau"
    if not value >= low:
        return None
    if value <= high:
        return Verdict(
            "cannot tell", "medium", f"{what} are {value:.3g} long: between {low:g} and {high:g} either happens"
        )
    confidence: Confidence = "medium" if value > 2 * high else "low"
    return Verdict("unstable", confidence, f"{what} are {value:.3g} long; networks above {high:g} lost what they had")


def _death(found: Reckoning, rule: UpdateRule, activations: Activations) -> Verdict | None:
    """Adam moves biases by its whole rate however small gradients are, and units that are zero on one side may die."""
    one_sided = any(0.0 in (known.left, known.right) for known in activations.found.values() if known.kind == "kink")
    if rule.kind != "adam" or not one_sided or found.spread >= VANISHED * found.target:
        return None
    return Verdict("cannot tell", "medium", "the signal is so small that units may die before it has grown")


def _confidence(found: Reckoning, rule: UpdateRule, *, clear: bool) -> Confidence:
    """High only where the rule was tested and held: fully connected chains and batch norm, by SGD."""
    if found.structure == "branched" or rule.kind == "adam":
        return "low"
    tested = found.tested and found.structure != "sample normalized"
    return "high" if clear and tested else "medium"
