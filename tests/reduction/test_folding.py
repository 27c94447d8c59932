"""The outgoing weights, the groups and the bounds beside slow, obvious ones."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from reduction.merging_cases import two_layers
from torch import nn

import cloudchamber as cc
from cloudchamber.anatomy.channels.part import Axis
from cloudchamber.anatomy.channels.reshaping import permuted, reshaped
from cloudchamber.reduction.folding import change_of, closed_sum, least_squares, left
from cloudchamber.reduction.grouping import Distances, Groups, Reading
from cloudchamber.reduction.moments import Moments
from cloudchamber.theory import effective_narrow_network

laws = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moments_of(features):
    rows = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], 1)
    return Moments(rows.T @ rows / len(rows), len(rows))


def reading_of(features, affine=False):
    return Reading(moments_of(features), moments_of(features), torch.ones(features.shape[1]).double(), affine)


def some_groups(h, g, seed):
    kept = torch.arange(g)
    labels = torch.cat([kept, torch.randint(0, g, (h - g,), generator=torch.Generator().manual_seed(seed))])
    return Groups(labels, kept)


@laws
@given(h=st.integers(2, 8), seed=seeds, affine=st.booleans())
def test_least_squares_are_those_of_lapack(h, seed, affine):
    features, groups = drawn(seed, 60, h) + 0.5, some_groups(h, max(h // 2, 1), seed)
    fold = least_squares(reading_of(features, affine), groups)
    kept = features[:, groups.kept]
    columns = torch.cat([kept, torch.ones(60, 1, dtype=torch.float64)], 1) if affine else kept
    slow = torch.linalg.lstsq(columns, features).solution.T
    assert torch.allclose(fold.matrix, slow[:, : len(groups.kept)], atol=1e-6)
    assert not affine or torch.allclose(fold.shift, slow[:, -1], atol=1e-6)


@laws
@given(h=st.integers(2, 8), seed=seeds, affine=st.booleans())
def test_what_is_left_is_what_is_left(h, seed, affine):
    features, groups = drawn(seed, 40, h) + 0.5, some_groups(h, max(h // 2, 1), seed)
    for fold in (closed_sum(reading_of(features, affine), groups), least_squares(reading_of(features, affine), groups)):
        rest = features - features[:, groups.kept] @ fold.matrix.T - fold.shift
        a = drawn(seed + 1, h, 3)
        slow = (rest @ a).square().sum(1).mean()
        assert change_of(moments_of(features), groups, fold, a) == pytest.approx(float(slow), abs=1e-10)
        assert torch.allclose(left(moments_of(features), groups, fold), rest.square().mean(0).sqrt(), atol=1e-6)


@laws
@given(seed=seeds)
def test_the_closed_sum_is_the_papers_for_relu(seed):
    rows = drawn(seed, 3, 4).repeat_interleave(3, 0) * drawn(seed + 1, 9, 1).abs().add(0.1)
    a = drawn(seed + 2, 2, 9)
    narrow = effective_narrow_network(rows, a, symmetry="homogeneous", threshold=1 - 1e-9)
    features = torch.relu(drawn(seed + 3, 200, 4) @ rows.T)
    fold = closed_sum(reading_of(features), Groups(narrow.labels, narrow.leaders))
    assert torch.allclose(a @ fold.matrix, narrow.w_out, atol=1e-10)


@laws
@given(h=st.integers(2, 9), seed=seeds, affine=st.booleans(), level=st.sampled_from([0.1, 0.3, 0.43]))
def test_groups_are_led_and_close(h, seed, affine, level):
    features = drawn(seed, 50, 3) @ drawn(seed + 1, 3, h) + 0.2 * drawn(seed + 2, 50, h) + drawn(seed + 3, h)
    reading = reading_of(features, affine)
    distances = Distances.of({"next": reading}, torch.ones(h, h, dtype=torch.bool))
    groups = distances.groups(level)
    for leader in range(h):
        for member in range(h):
            about = features - features.mean(0) if affine else features
            factor = (about[:, leader] @ about[:, member]) / about[:, leader].square().sum()
            rest = (about[:, member] - factor * about[:, leader]).norm() / features[:, member].norm()
            assert distances.pairs[leader, member] == pytest.approx(float(rest), abs=1e-6)
    for channel, label in enumerate(groups.labels.tolist()):
        if label >= 0 and channel not in groups.kept:
            assert distances.pairs[groups.kept[label], channel] <= level
    apart = distances.pairs[groups.kept][:, groups.kept]
    assert all(max(apart[i, j], apart[j, i]) > level for i in range(len(apart)) for j in range(i))


@laws
@given(
    seed=seeds,
    activation=st.sampled_from(["relu", "tanh", "gelu", "softplus"]),
    noise=st.sampled_from([0.0, 1e-3, 0.05]),
)
def test_the_bounds_hold(seed, activation, noise):
    act = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "gelu": nn.GELU(), "softplus": nn.Softplus()}[activation]
    rows = drawn(seed, 3, 4).repeat_interleave(3, 0)
    w, bias = rows + noise * drawn(seed + 1, 9, 4), noise * drawn(seed + 2, 9)
    model, x = two_layers(w, drawn(seed + 3, 2, 9), act, bias), drawn(seed + 4, 60, 4)
    small, summary = cc.merge_neurons(model, x, tolerance=0.1)
    for layer in summary.plan.layers:
        assert layer.changed <= layer.bound + 1e-6
        radius = torch.cat([x, torch.ones(60, 1)], 1).norm(dim=1).max()
        far = drawn(seed + 5, 500, 4)
        far *= ((radius**2 - 1).sqrt() / far.norm(dim=1).clamp(min=(radius**2 - 1).sqrt()))[:, None]
        change = (small(far) - model(far)).norm(dim=1).max()
        bound = layer.bound_for_every_input
        assert bound != bound or change <= bound + 1e-9


@laws
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3), channels=st.integers(2, 4), data=st.data())
def test_channels_are_found_after_a_reshape_and_a_permutation(sizes, channels, data):
    place = data.draw(st.integers(0, len(sizes)))
    shape = [*sizes[:place], channels, *sizes[place:]]
    marks = torch.arange(channels).view(-1, *[1] * (len(shape) - place - 1)).expand(shape).contiguous()
    first = data.draw(st.integers(0, len(shape) - 1))
    last = data.draw(st.integers(first, len(shape) - 1))
    flat = marks.flatten(first, last)
    axis = reshaped(Axis(place), shape, flat.shape)
    assert axis is not None
    assert (axis.split(flat) == torch.arange(channels)).all()
    order = data.draw(st.permutations(range(flat.ndim)))
    moved = permuted(axis, order)
    assert (moved.split(flat.permute(order)) == torch.arange(channels)).all()
    assert torch.equal(moved.join(moved.split(flat.permute(order))), flat.permute(order))
