"""Weights along directions and beside them: exactness, the paper's recursion step by step, edges."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from measure_cases import gaussian, laws, seeds, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import (
    common_directions,
    decompose,
    decompose_mean_changes,
    direction_strengths,
    weight_parts,
)

sizes = st.tuples(st.integers(1, 7), st.integers(1, 6))


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1.0, float(b.abs().max())))


def slow_recursion(changes, count):
    """Appendix F word by word: fit a direction, remove its components, fit the next to what is left."""
    rest, found = changes.clone(), []
    for _ in range(count):
        C = torch.linalg.svd(rest.transpose(0, 1).flatten(1), full_matrices=False).U[:, 0]
        along = torch.einsum("thd,h->td", rest, C) / (C @ C)
        rest = rest - torch.einsum("h,td->thd", C, along)
        found.append((C, along, torch.linalg.matrix_norm(torch.outer(C, along.mean(0)))))
    return found, rest


def steps(t, h, d, seed=0):
    """Changes whose directions differ in size, so that singular values lie apart."""
    size = 0.5 ** torch.arange(h, dtype=torch.float64)
    return gaussian(t * h, d, seed).view(t, h, d) * size[:, None]


@laws
@given(sizes, seeds, st.sampled_from([1e-3, 1.0, -50.0]))
def test_the_two_parts_make_up_the_weight_and_one_is_beside_the_direction(size, seed, length):
    weight, direction = gaussian(*size, seed), length * gaussian(1, size[0], seed + 1)[0]
    parts = decompose(weight, direction)
    close(torch.outer(parts.along, direction) + parts.beside, weight.T)
    close(parts.beside @ direction, torch.zeros(size[1], dtype=torch.float64))
    close(parts.along, weight.T @ direction / (direction @ direction))


@laws
@given(sizes, seeds, st.sampled_from([1e-3, 1.0, -50.0]))
def test_sizes_of_the_parts_are_those_of_the_decomposition(size, seed, length):
    weight, direction = gaussian(*size, seed), length * gaussian(1, size[0], seed + 1)[0]
    parts, sizes = decompose(weight, direction), weight_parts(weight, direction)
    close(sizes.along, parts.along.norm() * direction.norm())
    close(sizes.beside, parts.beside.norm())
    close(sizes.along**2 + sizes.beside**2, sizes.total**2)


def test_a_weight_along_its_direction_has_nothing_beside_it():
    direction = gaussian(1, 6)[0]
    sizes = weight_parts(torch.outer(direction, torch.tensor([3.0, 4.0], dtype=torch.float64)), direction)
    assert sizes.beside < 1e-14 * sizes.total
    assert weight_parts(torch.ones(3, 2), torch.zeros(3)).along.isnan()


@laws
@given(sizes, seeds)
def test_no_other_coefficients_leave_less(size, seed):
    weight, direction = gaussian(*size, seed), gaussian(1, size[0], seed + 1)[0]
    parts = decompose(weight, direction)
    rival = weight.T - torch.outer(parts.along + 0.1 * gaussian(1, size[1], seed + 2)[0], direction)
    assert parts.beside.norm() <= rival.norm() * (1 + 1e-12)


@laws
@given(st.integers(1, 4), st.integers(2, 6), st.integers(1, 5), seeds)
def test_mean_changes_are_decomposed_as_by_the_recursion_of_the_paper(t, h, d, seed):
    changes, count = steps(t, h, d, seed), min(h, t * d, 5)
    found, expected = decompose_mean_changes(changes, count), slow_recursion(changes, count)[0]
    for i, (C, along, strength) in enumerate(expected):
        assert abs(float(found.directions.vectors[i] @ C)) == pytest.approx(1, abs=1e-9)
        sign = float((found.directions.vectors[i] @ C).sign())
        close(found.along[:, i], sign * along, 1e-7)
        close(found.strengths[i], strength, 1e-7)


@laws
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), seeds)
def test_all_directions_make_up_the_changes(t, h, d, seed):
    changes = steps(t, h, d, seed)
    count = min(h, t * d)
    found = decompose_mean_changes(changes, count)
    close(torch.einsum("kh,tkd->thd", found.directions.vectors, found.along), changes, 1e-6)
    left = changes - torch.einsum("kh,tkd->thd", found.directions.vectors[:1], found.along[:, :1])
    close(torch.einsum("thd,h->td", left, found.directions.vectors[0]), torch.zeros(t, d, dtype=torch.float64))


@laws
@given(st.integers(1, 4), st.integers(2, 6), st.integers(1, 5), seeds)
def test_what_was_added_up_over_steps_gives_the_same(t, h, d, seed):
    changes = steps(t, h, d, seed)
    stacked = decompose_mean_changes(changes, 1)
    directions = common_directions(sum(change @ change.T for change in changes), 1)
    close(directions.vectors, stacked.directions.vectors, 1e-8)
    close(directions.strengths, stacked.directions.strengths)
    close(direction_strengths(sum(changes) / t, directions.vectors), stacked.strengths, 1e-8)


def test_the_direction_of_single_samples_can_be_taken_for_the_first():
    changes, first = steps(4, 6, 3), gaussian(1, 6, 1)[0]
    found = decompose_mean_changes(changes, 3, primary=first)
    unit = first / first.norm()
    close(found.directions.vectors[0], unit)
    close(found.along[:, 0], torch.einsum("thd,h->td", changes, unit))
    rest = changes - torch.einsum("h,td->thd", unit, found.along[:, 0])
    for i, (C, _, strength) in enumerate(slow_recursion(rest, 2)[0], start=1):
        assert abs(float(found.directions.vectors[i] @ C)) == pytest.approx(1, abs=1e-9)
        close(found.strengths[i], strength, 1e-8)


@laws
@given(st.integers(1, 5), st.integers(1, 5), seeds, st.sampled_from([0.1, -4.0]))
def test_strengths_do_not_depend_on_the_length_of_directions(h, d, seed, length):
    change, directions = gaussian(h, d, seed), gaussian(1, h, seed + 1)
    C = directions[0]
    close(direction_strengths(change, length * directions)[0], torch.outer(C, change.T @ C / (C @ C)).norm())


@pytest.mark.parametrize("scale", [1e-25, 1e20])
def test_any_scale_of_float32(scale):
    changes = steps(3, 4, 2).float()
    expected, found = decompose_mean_changes(changes, 2), decompose_mean_changes(changes * scale, 2)
    torch.testing.assert_close(found.strengths / scale, expected.strengths, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.directions.strengths / scale, expected.directions.strengths, rtol=1e-4, atol=0)
    assert found.strengths.dtype == found.along.dtype == torch.float32


def test_zero_and_unknown_values():
    assert decompose(torch.ones(2, 3), torch.zeros(2)).along.isnan().all()
    assert decompose(torch.ones(2, 3), torch.tensor([1.0, math.nan])).beside.isnan().all()
    assert torch.equal(decompose(torch.zeros(2, 3), torch.ones(2)).beside, torch.zeros(3, 2))
    assert decompose_mean_changes(torch.zeros(2, 3, 4), 2).strengths.isnan().all()
    assert decompose_mean_changes(torch.full((2, 3, 4), math.nan), 2).strengths.isnan().all()
    assert direction_strengths(torch.ones(2, 2), torch.zeros(1, 2)).isnan().all()


def test_precisions_and_gradients():
    weight = gaussian(3, 2).half().requires_grad_()
    parts = decompose(weight, torch.ones(3, dtype=torch.float64))
    assert parts.along.dtype == parts.beside.dtype == torch.float32
    assert not parts.beside.requires_grad


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "decompose",
            (torch.ones(2, 3), torch.ones(3)),
            "`direction` holds one floating-point number for each of the 2",
        ),
        ("decompose", (torch.ones(3), torch.ones(3)), "`weight` is a matrix"),
        ("decompose_mean_changes", (torch.ones(2, 3),), r"`changes` is a floating-point tensor of shape \(t, h, d\)"),
        ("decompose_mean_changes", (torch.ones(0, 2, 3),), "with at least one step"),
        ("decompose_mean_changes", (torch.ones(2, 3, 4), 5), "`count`"),
        ("direction_strengths", (torch.ones(2, 3), torch.ones(1, 3)), "one number per neuron; got 3 for 2 neurons"),
    ],
)
def test_bad_arguments_are_refused(name, arguments, message):
    with pytest.raises(InvalidInput, match=message):
        getattr(unchecked("decomposition"), name)(*arguments)
