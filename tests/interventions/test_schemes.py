"""Schemes for any model: variances by layer, learning rates, presets by the regimes' border, and what is refused."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import cloudchamber as cc
from cloudchamber._core.errors import InvalidInput
from cloudchamber.interventions import ParametrizationConfig, PowerStdConfig, PowerVarianceConfig
from cloudchamber.models import MLP, TextNet
from cloudchamber.theory import PARAMETRIZATIONS, parametrization


class Mixed(nn.Module):
    """A layer of many kinds."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(300, 40, padding_idx=0)
        self.lstm = nn.LSTM(40, 50, proj_size=30)
        self.attention = nn.MultiheadAttention(30, 3, kdim=40, vdim=40)
        self.fused = nn.MultiheadAttention(30, 3)
        self.norm = nn.LayerNorm(30)
        self.conv = nn.Conv1d(30, 60, 3, groups=2)
        self.up = nn.ConvTranspose2d(20, 60, 3)
        self.out = nn.Linear(60, 50)


def weights_by_layer(model):
    """The neurons of every layer as the anatomy sees them, without biases."""
    from cloudchamber.anatomy import choose_views

    views = [view for chosen in choose_views(model, None).values() for view in chosen.views]
    return {view.name: view.neurons()[:, : view.fan_in] for view in views}


@pytest.mark.parametrize("scheme", ["kaiming_normal", "lecun_normal", "power_std", "power_variance"])
def test_every_layer_of_any_model_has_the_deviation_that_was_told(scheme):
    model = Mixed()
    with torch.no_grad():
        model.norm.weight.fill_(7)
    told = cc.initialize(model, scheme, seed=3, **({"exponent": 0.4} if "power" in scheme else {}))
    drawn = weights_by_layer(model)
    assert list(drawn) == [layer.name for layer in told.layers]
    assert len(drawn) == 1 + 5 + 4 + 4 + 3
    for layer in told.layers:
        weights = drawn[layer.name][1:] if layer.name == "words" else drawn[layer.name]
        assert abs(weights.std() / layer.std - 1) < 5 / math.sqrt(2 * weights.numel()), layer
        factor = {"kaiming_normal": 2, "lecun_normal": 1, "power_std": layer.fan_in**0.2, "power_variance": 0}[scheme]
        expected = layer.fan_in**-0.2 if scheme == "power_variance" else math.sqrt(factor / layer.fan_in)
        assert math.isclose(layer.std, expected, rel_tol=1e-9)
    assert not model.words.weight[0].any()
    assert (model.norm.weight == 7).all()
    assert not any(value.any() for name, value in model.named_parameters() if "bias" in name and "norm" not in name)


def test_pytorch_default_lets_other_modules_draw_as_they_do():
    torch.manual_seed(5)
    model, state = Mixed(), torch.get_rng_state()
    cc.initialize(model, "pytorch_default", seed=1)
    other = Mixed()
    torch.set_rng_state(state)
    cc.initialize(other, "pytorch_default", seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
    assert model.lstm.weight_ih_l0.abs().max() <= 50**-0.5
    assert abs(model.words.weight[1:].std() - 1) < 0.05


def test_a_dry_run_changes_nothing_and_says_the_same():
    model = Mixed()
    before = copy.deepcopy(model.state_dict())
    dry = cc.initialize(model, "kaiming_normal", dry_run=True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert cc.initialize(model, "kaiming_normal") == dry
    assert "lstm.l0.input_gate" in str(dry)


@given(st.floats(0.1, 2), st.integers(2, 500))
@settings(deadline=None, max_examples=50)
def test_an_exponent_of_the_deviation_is_half_that_of_the_variance(gamma, fan_in):
    from cloudchamber.interventions.schemes import Fans

    fans = Fans(fan_in, 7, "between", 3, 9)
    by_std, by_variance = PowerStdConfig(exponent=gamma), PowerVarianceConfig(exponent=2 * gamma)
    assert math.isclose(by_std.deviation(fans), by_variance.deviation(fans), rel_tol=1e-12)
    assert PowerStdConfig(exponent=gamma, bias=True).bias_deviation(fans) == by_std.deviation(fans)


@given(st.integers(2, 12), st.sampled_from([64, 256, 1024]), st.floats(0.3, 1))
@settings(deadline=None, max_examples=30)
def test_presets_lie_their_strength_on_either_side_of_the_border_whatever_the_depth(depth, width, strength):
    with torch.device("meta"):
        model = MLP(10, 3, depth=depth, width=width)
    condensed, anti = (
        cc.initialize(model, name, dry_run=True, strength=strength) for name in ("condensed", "anti_condensed")
    )
    assert math.isclose(condensed.gamma, 0.5 + strength)
    assert math.isclose(anti.gamma, 0.5 - strength, abs_tol=1e-9)
    assert (condensed.regime, anti.regime) == ("condensed", "linear")


@pytest.mark.parametrize("name", [name for name in PARAMETRIZATIONS if not name.startswith("lazy")])
def test_a_parametrization_scales_deviations_and_rates_as_its_exponents_say(name):
    """Between two widths: u' = γu has c_γ + c_u/2 and 2c_γ + c_η, w has c_w/2 and c_η."""
    of, factor = parametrization(name), 4
    small, large = (
        cc.initialize(MLP(10, 3, depth=2, width=width), name, dry_run=True).layers for width in (64, 64 * factor)
    )
    powers = [(of.c_w / 2, of.c_eta_w), (of.c_gamma + of.c_u / 2, 2 * of.c_gamma + of.c_eta_u)]
    for one, other, (std, rate) in zip(small, large, powers, strict=True):
        assert math.isclose(other.std / one.std, factor ** float(std))
        assert math.isclose(other.rate / one.rate, factor ** float(rate))


def test_taking_the_output_scale_into_the_last_layer_is_the_same_network_under_gradient_descent():
    """f = γ u·(Wx) with rates η, against u' = γu with the rates of the scheme: equal outputs after every step."""
    torch.manual_seed(0)
    width, x, y = 16, torch.randn(8, 3, dtype=torch.float64), torch.randn(8, 1, dtype=torch.float64)
    model = MLP(3, 1, depth=2, width=width, act="tanh", bias=False).double()
    told = cc.initialize(model, "mean_field+")
    scale, rate = width ** float(parametrization("mean_field+").c_gamma), 0.1 * width
    w, u = model.linear1.weight.detach().clone(), model.linear2.weight.detach().clone() / scale
    optimizer = torch.optim.SGD(told.parameter_groups(model, 0.1), lr=0.1)
    for _ in range(5):
        w.requires_grad_()
        u.requires_grad_()
        f = scale * torch.tanh(x @ w.T) @ u.T
        torch.testing.assert_close(model(x), f, rtol=1e-10, atol=1e-12)
        gradients = torch.autograd.grad((f - y).square().mean(), [w, u])
        w, u = (value.detach() - rate * gradient for value, gradient in zip((w, u), gradients, strict=True))
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()


def test_lazy_training_starts_at_an_output_of_zero():
    model = MLP(4, 3, depth=3, width=8).double()
    told = cc.initialize(model, "lazy", scale=100.0)
    assert model(torch.randn(5, 4, dtype=torch.float64)).abs().max() < 1e-12
    assert math.isclose(told.layers[-1].gain, 100)
    for bad, why in [(MLP(4, 3, depth=2, width=7), "an even number"), (MLP(4, 3, depth=1, width=1), "pairs")]:
        before = copy.deepcopy(bad.state_dict())
        with pytest.raises(InvalidInput, match=why):
            cc.initialize(bad, "lazy")
        assert all(torch.equal(value, before[name]) for name, value in bad.state_dict().items())


def test_parameters_are_grouped_by_their_rates_and_none_is_forgotten():
    model = TextNet(50, 3, embedding=8, reader="lstm", depth=3, width=16)
    groups = cc.initialize(model, "ntk").parameter_groups(model, 0.5)
    held = [parameter for group in groups for parameter in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, model.parameters()))
    assert sorted(group["lr"] for group in groups) == [0.5 / 16, 0.5]
    with pytest.raises(InvalidInput, match="the model is the initialized one"):
        cc.initialize(model, "ntk").parameter_groups(nn.Linear(2, 2), 0.5)


@pytest.mark.parametrize(
    ("scheme", "given", "words"),
    [
        ("xavier", {"variance_scale": 2}, "fields of 'xavier'"),
        ("glorot", {}, "a scheme is one of xavier_normal, .*; got 'glorot'"),
        ("normal", {"std": -1.0}, "greater than or equal to 0"),
        (ParametrizationConfig(), {"scale": 2.0}, "a config holds its own settings"),
        ("parametrization", {"scaling": "ntk*"}, "a parametrization is one of"),
    ],
)
def test_what_is_no_scheme_is_refused(scheme, given, words):
    with pytest.raises(InvalidInput, match=words):
        cc.initialize(MLP(3, 2, depth=2, width=4), scheme, **given)


def test_a_model_without_known_layers_is_refused():
    with pytest.raises(InvalidInput, match="at least one layer among"):
        cc.initialize(nn.Sequential(nn.ReLU()), "xavier_normal")
