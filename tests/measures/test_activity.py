"""Neurons that do nothing, angles of neurons, groups of channels, neural collapse: twins, laws, edges."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from measure_cases import gaussian, laws, matrices, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import (
    channel_groups,
    dead_fraction,
    kernel_groups,
    neuron_amplitude,
    neuron_distance,
    orientation_angle,
    orientation_groups,
    relative_distance,
    static_fraction,
    within_between_variability,
)


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype), rtol=tolerance, atol=tolerance, equal_nan=True)


@laws
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 6), seeds)
def test_dead_neurons_are_those_that_are_never_on(n, P, h, seed):
    features = torch.relu(gaussian(n * P, h, seed) - 1).view(n, P, h)
    dead = sum(all(features[x, p, j] == 0 for x in range(n) for p in range(P)) for j in range(h))
    close(dead_fraction(features), dead / h)
    close(dead_fraction(features.mT, neurons=1), dead / h)
    close(dead_fraction(features.flatten(0, 1)), dead / h)
    close(dead_fraction(-3 * features[shuffle(n, seed)]), dead / h)


def test_dead_neurons_at_the_edges():
    assert dead_fraction(torch.zeros(2, 3)) == 1
    assert dead_fraction(torch.full((2, 3), 1e-40)) == 0
    assert dead_fraction(torch.zeros(0, 3)).isnan()
    assert dead_fraction(torch.tensor([[0.0, math.nan]])).isnan()
    assert dead_fraction(torch.tensor([[0.0, math.inf]])) == 0.5
    assert dead_fraction(torch.zeros(1, 1, dtype=torch.float64)).dtype == torch.float64
    assert dead_fraction(torch.zeros(1, 1).half()).dtype == torch.float32


@laws
@given(matrices(min_rows=1), seeds)
def test_distances_of_neurons_are_those_of_their_rows(start, seed):
    weight = start + gaussian(*start.shape, seed)
    found = neuron_distance(weight, start)
    for row, (now, before) in zip(found, zip(weight, start, strict=True), strict=True):
        if before.any():
            assert math.isclose(row, relative_distance(now[None], before[None]), rel_tol=1e-10)
        else:
            assert row == math.inf
    close(
        neuron_distance(3 * weight @ rotation(start.shape[1], seed), 3 * start @ rotation(start.shape[1], seed)), found
    )


def test_distances_at_zero_and_of_unknown_weights():
    weight = torch.tensor([[0.0, 0.0], [1.0, 0.0], [math.nan, 0.0]])
    found = neuron_distance(weight, torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    assert found.tolist()[1] == math.inf
    assert found.isnan().tolist() == [True, False, True]


@laws
@given(matrices(min_rows=1), st.integers(0, 24), seeds)
def test_static_neurons_are_those_that_did_not_move(start, moving, seed):
    weight = start.clone()
    weight[:moving] += 1 + gaussian(*start.shape, seed).abs()[:moving]
    still = max(0, len(start) - moving) / len(start)
    close(static_fraction(weight, start), still)
    assert static_fraction(weight * (1 + 1e-9), start * (1 + 1e-9)) == still
    assert static_fraction(weight, start, tolerance=0.5) >= still


def test_static_neurons_at_the_edges():
    start = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert static_fraction(start * 1.01, start) == 0.5
    assert static_fraction(start * 1.01, start, tolerance=0.1) == 1
    assert static_fraction(torch.tensor([[1.0, math.nan], [0.0, 0.0]]), start).isnan()
    assert static_fraction(torch.zeros(0, 2), torch.zeros(0, 2)).isnan()
    with pytest.raises(InvalidInput, match="`tolerance` is a relative distance of 0 or more; got -1"):
        static_fraction(start, start, tolerance=-1)


@laws
@given(st.floats(-math.pi + 1e-9, math.pi), st.floats(1e-6, 1e6))
def test_angles_and_amplitudes_are_polar_coordinates(angle, amplitude):
    weight = amplitude * torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    close(orientation_angle(weight), [angle], 1e-9)
    close(neuron_amplitude(weight), [amplitude], 1e-9)


def test_angles_on_the_axes_and_of_neurons_without_a_direction():
    weight = torch.tensor([[1.0, -0.0], [-1.0, 0.0], [-1.0, -0.0], [0.0, -1.0], [-0.0, 0.0], [math.nan, 1.0]])
    angles = orientation_angle(weight.double())
    close(angles, [0, math.pi, math.pi, -math.pi / 2, math.nan, math.nan])
    assert orientation_angle(torch.tensor([[math.inf, 1.0]])).isnan().all()
    assert orientation_angle(1e-30 * weight).isnan().tolist() == [False] * 4 + [True] * 2
    assert orientation_angle(weight.half()).dtype == torch.float32


@laws
@given(seeds, st.booleans(), st.integers(1, 5))
def test_kernels_are_grouped_as_flat_rows(seed, signed, channels):
    kernels = gaussian(12, channels * 9, seed).view(12, channels, 3, 3)
    kernels[6:] = -2 * kernels[:6]
    found, expected = kernel_groups(kernels, signed=signed), orientation_groups(kernels.flatten(1), signed=signed)
    assert torch.equal(found.labels, expected.labels)
    assert kernel_groups(kernels, threshold=0.999).n_groups <= 6


@laws
@given(seeds, st.booleans())
def test_channels_are_grouped_by_what_they_give_out(seed, signed):
    outputs = gaussian(4 * 3, 5 * 2, seed).view(4, 3, 5, 2).repeat(1, 2, 1, 1)
    outputs[:, 3:] *= -2
    found = channel_groups(outputs, signed=signed, threshold=0.99)
    rows = torch.stack([outputs[:, c].flatten() for c in range(6)])
    assert torch.equal(found.labels, orientation_groups(rows, signed=signed, threshold=0.99).labels)
    assert found.n_groups == (6 if signed else 3)
    moved = channel_groups(outputs.flatten(2).mT, neurons=-1, signed=signed, threshold=0.99)
    assert torch.equal(moved.labels, found.labels)


@pytest.mark.parametrize("neurons", [0, 2, -2, -3])
def test_neurons_are_in_a_dimension_that_is_there(neurons):
    for module, name in (("activity", "dead_fraction"), ("channels", "channel_groups")):
        with pytest.raises(InvalidInput, match=f"has dimension {neurons} for its neurons"):
            getattr(unchecked(module), name)(torch.ones(2, 3), neurons=neurons)


def slow_variability(features, labels):
    """With the covariances of the definition, and their pseudo-inverse."""
    groups = [features[labels == name] for name in labels.unique()]
    means = torch.stack([group.mean(0) for group in groups])
    within = sum((group - mean).T @ (group - mean) / len(group) for group, mean in zip(groups, means, strict=True))
    centred = means - means.mean(0)
    between = centred.T @ centred / len(groups)
    return (within / len(groups) @ torch.linalg.pinv(between, rtol=1e-9)).trace() / len(groups)


@laws
@given(st.integers(2, 4), st.integers(1, 6), st.integers(1, 7), seeds)
def test_variability_is_that_of_its_definition(classes, per_class, d, seed):
    labels = torch.arange(classes).repeat_interleave(per_class)[1:] if per_class > 1 else torch.arange(classes)
    features = gaussian(len(labels), d, seed) + 3 * gaussian(classes, d, seed + 1)[labels]
    found = within_between_variability(features, labels)
    close(found, slow_variability(features, labels), 1e-7)
    order, turn = shuffle(len(labels), seed), rotation(d, seed)
    close(within_between_variability(-5 * (features[order] @ turn) + 2, 9 - labels[order]), found, 1e-7)
    assert found >= 0


def test_collapsed_features_have_no_variability():
    labels = torch.arange(20) % 4
    assert within_between_variability(gaussian(4, 9)[labels], labels) < 1e-25
    assert within_between_variability(gaussian(4, 2)[labels], labels) < 1e-25


def test_variability_that_is_undefined():
    features, labels = gaussian(6, 3), torch.tensor([0, 0, 0, 1, 1, 1])
    assert within_between_variability(features, 0 * labels).isnan()
    assert within_between_variability(torch.ones(6, 3), labels).isnan()
    assert within_between_variability(features[:0], labels[:0]).isnan()
    features[0, 0] = math.nan
    assert within_between_variability(features, labels).isnan()
    assert within_between_variability(features.half(), labels).dtype == torch.float32


@pytest.mark.parametrize(
    ("module", "name", "arguments", "message"),
    [
        ("angles", "orientation_angle", (torch.ones(3, 3),), r"`weight` has rows \(w, b\); got \(3, 3\)"),
        ("angles", "neuron_amplitude", (torch.ones(3),), "`weight` is a matrix"),
        ("drift", "neuron_distance", (torch.ones(2, 3), torch.ones(3, 2)), "have the same shape"),
        ("drift", "static_fraction", (torch.ones(2, 3), torch.ones(3, 2)), "have the same shape"),
        ("activity", "dead_fraction", (torch.ones(2, 3, dtype=torch.int64),), "`features` is a floating-point tensor"),
        ("collapse", "within_between_variability", (torch.ones(3), torch.arange(3)), "`features` is a matrix"),
        ("collapse", "within_between_variability", (torch.ones(3, 2), torch.arange(2)), "`labels`"),
    ],
)
def test_bad_arguments_are_refused(module, name, arguments, message):
    with pytest.raises(InvalidInput, match=message):
        getattr(unchecked(module), name)(*arguments)
