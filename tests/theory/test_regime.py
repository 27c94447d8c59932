"""Regimes of two- and three-layer networks: boundaries, slopes, conversions, and gradient flows of real networks."""

import itertools
import math
from fractions import Fraction

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given, settings
from unchecked import refused

from cloudchamber._core.errors import InvalidInput
from cloudchamber.theory.coordinates import (
    THREE_LAYER_POINTS,
    TWO_LAYER_POINTS,
    three_layer_point,
    two_layer_point,
)
from cloudchamber.theory.layer_motion import critical_gamma, relative_changes
from cloudchamber.theory.regime import boundary_distance, regime, three_layer_regime

laws = settings(derandomize=True, max_examples=100, deadline=None, database=None)
coordinates = st.fractions(min_value=-3, max_value=3, max_denominator=20)
rates = st.lists(coordinates, min_size=1, max_size=5)
TENTHS = [Fraction(number, 10) for number in range(-40, 41)]


def slow_relative_changes(gamma, layer_rates):
    """The same by bisection for S, in floats."""
    depth = len(layer_rates)
    if gamma <= depth / 2:
        return [rate - max(layer_rates) + max(gamma, (depth - 1) / 2) - depth / 2 for rate in layer_rates]
    low, high = -100.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        below = sum(max(1.0, rate + middle) for rate in layer_rates) / 2 < gamma
        low, high = (middle, high) if below else (low, middle)
    return [(rate + low - 1) * (0.5 if rate + low > 1 else 1) for rate in layer_rates]


@laws
@given(st.fractions(min_value=-1, max_value=6, max_denominator=20), rates)
def test_relative_changes_are_what_a_bisection_finds(gamma, layer_rates):
    slow = slow_relative_changes(float(gamma), [float(rate) for rate in layer_rates])
    assert all(
        math.isclose(fast, other, abs_tol=1e-9)
        for fast, other in zip(relative_changes(gamma, layer_rates), slow, strict=True)
    )


@laws
@given(rates, st.integers(0, 4), st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(3, 7)]))
def test_the_critical_gamma_is_where_a_layer_changes_that_much(layer_rates, layer, level):
    assume(layer < len(layer_rates))
    gamma = critical_gamma(layer, layer_rates, level)
    assert relative_changes(gamma, layer_rates)[layer] == level
    assert relative_changes(gamma + Fraction(1, 100), layer_rates)[layer] > level


@laws
@given(st.fractions(min_value=-1, max_value=6, max_denominator=20), rates, coordinates)
def test_the_unit_of_time_does_not_matter(gamma, layer_rates, shift):
    assert relative_changes(gamma, layer_rates) == relative_changes(gamma, [rate + shift for rate in layer_rates])


@laws
@given(coordinates, coordinates)
def test_the_theorems_of_the_two_layer_diagram(gamma, gamma_prime):
    found = regime(gamma, gamma_prime)
    linear = gamma < 1 or gamma_prime > gamma - 1
    condensed = gamma > 1 and gamma_prime < gamma - 1
    assert found.name == ("linear" if linear else "condensed" if condensed else "critical")
    sign = {"linear": -1, "critical": 0, "condensed": 1}[found.name]
    for number in (found.margin, found.exponent, boundary_distance(float(gamma), float(gamma_prime))):
        assert (number > 0) - (number < 0) == sign


def test_the_published_slopes():
    """overview2025, Section 5: −0.506, 0.007, 0.372 at γ = ½, 1, 1.75 and γ' = 0."""
    for gamma, published in ((0.5, -0.506), (1, 0.007), (1.75, 0.372)):
        assert abs(regime(gamma, 0).exponent - published) < 0.02


@pytest.mark.parametrize(("name", "expected"), [("lecun", "linear"), ("he", "linear"), ("ntk", "linear")])
def test_named_linear_points(name, expected):
    assert regime(*TWO_LAYER_POINTS[name]).name == expected
    assert three_layer_regime(*THREE_LAYER_POINTS[name]).first.name == expected


@pytest.mark.parametrize("name", ["xavier", "mean_field"])
def test_named_critical_points(name):
    assert regime(*TWO_LAYER_POINTS[name]).name == "critical"


def test_named_three_layer_points():
    xavier = three_layer_regime(*THREE_LAYER_POINTS["xavier"], norm="spectral")
    assert [layer.name for layer in vars(xavier).values()] == ["critical"] * 3
    mean_field = three_layer_regime(*THREE_LAYER_POINTS["mean_field"])
    assert [layer.name for layer in vars(mean_field).values()] == ["condensed", "linear", "condensed"]


@laws
@given(coordinates, coordinates)
def test_the_distance_is_the_one_to_the_nearest_point_of_the_boundary(gamma, gamma_prime):
    x, y = float(gamma), float(gamma_prime)
    ray = torch.linspace(0, 20, 20_001, dtype=torch.float64)
    points = torch.cat([torch.stack([1 + 0 * ray, -ray], 1), torch.stack([1 + ray, ray], 1)])
    nearest = torch.linalg.vector_norm(points - torch.tensor([x, y], dtype=torch.float64), dim=1).min().item()
    assert abs(abs(boundary_distance(x, y)) - nearest) < 1e-3


def test_points_near_the_boundary_are_critical_on_request():
    assert regime(1.04, 0).name == "condensed"
    assert regime(1.04, 0, tolerance=0.05).name == "critical"
    assert regime(1.05, 0, tolerance=0.05).name == "critical"
    assert regime(1.051, 0, tolerance=0.05).name == "condensed"


def test_a_grid_in_floats_hits_the_boundary():
    names = [regime(0.1 * i, 0.1 * j).name for i in range(30) for j in range(-10, 20)]
    expected = [(i == 10 and j <= 0) or (i >= 10 and j == i - 10) for i in range(30) for j in range(-10, 20)]
    assert [name == "critical" for name in names] == expected


@laws
@given(coordinates, coordinates, coordinates)
def test_three_layers(gamma, first, second):
    """Without a second moving layer it is a two-layer network, and the spectral norm sees W² move no later than RD."""
    found = three_layer_regime(gamma, first, second)
    spectral = three_layer_regime(gamma, first, second, norm="spectral")
    assert (found.first, found.output) == (spectral.first, spectral.output)
    assert found.second.exponent == spectral.second.exponent - Fraction(1, 2)
    assert found.second.margin < spectral.second.margin
    for layer in (*vars(found).values(), *vars(spectral).values()):
        signs = [(number > 0) - (number < 0) for number in (layer.margin, layer.exponent)]
        assert signs[0] == signs[1] == {"linear": -1, "critical": 0, "condensed": 1}[layer.name]
    fastest = max(vars(spectral).values(), key=lambda layer: layer.exponent)
    assert (fastest.name == "linear") == (gamma < Fraction(3, 2))


@laws
@given(coordinates, coordinates, coordinates)
def test_three_layers_from_either_end(gamma, first, second):
    """Input and output layer enter in the same way."""
    there = three_layer_regime(gamma, first, second, norm="spectral")
    back = three_layer_regime(gamma, -second, -first, norm="spectral")
    assert (there.first, there.second, there.output) == (back.output, back.second, back.first)


@pytest.mark.parametrize(("gamma", "names"), [(1, ("linear", "linear")), (2, ("condensed", "linear"))])
def test_layers_of_one_network_lie_in_different_regimes(gamma, names):
    found = three_layer_regime(gamma, 0, 0)
    assert (found.first.name, found.second.name) == names
    assert three_layer_regime(3, 0, 0).second.name == "critical"


@given(st.integers(2, 10**6), *[st.floats(1e-6, 1e6)] * 4)
@settings(derandomize=True, database=None)
def test_coordinates_of_a_concrete_network(width, output_std, input_std, scale, size):
    point = two_layer_point(
        width=width, output_std=output_std, input_std=input_std, output_scale=scale, input_norm=size, target_scale=size
    )
    assert math.isclose(width ** -float(point.gamma), output_std * input_std / scale, rel_tol=1e-9)
    assert math.isclose(width ** -float(point.gamma_prime), output_std / input_std, rel_tol=1e-9)


@pytest.mark.parametrize("width", [100, 10_000])
def test_the_named_points_are_those_of_the_initializations(width):
    stds = {"lecun": (width**-0.5, 1.0, 1.0), "ntk": (1.0, 1.0, width**0.5), "mean_field": (1.0, 1.0, float(width))}
    stds["xavier"] = (width**-0.5, width**-0.5, 1.0)
    for name, (output_std, input_std, scale) in stds.items():
        point = two_layer_point(width=width, output_std=output_std, input_std=input_std, output_scale=scale)
        assert all(math.isclose(a, b, abs_tol=1e-12) for a, b in zip(point, TWO_LAYER_POINTS[name], strict=True))


def test_the_named_three_layer_points_are_those_of_the_initializations():
    root = 0.1
    stds = {"lecun": (root, root, 1.0, 1.0), "xavier": (root, root, root, 1.0)}
    stds |= {"ntk": (1.0, 1.0, 1.0, 100.0), "mean_field": (1.0, 1.0, 1.0, 10_000.0)}
    for name, (third, second, first, scale) in stds.items():
        point = three_layer_point(width=100, output_std=third, second_std=second, first_std=first, output_scale=scale)
        assert all(math.isclose(a, b, abs_tol=1e-12) for a, b in zip(point, THREE_LAYER_POINTS[name], strict=True))


@pytest.mark.parametrize("name", ["output_std", "input_std", "output_scale", "input_norm", "target_scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_bad_networks_are_refused(name, value):
    with pytest.raises(InvalidInput, match=f"`{name}` is positive and finite"):
        two_layer_point(**({"width": 10, "output_std": 1.0, "input_std": 1.0} | {name: value}))


def test_a_width_of_one_is_refused():
    with pytest.raises(InvalidInput, match="`width` is at least 2"):
        three_layer_point(width=1, output_std=1.0, second_std=1.0, first_std=1.0)
    with pytest.raises(InvalidInput, match="`second_std` is positive"):
        three_layer_point(width=2, output_std=1.0, second_std=-1.0, first_std=1.0)


def test_bad_coordinates_are_refused():
    for function in (regime, boundary_distance):
        with pytest.raises(InvalidInput, match="`gamma_prime` is a finite number"):
            function(1.0, math.nan)
    with pytest.raises(InvalidInput, match="`gamma` is a finite number"):
        three_layer_regime(math.inf, 0, 0)
    with pytest.raises(InvalidInput, match="`gamma_prime_2` is a finite number"):
        three_layer_regime(1, 0, math.nan)
    with pytest.raises(InvalidInput, match="`tolerance` is 0 or more"):
        regime(1, 0, tolerance=-0.1)
    with refused("`norm` is 'frobenius' or 'spectral'"):
        three_layer_regime(1, 0, 0, norm="nuclear")


def test_every_cell_of_a_grid_has_a_regime():
    cells = [three_layer_regime(gamma, 0, ratio) for gamma, ratio in itertools.product(TENTHS[::8], TENTHS[::8])]
    assert {cell.first.name for cell in cells} >= {"linear", "condensed"}
