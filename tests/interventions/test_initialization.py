"""The laws of the initializations: their variances, zero biases, seeds; and PyTorch's own, bit for bit."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cloudchamber._core.seeding import derive_seed
from cloudchamber.interventions import NormalConfig, PytorchDefaultConfig, XavierNormalConfig, initialize

LAYERS = {
    "linear": (lambda: nn.Linear(300, 200), 300, 200),
    "no bias": (lambda: nn.Linear(300, 200, bias=False), 300, 200),
    "conv": (lambda: nn.Conv2d(20, 30, (3, 5)), 20 * 15, 30 * 15),
    "grouped conv": (lambda: nn.Conv2d(40, 80, 3, groups=4), 10 * 9, 80 * 9),
}
layers = pytest.mark.parametrize(("make", "fan_in", "fan_out"), LAYERS.values(), ids=LAYERS)
ALL = [XavierNormalConfig(variance_scale=0.3), NormalConfig(std=0.02), PytorchDefaultConfig()]


def assert_centred_normal(values, variance):
    """Mean, variance and kurtosis within 5 standard errors of N(0, variance)."""
    n = values.numel()
    z = values.detach().double().flatten() / math.sqrt(variance)
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs(z.square().mean() - 1) < 5 * math.sqrt(2 / n)
    assert abs(z.pow(4).mean() - 3) < 5 * math.sqrt(96 / n)


@layers
@pytest.mark.parametrize("scale", [0.01, 1.0, 4.0])
def test_xavier_normal_scales_the_variance_and_leaves_no_bias(make, fan_in, fan_out, scale):
    layer = make()
    initialize(layer, XavierNormalConfig(variance_scale=scale), seed=1)
    assert_centred_normal(layer.weight, scale * 2 / (fan_in + fan_out))
    assert layer.bias is None or not layer.bias.any()


@layers
def test_normal_takes_a_standard_deviation_for_weights_and_biases(make, fan_in, fan_out):
    layer = make()
    initialize(layer, NormalConfig(std=0.05), seed=1)
    assert_centred_normal(layer.weight, 0.05**2)
    assert layer.bias is None or 0 < layer.bias.abs().max() < 0.05 * 5


def test_the_biases_of_the_normal_scheme_are_normal_too():
    layer = nn.Linear(1, 20_000)
    initialize(layer, NormalConfig(std=3.0), seed=0)
    assert_centred_normal(layer.bias, 9.0)


def test_a_deviation_of_zero_is_a_network_of_zeros():
    layer = nn.Linear(3, 4)
    initialize(layer, NormalConfig(std=0), seed=0)
    assert not layer.weight.any()
    assert not layer.bias.any()


@layers
def test_pytorch_default_is_what_pytorch_does_bit_for_bit(make, fan_in, fan_out):
    ours, theirs = make(), make()
    initialize(ours, PytorchDefaultConfig(), seed=7)
    torch.manual_seed(derive_seed(7, "initialization"))
    theirs.reset_parameters()
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name])
        assert value.abs().max() <= fan_in**-0.5
    assert ours.weight.abs().max() > 0.99 * fan_in**-0.5


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.name)
def test_the_seed_decides_and_the_callers_random_numbers_stay(config):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 5))
    state = torch.get_rng_state()
    drawn = []
    for seed in (0, 0, 1):
        initialize(model, config, seed=seed)
        drawn.append(copy.deepcopy(model.state_dict()))
    assert torch.equal(torch.get_rng_state(), state)
    for name in drawn[0]:
        assert torch.equal(drawn[0][name], drawn[1][name])
        assert (config.name == "xavier_normal" and "bias" in name) or not torch.equal(drawn[0][name], drawn[2][name])
    assert not torch.equal(drawn[0]["2.weight"][:5, :5], drawn[0]["3.weight"][:, :5])


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.name)
def test_what_is_no_layer_of_neurons_is_left_alone(config):
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.BatchNorm1d(6))
    with torch.no_grad():
        for parameter in model[1:].parameters():
            parameter.fill_(7)
    initialize(model, config, seed=0)
    assert all((parameter == 7).all() for parameter in model[1:].parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


@settings(deadline=None, max_examples=30)
@given(st.floats(1e-6, 1e6), st.integers(0, 2**62))
def test_the_scale_multiplies_and_changes_nothing_else(scale, seed):
    one, other = nn.Linear(5, 4).double(), nn.Linear(5, 4).double()
    initialize(one, XavierNormalConfig(variance_scale=1.0), seed=seed)
    initialize(other, XavierNormalConfig(variance_scale=scale), seed=seed)
    torch.testing.assert_close(other.weight, one.weight * math.sqrt(scale), rtol=1e-12, atol=0)
