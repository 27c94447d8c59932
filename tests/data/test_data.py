"""The data sets: formulas, ranges, counts, and the balance of the probe."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudchamber.data import Dataset, DigitsConfig, SinesConfig, load_data, load_digits, load_sines


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_digits_are_1797_images_of_64_pixels_from_0_to_1(digits):
    assert (digits.inputs.shape, digits.inputs.dtype) == ((1797, 64), torch.float32)
    assert (digits.inputs.min(), digits.inputs.max()) == (0, 1)
    assert torch.equal(digits.inputs * 16, (digits.inputs * 16).round())
    assert (len(digits), digits.sample_shape, digits.output_size) == (1797, (64,), 10)


def test_digits_have_the_class_counts_of_the_uci_test_set(digits):
    assert digits.targets.dtype == torch.int64
    assert torch.bincount(digits.targets).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_data_of_a_recipe(digits):
    assert torch.equal(load_data(DigitsConfig(), seed=3).inputs, digits.inputs)
    config = SinesConfig()
    assert torch.equal(load_data(config, seed=3).inputs, load_sines(config, seed=3).inputs)


def test_sines_are_those_of_the_formula():
    config = SinesConfig(samples=50, dimension=3, amplitude=2.0, frequency=1.5, phase=0.5, low=-1.0, high=4.0)
    data = load_sines(config, seed=0)
    for x, y in zip(data.inputs.tolist(), data.targets.tolist(), strict=True):
        assert y == [pytest.approx(sum(2.0 * math.sin(1.5 * coordinate + 0.5) for coordinate in x), abs=1e-5)]


def test_the_default_sines_are_those_of_the_paper():
    data = load_sines(SinesConfig(), seed=0)
    assert (data.inputs.shape, data.targets.shape) == ((80, 5), (80, 1))
    assert (data.sample_shape, data.output_size, data.classes) == ((5,), 1, 0)
    expected = 3.5 * torch.sin(5 * data.inputs + 1).sum(dim=1)
    torch.testing.assert_close(data.targets[:, 0], expected)


@settings(deadline=None, derandomize=True, database=None)
@given(st.floats(-100, 100), st.floats(0.01, 100), st.integers(0, 9))
def test_sines_fill_their_range(low, width, seed):
    data = load_sines(SinesConfig(samples=400, dimension=2, low=low, high=low + width), seed=seed)
    share = (data.inputs.double() - low) / width
    rounding = 2**-22 * max(abs(low), abs(low + width)) / width  # float32 at the far end of the range
    assert -rounding <= share.min() < 0.1
    assert 0.9 < share.max() <= 1 + rounding
    assert abs(share.mean() - 0.5) < 5 / math.sqrt(12 * 800) + rounding


def test_sines_are_the_same_for_the_same_seed_whatever_the_caller_has_set():
    state = torch.get_rng_state()
    first = load_sines(SinesConfig(), seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_default_dtype(torch.float64)
    second = load_sines(SinesConfig(), seed=1)
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.targets, second.targets)
    assert not torch.equal(first.inputs, load_sines(SinesConfig(), seed=2).inputs)


def test_an_empty_range_is_refused():
    with pytest.raises(ValidationError, match=r"low \(2.0\) must be below high \(2.0\)"):
        SinesConfig(low=2.0)


@pytest.mark.parametrize("samples", [2, 10, 11, 19, 100, 500, 1740, 1790, 1797, 5000])
def test_a_probe_has_equally_many_samples_of_each_class_in_their_order(digits, samples):
    inputs, targets = digits.probe(samples)
    counts = torch.bincount(targets, minlength=10)
    assert counts.unique().tolist() == [min(max(samples // 10, 1), 174)]
    assert torch.equal(targets, targets.sort(stable=True).values)
    assert torch.equal(inputs[:1], digits.inputs[digits.targets == 0][:1])
    assert len(inputs.unique(dim=0)) == len(inputs) or samples > 1000


def test_a_probe_of_values_is_the_first_samples():
    data = load_sines(SinesConfig(), seed=0)
    inputs, targets = data.probe(7)
    assert torch.equal(inputs, data.inputs[:7])
    assert torch.equal(targets, data.targets[:7])
    assert len(data.probe(500)[0]) == 80


def test_a_data_set_on_a_device_is_the_same_data():
    data = Dataset("pair", torch.ones(2, 3), torch.tensor([0, 1]), classes=2)
    there = data.to(torch.device("meta"))
    assert (there.inputs.device.type, there.targets.device.type, there.classes) == ("meta", "meta", 2)
    assert data.inputs.device.type == "cpu"
