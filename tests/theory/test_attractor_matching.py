"""Matching neurons to attractors: one neuron after the other, the sign of a, subspaces, unknown neurons."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from theory.field_cases import gaussian, laws, rotation, samples, seeds, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.theory import condensed_directions, match_attractors


def slow_match(w, a, found, growing):
    """The nearest allowed direction of one neuron, by arccos."""
    best = (math.nan, -1)
    for i, (u, kind, value) in enumerate(zip(found.directions, found.kinds, found.potentials, strict=True)):
        allowed = kind in ("both", "positive" if a > 0 else "negative") and (not growing or a * value > 0)
        degrees = math.degrees(math.acos(max(-1.0, min(1.0, float(w @ u / w.norm())))))
        if allowed and not degrees >= best[0]:
            best = (degrees, i)
    return best


@laws
@given(st.integers(1, 4), st.integers(1, 4), seeds, st.booleans())
def test_each_neuron_gets_the_nearest_direction_for_its_sign(order, d, seed, growing):
    found = condensed_directions(*samples(10, d, seed), order)
    weights, outputs = gaussian(9, d, seed=seed + 2), gaussian(9, seed=seed + 3)
    matches = match_attractors(weights, outputs, found, growing=growing)
    expected = [slow_match(w, float(a), found, growing) for w, a in zip(weights, outputs, strict=True)]
    assert matches.index.tolist() == [index for _, index in expected]
    angles = torch.tensor([degrees for degrees, _ in expected], dtype=torch.float64)
    assert torch.allclose(matches.degrees, angles, atol=1e-5, equal_nan=True)


@laws
@given(st.integers(1, 4), st.integers(2, 4), seeds)
def test_attractors_match_themselves_exactly_and_only_the_sign_of_a_and_the_direction_of_w_count(order, d, seed):
    found = condensed_directions(*samples(10, d, seed), order)
    for sign in (1, -1):
        rows = found.attracts(sign).nonzero()[:, 0]
        outputs = torch.full((len(rows),), sign * 0.1, dtype=torch.float64)
        matches = match_attractors(7.0 * found.directions[rows], outputs, found)
        assert matches.index.tolist() == rows.tolist()
        assert matches.degrees.amax() < 1e-6
        assert matches.share_within(1e-6) == 1
    if order % 2 and d == 2:
        weights = gaussian(20, d, seed=seed)
        one = match_attractors(weights, torch.ones(20, dtype=torch.float64), found)
        other = match_attractors(-3 * weights, torch.full((20,), -5.0, dtype=torch.float64), found)
        assert torch.allclose(one.degrees, other.degrees)


def test_small_angles_are_exact():
    found = condensed_directions(torch.eye(2), torch.tensor([-1.0, 0.0]), 1)
    weights = torch.tensor([[1.0, 1e-12], [1.0, 1e-9], [-1.0, 1e-9]], dtype=torch.float64)
    degrees = match_attractors(weights, torch.ones(3), found).degrees
    assert degrees[:2].tolist() == pytest.approx([math.degrees(1e-12), math.degrees(1e-9)], rel=1e-6)
    assert degrees[2] == pytest.approx(180)


def test_the_angle_to_a_subspace_is_that_to_the_closest_of_its_directions():
    turn = rotation(4)
    found = condensed_directions(turn, -torch.tensor([3.0, 3.0, 1.0, -2.0], dtype=torch.float64), 2)
    weights = torch.stack([turn[0] + turn[1], turn[0] - turn[1] + 2**0.5 * turn[2], turn[3]])
    matches = match_attractors(weights, torch.ones(3), found)
    assert matches.degrees.tolist() == pytest.approx([0, 45, 90], abs=1e-6)
    assert found.attracts(1)[matches.index].all()
    opposite = match_attractors(weights, -torch.ones(3), found)
    assert opposite.degrees[2] == pytest.approx(0, abs=1e-6)


def test_neurons_without_direction_or_sign_have_no_match_and_count_as_not_within():
    found = condensed_directions(torch.eye(2), torch.tensor([-1.0, 0.0]), 1)
    weights = torch.tensor([[1.0, 0.0], [0.0, 0.0], [math.nan, 1.0], [math.inf, 0.0], [1.0, 0.0], [1.0, 0.0]])
    outputs = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, math.nan])
    matches = match_attractors(weights, outputs, found)
    assert matches.index.tolist() == [0, -1, -1, -1, -1, -1]
    assert matches.degrees.isnan().tolist() == [False] + [True] * 5
    assert matches.share_within(5.0) == pytest.approx(1 / 6)
    assert matches.share_within(5.0, torch.tensor([True] + [False] * 5)) == 1
    assert math.isnan(matches.share_within(5.0, torch.zeros(6, dtype=torch.bool)))


def test_without_attractors_nothing_matches():
    found = condensed_directions(torch.eye(2), torch.zeros(2), 2)
    matches = match_attractors(gaussian(3, 2), torch.ones(3), found)
    assert matches.index.tolist() == [-1, -1, -1]
    assert match_attractors(gaussian(0, 2), torch.ones(0), found).degrees.shape == (0,)


@pytest.mark.parametrize(
    ("weights", "outputs", "message"),
    [
        (torch.ones(3, 3), torch.ones(3), r"`weights` is a floating-point tensor of shape \(m, 2\)"),
        (torch.ones(3), torch.ones(3), "`weights`"),
        (torch.ones(3, 2), torch.ones(2), r"`output_weights` is a floating-point tensor of shape \(3,\)"),
        (torch.ones(3, 2), torch.ones(3, dtype=torch.int64), "`output_weights`"),
    ],
)
def test_neurons_that_do_not_fit_are_refused(weights, outputs, message):
    found = condensed_directions(torch.eye(2), torch.tensor([-1.0, 0.0]), 1)
    with pytest.raises(InvalidInput, match=message):
        unchecked("attractor_matching").match_attractors(weights, outputs, found)
