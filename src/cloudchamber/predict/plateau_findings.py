"""Findings about the plateau and the size of steps."""

from __future__ import annotations

import math

import numpy as np

from cloudchamber._core.finding import Evidence, Finding, Severity
from cloudchamber.predict.growth import Layers, plateau
from cloudchamber.predict.reckoning import Reckoning
from cloudchamber.predict.thresholds import (
    LEAVES_ABOVE,
    NORMALIZED_STABLE_BELOW,
    NORMALIZED_UNSTABLE_ABOVE,
    STABLE_BELOW,
    STUCK_BELOW,
    UNSTABLE_ABOVE,
)
from cloudchamber.predict.update_rule import UpdateRule
from cloudchamber.predict.verdict import LeavesPlateau, Verdict

_TITLES: dict[LeavesPlateau, tuple[str, Severity, str]] = {
    "leaves": ("will_leave", "good", "Training will leave its plateau within {steps} steps."),
    "stuck": ("will_stick", "problem", "Training will still be on its plateau after {steps} steps."),
    "unstable": ("will_be_unstable", "problem", "Training will not keep what it learns: steps are too long."),
    "cannot tell": ("plateau_unknown", "unknown", "Whether training leaves its plateau within {steps} steps is open."),
}
_MEANING: dict[LeavesPlateau, str] = {
    "leaves": "The layers grow along one direction each until the outputs tell the samples apart.",
    "stuck": "Every layer multiplies what tells the samples apart, and each grows only as fast as the others let it "
    "through. From this start they need more steps than are planned.",
    "unstable": "A step is so long against the curvature that it throws away what the steps before it have built.",
    "cannot tell": "The numbers lie where networks of both kinds were found, or outside of what the rule was made for.",
}
_SOURCE = "mlp2024, Section 2; xu2024, Theorem 1; rule and test: docs/prediction.md"
_LARGEST_SCALE = 16.0


def plateau_finding(verdict: Verdict, found: Reckoning, rule: UpdateRule) -> Finding:
    """Say whether training leaves its plateau, and why."""
    code, severity, title = _TITLES[verdict.name]
    return Finding(
        code=code,
        title=title.format(steps=found.steps),
        severity=severity,
        confidence=verdict.confidence,
        because=f"{verdict.because}{_beyond_the_test(found, rule)}",
        explanation=_MEANING[verdict.name],
        evidence=_evidence(found, rule),
        advice=_advice(verdict.name, found, rule),
        source=_SOURCE,
    )


def _beyond_the_test(found: Reckoning, rule: UpdateRule) -> str:
    """What of this network the rule was not tested on."""
    words = ""
    if found.structure == "branched":
        words = "; tested on networks without branches only"
    elif rule.kind == "adam":
        words = "; with Adam the rule was wrong for 5 of 13 test networks that did not leave"
    elif not found.tested:
        words = "; tested on fully connected networks for classes only"
    if rule.unmoved:
        words += f"; {len(rule.unmoved)} trainable parameters are not in the optimizer and stay as they are"
    return words


def _evidence(found: Reckoning, rule: UpdateRule) -> tuple[Evidence, ...]:
    items = [
        Evidence("planned steps over plateau length", found.score, LEAVES_ABOVE, f"below {STUCK_BELOW:g} it sticks"),
        Evidence("updates on the plateau, at least", found.updates(STUCK_BELOW)),
        Evidence("updates on the plateau, at most", found.updates(LEAVES_ABOVE)),
        Evidence("spread of the outputs", found.spread, found.target, "at which the loss has fallen"),
    ]
    if rule.kind == "sgd" and found.structure in ("chain", "branched"):
        what = "η λ/(2(1 − μ)) at the end of the plateau"
        items.append(Evidence(what, found.overshoot, UNSTABLE_ABOVE, "above it is unstable"))
    if rule.kind == "sgd" and found.structure == "sample normalized":
        what = "η λ/(2(1 − μ)) · (L·target/spread)²"
        items.append(Evidence(what, found.depth_overshoot, NORMALIZED_UNSTABLE_ABOVE, "above it is unstable"))
    return tuple(item for item in items if not math.isnan(item.value))


def _advice(name: LeavesPlateau, found: Reckoning, rule: UpdateRule) -> tuple[str, ...]:
    if name == "unstable":
        return _calmer(found, rule)
    if name == "leaves" or rule.kind == "other":
        return ()
    options = (_less_decay(found), _momentum(found, rule), _more_steps(found), _larger_weights(found), _NORMALIZE)
    return tuple(text for text in options if text) if found.score <= LEAVES_ABOVE else _calmer(found, rule)


_NORMALIZE = (
    "Put batch normalization before the activations: with SGD all 124 such networks left (mlp2024, Appendix K)."
)


def _less_decay(found: Reckoning) -> str:
    if not found.layers.decays.max(initial=0.0) > 0:
        return ""
    without = _with(found.layers, decays=np.zeros_like(found.layers.decays))
    score = found.full_steps / plateau(without, found.drop).steps
    return f"Drop weight decay: the score becomes {score:.2g} (mlp2024, Appendix I.5)." if score > found.score else ""


def _momentum(found: Reckoning, rule: UpdateRule) -> str:
    if rule.kind != "sgd" or rule.momentum >= 0.9:
        return ""
    factor = (1 - rule.momentum) / 0.1
    then = factor * found.overshoot
    doubt = f"; η λ/(2(1 − μ)) is {then:.2g} then, which may be too much" if then > STABLE_BELOW else ""
    return f"Use momentum 0.9: steps become {factor:.2g} times as long (mlp2024, Appendix I.3){doubt}."


def _more_steps(found: Reckoning) -> str:
    updates = found.updates(LEAVES_ABOVE)
    if not math.isfinite(updates):
        return ""
    factor = LEAVES_ABOVE / found.score
    return f"Plan {updates:.0f} updates, or a learning rate {factor:.2g} times as large if it is stable then."


def _larger_weights(found: Reckoning) -> str:
    """The factor for all weights at which it leaves, found by scaling the chain: gradients grow with the others."""
    if found.structure != "chain" or found.layers.sizes is not None:
        return ""
    low, high = 1.0, _LARGEST_SCALE
    if not _scaled_score(found, high) > LEAVES_ABOVE:
        return ""
    for _ in range(20):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if _scaled_score(found, middle) > LEAVES_ABOVE else (middle, high)
    words = f"Start from weights {high:.3g} times as large (a variance scale {high**2:.3g} times as large)"
    return f"{words}: mlp2024, Section 3.3."


def _scaled_score(found: Reckoning, factor: float) -> float:
    others = factor ** np.clip(found.layers.exponents.sum() - 1, 0, None)
    layers = _with(
        found.layers,
        gains=found.layers.gains * factor,
        gradients=found.layers.gradients * others,
        lengths=found.layers.lengths * others,
    )
    return found.full_steps / plateau(layers, found.drop).steps


def _with(layers: Layers, **changes: np.ndarray) -> Layers:
    return Layers(**{**vars(layers), **changes})


def _calmer(found: Reckoning, rule: UpdateRule) -> tuple[str, ...]:
    value, bound = found.overshoot, STABLE_BELOW
    if found.structure == "sample normalized":
        value, bound = found.depth_overshoot, NORMALIZED_STABLE_BELOW
    advice = []
    if value > bound:
        advice.append(f"Use a learning rate of {rule.lr * bound / value:.2g} or less.")
    if rule.momentum > 0:
        times = 1 / (1 - rule.momentum)
        advice.append(f"Use less momentum: with {rule.momentum:g} steps are {times:.3g} times as long.")
    return (*advice, _NORMALIZE) if rule.kind == "sgd" else tuple(advice)


def rate_finding(found: Reckoning, rule: UpdateRule, stable: float, later: float) -> Finding | None:
    """Say how large a learning rate is stable."""
    if not math.isfinite(stable):
        return None
    above = rule.lr > stable
    known = rule.kind == "sgd"
    title = f"Steps along the steepest curvature are stable up to a rate of {stable:.3g}; yours is {rule.lr:g}."
    if not known:
        title = f"The largest curvature is {found.curvature:.3g}; {rule.name} divides steps, so that no bound follows."
    items = [Evidence("largest eigenvalue of the Gauss–Newton matrix", found.curvature, None, "at the initialization")]
    if math.isfinite(found.end_curvature):
        items.append(Evidence("the same at the end of the plateau", found.end_curvature, None, f"bound {later:.3g}"))
    return Finding(
        code="learning_rate_bound",
        title=title,
        severity="notice" if above and known else "good",
        confidence="medium" if known else "low",
        because="the bound is one on the quadratic around this start; beyond it training often calms itself",
        explanation="On a quadratic of curvature λ gradient descent with momentum μ converges for η < 2(1 + μ)/λ. λ is "
        "the largest eigenvalue of the neural tangent kernel over n, weighted by the curvature of the loss.",
        evidence=tuple(items),
        advice=(f"Start with a learning rate below {stable:.2g}, or warm it up.",) if above and known else (),
        source="Jacot et al. (2018); Cohen et al. (2021) for what happens beyond the bound",
    )
