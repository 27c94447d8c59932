"""Relative distance: a twin by loops, laws, edges."""

import math

import pytest
import torch
from hypothesis import assume, given
from measure_cases import gaussian, laws, matrices, rotation, seeds, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import neuron_distance, relative_distance, weight_norm


def slow_relative_distance(weight, start):
    moved = sum((a - b) ** 2 for a, b in zip(weight.flatten().tolist(), start.flatten().tolist(), strict=True))
    return math.sqrt(moved) / math.sqrt(sum(b**2 for b in start.flatten().tolist()))


@laws
@given(matrices(min_rows=1), seeds)
def test_it_is_what_a_loop_gives(start, seed):
    assume(start.any())
    weight = start + gaussian(*start.shape, seed)
    assert math.isclose(relative_distance(weight, start), slow_relative_distance(weight, start), rel_tol=1e-10)


@laws
@given(matrices(min_rows=1), seeds)
def test_the_norm_of_the_start_may_be_known(start, seed):
    weight = start + gaussian(*start.shape, seed)
    known = relative_distance(weight, start, weight_norm(start))
    torch.testing.assert_close(known, relative_distance(weight, start), equal_nan=True)


def test_rows_are_taken_some_at_a_time():
    start = torch.ones(700, 1000)
    weight = start.clone()
    weight[699, 999] += 700**0.5
    assert math.isclose(relative_distance(weight, start), 1000**-0.5, rel_tol=1e-6)
    assert neuron_distance(weight, start).nonzero().flatten().tolist() == [699]


@laws
@given(matrices(min_rows=1), seeds)
def test_scale_and_axes_do_not_matter(start, seed):
    assume(start.any())
    weight, turn = start + gaussian(*start.shape, seed), rotation(start.shape[1], seed)
    turned = relative_distance(-5.0 * weight @ turn, -5.0 * start @ turn)
    assert math.isclose(turned, relative_distance(weight, start), rel_tol=1e-10)


@pytest.mark.parametrize("factor", [0.0, 1.0, 3.0])
def test_known_distances(factor):
    start = gaussian(5, 4)
    assert math.isclose(relative_distance(factor * start, start), abs(factor - 1), abs_tol=1e-12)


def test_a_start_at_zero():
    assert relative_distance(torch.ones(2, 2), torch.zeros(2, 2)) == math.inf
    assert relative_distance(torch.zeros(2, 2), torch.zeros(2, 2)).isnan()
    assert relative_distance(torch.zeros(0, 2), torch.zeros(0, 2)).isnan()


def test_unknown_values():
    start = torch.ones(2, 2)
    assert relative_distance(torch.full((2, 2), math.nan), start).isnan()
    assert relative_distance(start, torch.full((2, 2), math.nan)).isnan()
    assert relative_distance(torch.full((2, 2), math.inf), start) == math.inf


@pytest.mark.parametrize("scale", [1e-37, 1e-25, 1e25])
def test_any_scale_of_float32(scale):
    start, weight = gaussian(5, 4).float(), gaussian(5, 4, 1).float()
    expected = relative_distance(weight, start)
    assert math.isclose(relative_distance(weight * scale, start * scale), expected, rel_tol=1e-5)


def test_many_float32_weights_lose_no_digits():
    start, weight = gaussian(3000, 1000).float() + 1, gaussian(3000, 1000, 1).float()
    expected = relative_distance(weight.double(), start.double())
    assert math.isclose(relative_distance(weight, start), expected, rel_tol=1e-6)


def test_precisions():
    half = gaussian(3, 2).half()
    assert relative_distance(2 * half, half).dtype == torch.float32
    assert relative_distance(half.double(), half).dtype == torch.float64


def test_other_shapes_are_refused():
    with pytest.raises(InvalidInput, match=r"have the same shape; got \(2, 3\) and \(3, 2\)"):
        unchecked("drift").relative_distance(torch.ones(2, 3), torch.ones(3, 2))
    with pytest.raises(InvalidInput, match="`initial_weight` is a matrix"):
        unchecked("drift").relative_distance(torch.ones(2, 3), torch.ones(2))
