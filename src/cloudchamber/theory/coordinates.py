"""Where a concrete network lies in the phase diagrams, and where the usual initializations tend to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

from cloudchamber._core.errors import require
from cloudchamber.theory.exact import Number

_HALF = Fraction(1, 2)


class TwoLayerPoint(NamedTuple):
    """A point of the two-layer diagram: `regime(*point)`."""

    gamma: Number
    gamma_prime: Number


class ThreeLayerPoint(NamedTuple):
    """A point of the three-layer diagram: `three_layer_regime(*point)`."""

    gamma: Number
    gamma_prime_1: Number
    gamma_prime_2: Number


TWO_LAYER_POINTS: Mapping[str, TwoLayerPoint] = MappingProxyType(
    {
        "lecun": TwoLayerPoint(_HALF, _HALF),
        "he": TwoLayerPoint(_HALF, _HALF),
        "xavier": TwoLayerPoint(1, 0),
        "ntk": TwoLayerPoint(_HALF, 0),
        "mean_field": TwoLayerPoint(1, 0),
    }
)
"""The limits of the usual initializations of a two-layer network (overview2025, Section 5, Figure 5)."""

THREE_LAYER_POINTS: Mapping[str, ThreeLayerPoint] = MappingProxyType(
    {
        "lecun": ThreeLayerPoint(1, _HALF, 0),
        "he": ThreeLayerPoint(1, _HALF, 0),
        "xavier": ThreeLayerPoint(Fraction(3, 2), 0, 0),
        "ntk": ThreeLayerPoint(1, 0, 0),
        "mean_field": ThreeLayerPoint(2, 0, 0),
    }
)
"""The same for three layers; "ntk" divides by √m and "mean_field" by m after each hidden layer."""


def two_layer_point(
    *,
    width: int,
    output_std: float,
    input_std: float,
    output_scale: float = 1.0,
    input_norm: float = 1.0,
    target_scale: float = 1.0,
) -> TwoLayerPoint:
    """Return where a network of one given width lies in the two-layer diagram.

    `γ = −log κ/log m` and `γ' = −log κ'/log m` with `κ = β₁β₂‖x‖/(α|y|)` and `κ' = β₁/β₂`. The coordinates are limits;
    at one width a constant factor c in κ shifts γ by −log c/log m, so read the point as that of its whole family of
    networks only where the factors are near 1. Inputs of another length and targets of another size than 1 are such
    factors, and the two last arguments take them out.

    Args:
        width: m, the number of hidden neurons.
        output_std: β₁, the standard deviation of the output weights a.
        input_std: β₂, the standard deviation of the input weights w.
        output_scale: α, by which the output is divided.
        input_norm: typical length of an input, the entry 1 for the bias included.
        target_scale: typical size of a target.

    Returns:
        (γ, γ').

    Raises:
        InvalidInput: if `width` is below 2, or another number is not positive and finite.

    Source: overview2025, Section 5, Eq. (6).

    >>> two_layer_point(width=100, output_std=0.1, input_std=1.0)
    TwoLayerPoint(gamma=0.5, gamma_prime=0.5)
    """
    _require_positive(
        output_std=output_std,
        input_std=input_std,
        output_scale=output_scale,
        input_norm=input_norm,
        target_scale=target_scale,
    )
    power = _power_of(width)
    gamma = power(output_std) + power(input_std) + power(input_norm) - power(output_scale) - power(target_scale)
    return TwoLayerPoint(gamma, power(output_std) - power(input_std))


def three_layer_point(
    *,
    width: int,
    output_std: float,
    second_std: float,
    first_std: float,
    output_scale: float = 1.0,
    input_norm: float = 1.0,
    target_scale: float = 1.0,
) -> ThreeLayerPoint:
    """Return where a network of one given width lies in the three-layer diagram.

    `γ = −log κ/log m` with `κ = β₁β₂β₃‖x‖/(α|y|)`, `γ'₁ = −log(β₂/β₁)/log m`, `γ'₂ = −log(β₃/β₂)/log m`. What
    `two_layer_point` says about one width holds here as well.

    Args:
        width: m, the number of neurons of both hidden layers.
        output_std: β₃, the standard deviation of the output weights.
        second_std: β₂, the standard deviation of the second layer's weights.
        first_std: β₁, the standard deviation of the first layer's weights.
        output_scale: α, by which the output is divided.
        input_norm: typical length of an input, the entry 1 for the bias included.
        target_scale: typical size of a target.

    Returns:
        (γ, γ'₁, γ'₂).

    Raises:
        InvalidInput: if `width` is below 2, or another number is not positive and finite.

    Source: docs/three-layer-regime.md.

    >>> three_layer_point(width=100, output_std=0.1, second_std=0.1, first_std=0.1).gamma
    1.5
    """
    _require_positive(
        output_std=output_std,
        second_std=second_std,
        first_std=first_std,
        output_scale=output_scale,
        input_norm=input_norm,
        target_scale=target_scale,
    )
    power = _power_of(width)
    stds = power(output_std) + power(second_std) + power(first_std)
    gamma = stds + power(input_norm) - power(output_scale) - power(target_scale)
    return ThreeLayerPoint(gamma, power(second_std) - power(first_std), power(output_std) - power(second_std))


def _power_of(width: int) -> Callable[[float], float]:
    """Return the function that gives of a number c the exponent −log c / log m."""
    require(width >= 2, "`width` is at least 2", width, "pass the number of hidden neurons")
    return lambda number: math.log(1 / number) / math.log(width)


def _require_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        require(0 < number < math.inf, f"`{name}` is positive and finite", number, "pass a standard deviation or size")
