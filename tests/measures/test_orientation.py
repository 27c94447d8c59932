"""Orientation groups: a sequential twin, laws, known answers, edges."""

import math
from unittest.mock import patch

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from measure_cases import gaussian, generator, laws, matrices, on_lines, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import (
    cosine_matrix,
    effective_width,
    isotropic_groups,
    leaders,
    orientation_groups,
)

thresholds = st.sampled_from([0.3, 0.7, 0.9, 0.99])


def slow_groups(weight, threshold=0.9, signed=False, norm_cut=0.0):
    """One neuron after the other, strongest first, from the full matrix of cosines."""
    cosine = cosine_matrix(weight) if signed else cosine_matrix(weight).abs()
    cosine, norm = cosine.tolist(), weight.norm(dim=1).tolist()
    ranked = sorted(range(len(norm)), key=lambda i: -norm[i])
    left = [i for i in ranked if norm[i] > 0 and norm[i] >= norm_cut * norm[ranked[0]]]
    labels, found = [-1] * len(norm), []
    while left:
        members = [i for i in left if i == left[0] or cosine[left[0]][i] > threshold]
        for i in members:
            labels[i] = len(found)
        found.append(left[0])
        left = [i for i in left if labels[i] < 0]
    return labels, found


def in_small_blocks():
    return patch.multiple(leaders, _BLOCK=3, _CHUNK=4, _FEWEST_COLUMNS=1)


def together(labels):
    """Which pairs of neurons share a group."""
    return (labels[:, None] == labels) & (labels >= 0)


def assert_same(groups, expected):
    labels, found = expected
    assert groups.labels.tolist() == labels
    assert groups.leaders.tolist() == found
    assert groups.sizes.tolist() == [labels.count(name) for name in range(len(found))]
    assert groups.n_groups == len(found)


@laws
@given(matrices(), thresholds, st.booleans(), st.sampled_from([0.0, 0.01, 0.5]))
def test_groups_are_those_of_the_sequential_twin(weight, threshold, signed, norm_cut):
    options = {"threshold": threshold, "signed": signed, "norm_cut": norm_cut}
    assert_same(orientation_groups(weight, **options), slow_groups(weight, **options))


@laws
@given(matrices(max_rows=40), thresholds, st.booleans())
def test_blocks_do_not_change_the_groups(weight, threshold, signed):
    with in_small_blocks():
        groups = orientation_groups(weight, threshold=threshold, signed=signed)
    assert_same(groups, slow_groups(weight, threshold, signed))


@laws
@given(seeds, thresholds, st.booleans())
def test_the_first_look_at_some_columns_excludes_nobody_who_is_close(seed, threshold, signed):
    weight = on_lines(8, 5, 30, noise=0.6, seed=seed, signed=True)
    with in_small_blocks(), patch.object(leaders, "_MARGIN", -0.7 * (1 - threshold)):
        assert leaders._first_columns(weight, threshold) > 0
        groups = orientation_groups(weight, threshold=threshold, signed=signed)
    assert_same(groups, slow_groups(weight, threshold, signed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", [0.2, 0.5, 3.0])
def test_more_neurons_than_a_block_and_many_inputs(noise, dtype):
    weight = on_lines(20, 35, 260, noise, signed=True)[shuffle(700)].to(dtype)
    assert leaders._first_columns(weight / weight.norm(dim=1, keepdim=True), 0.9) > 0
    assert_same(orientation_groups(weight), slow_groups(weight))


@laws
@given(matrices(), thresholds, st.booleans())
def test_groups_partition_the_neurons_and_members_are_close_to_their_leader(weight, threshold, signed):
    groups = orientation_groups(weight, threshold=threshold, signed=signed)
    cosine = cosine_matrix(weight) if signed else cosine_matrix(weight).abs()
    taking_part = weight.any(1)
    assert torch.equal(groups.labels >= 0, taking_part)
    assert groups.sizes.sum() == taking_part.sum()
    assert torch.equal(groups.labels[groups.leaders], torch.arange(groups.n_groups))
    followed = groups.leaders[groups.labels[taking_part]]
    assert (cosine[taking_part.nonzero()[:, 0], followed] > threshold - 1e-12).all()
    between = cosine[groups.leaders][:, groups.leaders].fill_diagonal_(-1)
    assert (between <= threshold + 1e-12).all()


@laws
@given(matrices(), thresholds, st.booleans())
def test_leaders_are_the_strongest_of_their_group_and_come_by_falling_amplitude(weight, threshold, signed):
    groups = orientation_groups(weight, threshold=threshold, signed=signed)
    norm = weight.norm(dim=1)
    assert (norm[groups.leaders].diff() <= 1e-12 * norm.sum()).all()
    for name, leader in enumerate(groups.leaders.tolist()):
        assert norm[leader] >= norm[groups.labels == name].max() * (1 - 1e-12)


@laws
@given(matrices(), seeds, st.booleans())
def test_order_scale_and_axes_do_not_matter(weight, seed, signed):
    h, d = weight.shape
    order = shuffle(h, seed)
    before = orientation_groups(weight, signed=signed).labels
    after = orientation_groups(7.0 * weight[order] @ rotation(d, seed), signed=signed).labels
    assert torch.equal(together(after), together(before[order]))


@laws
@given(matrices(), seeds)
def test_lines_do_not_see_signs(weight, seed):
    signs = gaussian(len(weight), 1, seed).sign()
    assert torch.equal(orientation_groups(weight * signs).labels, orientation_groups(weight).labels)


@laws
@given(matrices())
def test_copies_and_zeros_add_no_groups(weight):
    more = torch.cat([weight, weight, 0 * weight])
    assert orientation_groups(more).n_groups == orientation_groups(weight).n_groups
    assert effective_width(more) == effective_width(weight)


@laws
@given(seeds, st.integers(1, 6))
def test_neurons_on_k_lines_form_k_groups_and_2k_directions(seed, k):
    weight = on_lines(k, 6, 12, noise=0.1, seed=seed, signed=True)[shuffle(6 * k, seed)]
    assert orientation_groups(weight).sizes.tolist() == [6] * k
    assert orientation_groups(weight, signed=True).sizes.tolist() == [3] * 2 * k
    assert effective_width(weight) == k
    assert effective_width(weight, signed=True) == 2 * k


def test_of_equally_strong_neurons_the_first_leads():
    weight = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
    assert orientation_groups(weight).leaders.tolist() == [0, 1]
    assert orientation_groups(weight, signed=True).leaders.tolist() == [0, 1, 2, 3]


def test_a_neuron_joins_the_strongest_leader_that_it_is_close_to_not_the_closest():
    degrees = torch.deg2rad(torch.tensor([0.0, 40.0, 22.0]))
    weight = torch.stack([degrees.cos(), degrees.sin()], 1) * torch.tensor([[3.0], [2.0], [1.0]])
    assert orientation_groups(weight).labels.tolist() == [0, 1, 0]


def test_groups_do_not_chain():
    degrees = torch.deg2rad(torch.arange(0.0, 180.0, 5.0))
    weight = torch.stack([degrees.cos(), degrees.sin()], 1)
    assert orientation_groups(weight).n_groups >= 4


def test_weak_neurons_can_be_cut():
    weight = torch.tensor([[10.0, 0.0], [0.0, 0.9], [0.0, 1.0], [math.inf, 0.0]])
    assert orientation_groups(weight, norm_cut=0.1).labels.tolist() == [0, -1, 1, -1]
    assert orientation_groups(weight, norm_cut=1.0).labels.tolist() == [0, -1, -1, -1]
    assert effective_width(weight[:3], norm_cut=0.2) == 1


def test_neurons_without_a_known_direction_are_left_out_and_the_width_is_nan():
    weight = torch.tensor([[1.0, 0.0], [math.nan, 1.0], [0.0, math.inf], [0.0, 0.0]])
    assert orientation_groups(weight).labels.tolist() == [0, -1, -1, -1]
    assert effective_width(weight).isnan()
    assert effective_width(weight[:2]).isnan()


@pytest.mark.parametrize("h", [0, 3])
def test_no_neuron_with_a_direction_gives_no_group(h):
    groups = orientation_groups(torch.zeros(h, 2))
    assert groups.labels.tolist() == [-1] * h
    assert groups.leaders.tolist() == []
    assert groups.sizes.tolist() == []
    assert groups.n_groups == 0
    assert effective_width(torch.zeros(h, 2)) == 0


def test_leaders_lead_themselves_although_rounding_may_leave_their_own_cosine_below_the_threshold():
    groups = orientation_groups(gaussian(50, 3, dtype=torch.float32), threshold=1 - 1e-9)
    assert groups.sizes.tolist() == [1] * 50
    assert torch.equal(groups.labels[groups.leaders], torch.arange(50))


@pytest.mark.parametrize("scale", [1e-37, 1e25])
def test_any_scale_of_float32(scale):
    weight = on_lines(3, 4, 6, 0.05).float()
    assert effective_width(weight * scale) == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precisions(dtype):
    weight = on_lines(3, 4, 6, 0.05).to(dtype)
    assert effective_width(weight) == 3
    assert effective_width(weight).dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_autocast_does_not_narrow_the_cosines():
    weight = on_lines(3, 300, 6, 0.6).float()
    expected = orientation_groups(weight).labels
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(orientation_groups(weight).labels, expected)


def test_gradients_and_inputs_are_left_alone():
    weight = gaussian(6, 3).requires_grad_()
    before = weight.detach().clone()
    assert not effective_width(weight).requires_grad
    assert torch.equal(weight, before)


def test_the_null_is_the_mean_over_its_draws_and_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    drawn = generator(3)
    counts = [orientation_groups(torch.randn(80, 4, generator=drawn)).n_groups for _ in range(5)]
    assert isotropic_groups(80, 4, draws=5, seed=3) == sum(counts) / 5
    assert torch.equal(torch.get_rng_state(), state)


def test_the_null_by_dimension():
    assert isotropic_groups(100, 1) == 1
    assert 4.5 <= isotropic_groups(100, 2, draws=20) <= 5.7
    assert 14 <= isotropic_groups(100, 3, draws=20) <= 18
    assert 25 <= isotropic_groups(100, 3, signed=True, draws=20) <= 31
    assert isotropic_groups(100, 3, threshold=0.5) < isotropic_groups(100, 3)
    assert isotropic_groups(100, 100) == 100
    assert isotropic_groups(0, 3) == 0


def test_the_null_does_not_depend_on_the_default_precision():
    expected = isotropic_groups.__wrapped__(60, 3)
    torch.set_default_dtype(torch.float64)
    assert isotropic_groups.__wrapped__(60, 3) == expected


@pytest.mark.parametrize(
    ("weight", "options", "message"),
    [
        (torch.ones(3), {}, "`weight` is a matrix with at least one column; got torch.float32 of shape"),
        (torch.ones(2, 2, dtype=torch.int32), {}, "`weight` holds floating-point numbers"),
        (torch.ones(2, 2), {"threshold": 1.0}, r"`threshold` is a cosine in \[0, 1\); got 1.0. Remedy: use 0.9"),
        (torch.ones(2, 2), {"threshold": -0.1}, "`threshold`"),
        (torch.ones(2, 2), {"threshold": math.nan}, "`threshold`"),
        (torch.ones(2, 2), {"norm_cut": -0.1}, r"`norm_cut` is a fraction in \[0, 1\]"),
        (torch.ones(2, 2), {"norm_cut": 1.1}, "`norm_cut`"),
    ],
)
def test_bad_arguments_are_refused(weight, options, message):
    module = unchecked("orientation")
    for function in (module.orientation_groups, module.effective_width):
        with pytest.raises(InvalidInput, match=message):
            function(weight, **options)


@pytest.mark.parametrize("arguments", [(-1, 2), (2, 0)])
def test_bad_sizes_are_refused(arguments):
    with pytest.raises(InvalidInput, match="h ≥ 0, d ≥ 1 and draws ≥ 1"):
        isotropic_groups(*arguments)
    with pytest.raises(InvalidInput, match="draws ≥ 1"):
        isotropic_groups(2, 2, draws=0)
