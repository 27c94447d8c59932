"""Batch norm and centering norm beside torch's and a slow twin, on vectors, sequences and feature maps."""

import copy
import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from norm_cases import SHAPES, batch_of, by_batch_by_hand, laws, normalized_by_hand, per_neuron
from torch import nn

from cloudchamber._core.errors import InvalidInput
from cloudchamber.interventions import BatchNorm, CenteringNorm, PhaseNorm

shapes = pytest.mark.parametrize(("shape", "axis"), SHAPES.values(), ids=SHAPES)
KINDS = {"batch": BatchNorm, "centering": CenteringNorm, "phase": PhaseNorm}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
EXACT = {"rtol": 1e-10, "atol": 1e-10}


@shapes
@kinds
def test_in_training_each_neuron_gets_mean_0_and_variance_1_over_samples_and_positions(kind, shape, axis):
    norm, x = kind(4, axis).double(), batch_of(shape, 1, shift=3.0)
    torch.testing.assert_close(norm(x).detach(), by_batch_by_hand(x, axis, 1e-5), **EXACT)
    for values in per_neuron(kind(4, axis, eps=1e-15).double()(x), axis):
        assert abs(float(values.detach().mean())) < 1e-12
        assert float(values.detach().var(correction=0)) == pytest.approx(1, abs=1e-10)


@shapes
@kinds
def test_evaluation_uses_running_averages_and_changes_nothing(kind, shape, axis):
    norm, means, variances = kind(4, axis, momentum=0.3).double(), [0.0] * 4, [1.0] * 4
    for seed in range(5):
        x = batch_of(shape, seed, shift=2.0)
        norm(x)
        for number, values in enumerate(per_neuron(x, axis)):
            means[number] = 0.7 * means[number] + 0.3 * float(values.mean())
            variances[number] = 0.7 * variances[number] + 0.3 * float(values.var())
    before = copy.deepcopy(norm.eval().state_dict())
    x = batch_of(shape, 9)
    torch.testing.assert_close(norm(x).detach(), normalized_by_hand(x, axis, means, variances, 1e-5), **EXACT)
    torch.testing.assert_close(torch.cat([norm(row[None]) for row in x]), norm(x), **EXACT)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("theirs", "shape", "axis"),
    [(nn.BatchNorm1d, (4,), -1), (nn.BatchNorm1d, (4, 3), 1), (nn.BatchNorm2d, (4, 2, 3), 1)],
)
def test_batch_norm_is_torchs_bit_for_bit(theirs, shape, axis, affine):
    ours, theirs = BatchNorm(4, axis, affine=affine), theirs(4, affine=affine)
    x = batch_of(shape, 0).float()
    for _ in range(3):
        one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        ours(one).square().sum().backward()
        theirs(other).square().sum().backward()
        assert torch.equal(one.grad, other.grad)
    assert {name: value.tolist() for name, value in ours.state_dict().items()} == {
        name: value.tolist() for name, value in theirs.state_dict().items()
    }
    assert [p.grad.tolist() for p in ours.parameters()] == [p.grad.tolist() for p in theirs.parameters()]


def test_in_a_sequence_neurons_are_the_last_dimension():
    x = batch_of((7, 4), 0)
    transposed = nn.BatchNorm1d(4, affine=False).double()(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(CenteringNorm(4).double()(x), transposed, **EXACT)


@laws
@given(st.integers(0, 1000), st.lists(st.floats(0.01, 100), min_size=4, max_size=4), st.floats(-50, 50))
def test_scales_and_shifts_of_neurons_make_no_difference(seed, scales, shift):
    x, factors = batch_of((4,), seed), torch.tensor(scales, dtype=torch.float64)
    moved = CenteringNorm(4, eps=1e-300).double()(factors * x + shift)
    torch.testing.assert_close(moved, CenteringNorm(4, eps=1e-300).double()(x), rtol=1e-8, atol=1e-8)


def test_without_a_variance_a_neuron_is_zero():
    for kind in KINDS.values():
        assert kind(4)(torch.full((5, 4), 3.0)).detach().abs().max() < 1e-3  # rounding, times 1/√ε


def test_features_far_below_the_root_of_eps_are_centered_and_no_more():
    x = 1e-6 * batch_of((4,), 0)
    expected = (x - x.mean(0)) / math.sqrt(1e-5)
    torch.testing.assert_close(CenteringNorm(4).double()(x), expected, rtol=1e-6, atol=0)


@kinds
def test_data_that_are_not_finite_are_data(kind):
    x = batch_of((4,), 0).float()
    x[1, 2] = math.nan
    assert kind(4)(x).isnan().any(0).tolist() == [False, False, True, False]


@kinds
@pytest.mark.parametrize(
    ("shape", "axis", "rule"),
    [
        ((5, 3), -1, "a norm of 4 neurons counts them along dimension -1; got shape (5, 3)."),
        ((5, 4, 3), -1, "a norm of 4 neurons counts them along dimension -1; got shape (5, 4, 3)."),
        ((5, 3, 4), 1, "a norm of 4 neurons counts them along dimension 1; got shape (5, 3, 4)."),
        ((4,), -1, "a norm of 4 neurons counts them along dimension -1; got shape (4,)."),
        ((1, 4), -1, "a norm in training takes two values per neuron or more; got shape (1, 4)."),
        ((0, 4), -1, "a norm in training takes two values per neuron or more; got shape (0, 4)."),
    ],
)
def test_what_does_not_fit_is_said(kind, shape, axis, rule):
    with pytest.raises(InvalidInput, match=re.escape(rule)):
        kind(4, axis)(torch.zeros(shape))


@kinds
def test_one_sample_can_be_evaluated(kind):
    assert kind(4).eval()(torch.ones(1, 4)).shape == (1, 4)


@kinds
def test_its_settings_are_shown_and_its_state_is_that_of_tensors(kind):
    norm = kind(4, 1, momentum=0.25, eps=0.125)
    assert "axis=1" in repr(norm)
    assert "0.25" in repr(norm)
    assert "0.125" in repr(norm)
    norm(batch_of((4, 2), 0).float())
    other = kind(4, 1)
    other.load_state_dict(norm.state_dict())
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in norm.state_dict().items())
