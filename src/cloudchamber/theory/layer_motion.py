"""How far each layer of a wide ReLU network moves, as a power of its width.

A network of L layers, hidden widths m, `f = κ · (product of layers with standard normal weights at the start)`,
κ = m^−γ, layer l trained at the rate ρ_l = m^{r_l}. For ReLU the quantity S = (‖θ_l‖² − ‖θ_l(0)‖²)/ρ_l is the same for
all layers, so that the part of layer l that carries the signal has the squared size `max(m, ρ_l S)`; the flow ends
when κ times the product of the sizes is of order 1. docs/three-layer-regime.md derives and checks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

_HALF = Fraction(1, 2)


def relative_changes(gamma: Fraction, rates: Sequence[Fraction]) -> list[Fraction]:
    """Return, for each layer, the exponent of the width in its relative change of the signal-carrying part.

    With S = m^s, `γ = ½ Σ_l max(1, r_l + s)`. A layer that moves (r_l + s ≥ 1) changes by `½ (r_l + s − 1)`, a layer
    that does not by `r_l + s − 1`. For γ ≤ L/2 no layer moves: `r_l − max r + max(γ, (L−1)/2) − L/2`.
    """
    depth = len(rates)
    if gamma <= Fraction(depth, 2):
        slowed = max(gamma, Fraction(depth - 1, 2)) - Fraction(depth, 2) - max(rates)
        return [rate + slowed for rate in rates]
    signal = _signal_exponent(gamma, rates)
    return [_change(rate + signal - 1) for rate in rates]


def critical_gamma(layer: int, rates: Sequence[Fraction], level: Fraction) -> Fraction:
    """Return the γ from L/2 on at which the relative change of a layer reaches the exponent `level`, 0 or more.

    It inverts `relative_changes`: at that point r_layer + s = 1 + 2 level.
    """
    signal = 1 + 2 * level - rates[layer]
    return _gamma_of(signal, rates)


def _gamma_of(signal: Fraction, rates: Sequence[Fraction]) -> Fraction:
    return _HALF * sum((max(Fraction(1), rate + signal) for rate in rates), start=Fraction(0))


def _signal_exponent(gamma: Fraction, rates: Sequence[Fraction]) -> Fraction:
    """Solve `γ = ½ Σ max(1, r + s)` for s.

    The sum is the largest of the lines `L − k + Σ_{l≤k} r_l + k s` in which the k fastest layers move.
    """
    depth, falling = len(rates), sorted(rates, reverse=True)
    return min((2 * gamma - (depth - k) - sum(falling[:k])) / k for k in range(1, depth + 1))


def _change(growth: Fraction) -> Fraction:
    return growth * _HALF if growth > 0 else growth
