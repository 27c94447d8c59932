"""The dynamical regime of a wide ReLU network from its initialization: linear, critical or condensed.

A layer's regime is what its relative change RD = ‖θ(t) − θ(0)‖/‖θ(0)‖, the largest over training, does as the width
grows: it vanishes (linear), stays of order 1 (critical) or diverges (condensed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from cloudchamber._core.errors import require
from cloudchamber.theory.exact import Number, exact
from cloudchamber.theory.layer_motion import critical_gamma, relative_changes

RegimeName = Literal["linear", "critical", "condensed"]
ChangeNorm = Literal["frobenius", "spectral"]

_ZERO, _HALF = Fraction(0), Fraction(1, 2)


@dataclass(frozen=True)
class Regime:
    """The regime of one layer.

    Attributes:
        name: "linear", "critical" or "condensed".
        margin: γ minus the γ of the boundary at the same other coordinates: negative in the linear regime.
        exponent: lim d log RD / d log m, the predicted slope of the relative change over the width.
    """

    name: RegimeName
    margin: Fraction
    exponent: Fraction


@dataclass(frozen=True)
class ThreeLayerRegime:
    """The regimes of the layers of a three-layer network, from the input to the output."""

    first: Regime
    second: Regime
    output: Regime


def regime(gamma: Number, gamma_prime: Number, *, tolerance: Number = 0) -> Regime:
    """Return the regime of the input layer of a two-layer ReLU network.

    `f = (1/α) Σ_{k≤m} a_k σ(w_k·x)`, `a ~ N(0, β₁²)`, `w ~ N(0, β₂²)` (standard deviations β), `κ = β₁β₂/α`,
    `κ' = β₁/β₂`, `γ = lim −log κ/log m`, `γ' = lim −log κ'/log m`. Linear for γ < 1 or γ' > γ − 1, condensed for γ > 1
    and γ' < γ − 1, critical between them.

    Args:
        gamma: γ.
        gamma_prime: γ'.
        tolerance: how near to the boundary (in γ) a point counts as critical; 0 decides exactly.

    Returns:
        The regime, its margin `γ − max(1, 1 + γ')` and the predicted slope of RD.

    Raises:
        InvalidInput: if a coordinate is not a finite number or `tolerance` is negative.

    Source: overview2025, Section 5, Theorems 1 and 2; the slope is derived in docs/three-layer-regime.md.

    >>> regime(1, 0).name, regime(0.5, 0.5).name, regime(1.75, 0).name
    ('critical', 'linear', 'condensed')
    >>> regime(1.75, 0).exponent  # published: 0.372
    Fraction(3, 8)
    """
    ratio = exact(gamma_prime, "gamma_prime")
    # ẇ has the rate κ' = m^−γ', ȧ the rate 1/κ'.
    return _regime(exact(gamma, "gamma"), [-ratio, ratio], 0, _ZERO, _tolerance(tolerance))


def boundary_distance(gamma: float, gamma_prime: float) -> float:
    """Return how far a point of the two-layer diagram is from the boundary: positive where neurons condense.

    The boundary is the ray γ = 1, γ' ≤ 0 and the ray γ' = γ − 1, γ ≥ 1. The distance is Euclidean in (γ, γ').

    Args:
        gamma: γ.
        gamma_prime: γ'.

    Raises:
        InvalidInput: if a coordinate is not a finite number.

    Source: overview2025, Section 5, Figure 5.

    >>> boundary_distance(1.5, -1.0), boundary_distance(0.0, 0.0)
    (0.5, -1.0)
    """
    inside = regime(gamma, gamma_prime).margin > 0
    x, y = float(exact(gamma, "gamma")) - 1, float(exact(gamma_prime, "gamma_prime"))
    along = max((x + y) / 2, 0.0)
    nearest = min(math.hypot(x, max(y, 0.0)), math.hypot(x - along, y - along))
    return nearest if inside else -nearest


def three_layer_regime(
    gamma: Number,
    gamma_prime_1: Number,
    gamma_prime_2: Number,
    *,
    norm: ChangeNorm = "frobenius",
    tolerance: Number = 0,
) -> ThreeLayerRegime:
    """Return the regime of each layer of a three-layer ReLU network.

    `f = (1/α) aᵀ σ(W² σ(W¹ x))` with two hidden layers of width m and standard deviations β₃ (of a), β₂, β₁ at the
    start; `γ = lim −log(β₁β₂β₃/α)/log m`, `γ'₁ = lim −log(β₂/β₁)/log m`, `γ'₂ = lim −log(β₃/β₂)/log m`. With the
    rates `r = (0, 2γ'₁, 2γ'₁ + 2γ'₂)` of the layers, the solution s of `γ = ½ Σ_l max(1, r_l + s)` says which
    layers move: those with `r_l + s > 1`.

    Args:
        gamma: γ; the γ₃ of Zhou et al. (2022) as far as can be told.
        gamma_prime_1: γ'₁.
        gamma_prime_2: γ'₂.
        norm: how a change of the m×m matrix W² is measured. Its change is of low rank while its start is not, so that
            it is √m times larger against the start's spectral norm than against its Frobenius norm, which is RD.
        tolerance: how near to a boundary (in γ) a layer counts as critical; 0 decides exactly.

    Returns:
        The regimes of W¹, W² and a.

    Raises:
        InvalidInput: if a coordinate is not a finite number, `norm` is unknown or `tolerance` is negative.

    Source: derived in docs/three-layer-regime.md; overview2025, Section 5 (the diagram, without coordinates).

    >>> three_layer_regime(1.5, 0, 0).first.name, three_layer_regime(1.5, 0, 0).second.name
    ('critical', 'linear')
    """
    require(norm in ("frobenius", "spectral"), "`norm` is 'frobenius' or 'spectral'", repr(norm), "choose one of them")
    second = 2 * exact(gamma_prime_1, "gamma_prime_1")
    rates = [_ZERO, second, second + 2 * exact(gamma_prime_2, "gamma_prime_2")]
    levels = [_ZERO, _HALF if norm == "frobenius" else _ZERO, _ZERO]
    scale, near = exact(gamma, "gamma"), _tolerance(tolerance)
    return ThreeLayerRegime(*(_regime(scale, rates, layer, level, near) for layer, level in enumerate(levels)))


def _regime(gamma: Fraction, rates: list[Fraction], layer: int, level: Fraction, tolerance: Fraction) -> Regime:
    """Place one layer; `level` is how much smaller its relative change is than that of its signal-carrying part."""
    margin = gamma - critical_gamma(layer, rates, level)
    return Regime(_name(margin, tolerance), margin, relative_changes(gamma, rates)[layer] - level)


def _name(margin: Fraction, tolerance: Fraction) -> RegimeName:
    if abs(margin) <= tolerance:
        return "critical"
    return "condensed" if margin > 0 else "linear"


def _tolerance(value: Number) -> Fraction:
    tolerance = exact(value, "tolerance")
    require(tolerance >= 0, "`tolerance` is 0 or more", value, "use 0 to decide exactly")
    return tolerance
