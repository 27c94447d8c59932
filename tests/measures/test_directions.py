"""Common directions: the SVD of all materialised changes side by side as twin, laws, edges."""

import math
from unittest.mock import patch

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from layer_cases import LAYERS
from measure_cases import gaussian, laws, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import common_directions, common_directions_of_rows, eigen, gradient_moment, gradient_rows

every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())


def side_by_side(gradients):
    """h × (d·n), as in Lemma 1."""
    return gradients.transpose(0, 1).flatten(1)


def slow_directions(gradients, count):
    left, values, _ = torch.linalg.svd(side_by_side(gradients), full_matrices=False)
    return left[:, :count].T, values[:count]


def same_lines(a, b, tolerance=1e-10):
    torch.testing.assert_close((a * b).sum(1).abs(), torch.ones(len(a), dtype=a.dtype), rtol=0, atol=tolerance)


def falling(h, ratio, seed=0):
    """A positive matrix whose eigenvalues fall by `ratio`, and its eigenvectors."""
    turn = rotation(h, seed)
    return turn @ torch.diag(ratio ** torch.arange(h, dtype=torch.float64)) @ turn.T, turn.T


@every_layer
def test_directions_are_the_singular_vectors_of_all_gradients_side_by_side(layer):
    count = min(2, layer.loss_gradients.shape[-1])
    vectors, values = slow_directions(layer.gradients, count)
    found = common_directions(gradient_moment(layer.inputs, layer.loss_gradients), count)
    same_lines(found.vectors, vectors)
    torch.testing.assert_close(found.strengths, values, rtol=1e-10, atol=0)
    torch.testing.assert_close(found.shares, values**2 / layer.gradients.square().sum(), rtol=1e-10, atol=0)


@every_layer
def test_rows_give_the_same_directions(layer):
    count = min(2, layer.loss_gradients.shape[-1])
    expected = common_directions(gradient_moment(layer.inputs, layer.loss_gradients), count)
    found = common_directions_of_rows(gradient_rows(layer.inputs, layer.loss_gradients), count)
    for part in ("vectors", "strengths", "shares"):
        torch.testing.assert_close(getattr(found, part), getattr(expected, part), rtol=1e-9, atol=1e-9)


@laws
@given(st.integers(1, 7), st.integers(1, 12), seeds)
def test_fewer_rows_than_neurons_leave_the_directions_beyond_them_unknown(n, h, seed):
    rows = gaussian(n, h, seed)
    by_rows, by_moment = (common_directions_of_rows(rows, h), common_directions(rows.T @ rows, h))
    known = min(n, h)
    for found in (by_rows, by_moment):
        assert found.vectors[known:].isnan().all()
        assert found.strengths[known:].isnan().all()
        vectors = found.vectors[:known]
        torch.testing.assert_close(vectors @ vectors.T, torch.eye(known, dtype=torch.float64), rtol=0, atol=1e-10)
        torch.testing.assert_close(found.shares.sum(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(by_rows.vectors[:known], by_moment.vectors[:known], rtol=0, atol=1e-5)


@laws
@given(st.integers(2, 8), seeds, seeds)
def test_no_other_direction_leaves_less(h, seed, other):
    gradients = gaussian(6 * h, 3, seed).view(6, h, 3)
    best = common_directions(torch.einsum("xid,xjd->ij", gradients, gradients)).vectors[0]

    def rest(direction):
        return (gradients - torch.einsum("i,j,xjd->xid", direction, direction, gradients)).square().sum()

    rival = torch.nn.functional.normalize(best + 0.3 * gaussian(1, h, other)[0], dim=0)
    assert rest(best) <= rest(rival) * (1 + 1e-12)


@laws
@given(st.integers(2, 9), seeds, seeds)
def test_scale_does_not_matter_and_axes_turn_the_directions(h, seed, other):
    moment, turn = falling(h, 0.5, seed)[0], rotation(h, other)
    found, scaled = common_directions(moment, 2), common_directions(9.0 * moment, 2)
    torch.testing.assert_close(scaled.vectors, found.vectors, rtol=0, atol=1e-10)
    torch.testing.assert_close(scaled.strengths, 3 * found.strengths, rtol=1e-10, atol=0)
    same_lines(common_directions(turn.T @ moment @ turn, 2).vectors, found.vectors @ turn)


@laws
@given(st.integers(2, 9), seeds)
def test_the_first_of_the_largest_entries_is_positive(h, seed):
    vectors = common_directions(falling(h, 0.7, seed)[0], h).vectors
    largest = vectors.gather(1, vectors.abs().argmax(1)[:, None])
    assert (largest > 0).all()


def test_signs_do_not_depend_on_rounding_where_entries_are_equal_but_for_it():
    for seed in range(20):
        noise = 1e-13 * gaussian(2, 2, seed)
        moment = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64) + noise + noise.T
        assert common_directions(moment).vectors[0, 0] > 0


@laws
@given(st.integers(3, 9), seeds, st.sampled_from([-2.0, 1.0]))
def test_a_given_first_direction_is_kept_and_the_others_fit_what_it_leaves(h, seed, length):
    moment, given_first = falling(h, 0.6, seed)[0], gaussian(1, h, seed + 1)[0]
    unit = given_first / given_first.norm()
    found = common_directions(moment, 3, primary=length * given_first)
    torch.testing.assert_close(found.vectors[0], math.copysign(1, length) * unit, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-10)
    apart = torch.eye(h, dtype=torch.float64) - torch.outer(unit, unit)
    same_lines(found.vectors[1:], common_directions(apart @ moment @ apart, 2).vectors)
    torch.testing.assert_close(found.strengths[0] ** 2, unit @ moment @ unit, rtol=1e-10, atol=0)


def test_a_given_first_direction_that_explains_nothing_is_kept_too():
    moment = torch.diag(torch.tensor([0.0, 4.0, 1.0]))
    found = common_directions(moment, 3, primary=torch.tensor([1.0, 0.0, 0.0]))
    assert found.strengths.tolist() == [0.0, 2.0, 1.0]
    assert torch.equal(found.vectors, torch.eye(3))


def test_given_the_leading_direction_the_others_are_as_without():
    moment = falling(6, 0.5)[0]
    expected = common_directions(moment, 4).vectors
    torch.testing.assert_close(common_directions(moment, 4, primary=expected[0]).vectors, expected)


@pytest.mark.parametrize(("ratio", "found"), [(0.02, True), (0.5, True), (0.99, False)])
@pytest.mark.parametrize("count", [1, 3])
def test_iteration_finds_what_stands_out_and_gives_up_on_the_rest(ratio, found, count):
    matrix, vectors = falling(150, ratio)
    assert (eigen._iterated(matrix, count) is not None) == found
    values, columns = eigen.top_eigenpairs(matrix, count)
    same_lines(columns.T, vectors[:count], 1e-12)
    torch.testing.assert_close(values, ratio ** torch.arange(count, dtype=torch.float64), rtol=1e-12, atol=0)


def test_iteration_that_did_not_converge_is_not_kept():
    matrix = falling(150, 0.5)[0]
    with patch.object(eigen, "_RESIDUAL", 1e-30):
        assert eigen._iterated(matrix, 1) is None


@pytest.mark.parametrize("rank", [1, 3])
def test_low_rank_in_float32(rank):
    rows = gaussian(rank, 200, dtype=torch.float32)
    found = common_directions(rows.T @ rows, rank)
    vectors = torch.linalg.svd(rows.double(), full_matrices=False).Vh
    assert found.vectors.dtype == torch.float32
    same_lines(found.vectors.double(), vectors, 1e-5)


def test_one_sample_has_one_direction():
    X, G = gaussian(1, 3), gaussian(1, 4, 1)
    found = common_directions(gradient_moment(X, G), 2)
    same_lines(found.vectors[:1], G / G.norm())
    assert found.shares[0] == pytest.approx(1, abs=1e-12)
    assert found.vectors[1].isnan().all()


@pytest.mark.parametrize("moment", [torch.zeros(3, 3), torch.full((3, 3), math.nan), torch.full((3, 3), math.inf)])
def test_without_gradients_or_with_unknown_ones_directions_are_unknown(moment):
    for found in (common_directions(moment, 2), common_directions_of_rows(moment, 2)):
        assert found.vectors.isnan().all()
        assert found.strengths.isnan().all()
        assert found.shares.isnan().all()


def test_no_rows_and_a_first_direction_of_zero():
    assert common_directions_of_rows(torch.zeros(0, 3), 2).vectors.isnan().all()
    assert common_directions(torch.eye(3), 2, primary=torch.zeros(3)).vectors.isnan().all()


def test_it_is_the_same_every_time_and_leaves_the_random_state_alone():
    moment, state = falling(100, 0.1)[0], torch.get_rng_state()
    first = common_directions(moment, 2).vectors
    assert torch.equal(common_directions(moment.clone(), 2).vectors, first)
    assert torch.equal(torch.get_rng_state(), state)


@laws
@given(st.integers(1, 6), st.integers(1, 6), seeds)
def test_order_of_rows_does_not_matter(n, h, seed):
    rows = gaussian(n, h, seed)
    found, other = common_directions_of_rows(rows), common_directions_of_rows(rows[shuffle(n, seed)])
    torch.testing.assert_close(other.strengths, found.strengths, rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.ones(2, 3),), {}, r"`moment` is square; got \(2, 3\)"),
        ((torch.eye(2), 0), {}, "`count` is from 1 to the number of neurons, 2; got 0"),
        ((torch.eye(2), 3), {}, "`count`"),
        ((torch.eye(2, dtype=torch.int64),), {}, "`moment` holds floating-point"),
        ((torch.eye(2),), {"primary": torch.ones(3)}, "`direction` holds one floating-point number for each of the 2"),
        ((torch.eye(2),), {"primary": torch.ones(2, dtype=torch.int64)}, "`direction`"),
    ],
)
def test_bad_arguments_are_refused(arguments, options, message):
    with pytest.raises(InvalidInput, match=message):
        unchecked("directions").common_directions(*arguments, **options)


def test_bad_rows_are_refused():
    with pytest.raises(InvalidInput, match="`rows` is a matrix"):
        unchecked("directions").common_directions_of_rows(torch.ones(2))
    with pytest.raises(InvalidInput, match="`count`"):
        common_directions_of_rows(torch.ones(2, 3), 4)
