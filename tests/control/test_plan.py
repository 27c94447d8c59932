"""Remedies and plans: what each does, step by step, and that undoing puts everything back, bit for bit."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rescue_cases import Calls, data, everything, network, same, trained
from torch import nn
from torch.nn import functional as fn

from cloudchamber._core.errors import InvalidInput
from cloudchamber.anatomy import default_forward
from cloudchamber.control import Plan
from cloudchamber.control.candidates import Candidates, with_momentum, with_phase_norm, with_rate, without_decay
from cloudchamber.control.remedy import PutPhaseNorm, Redraw, Setting
from cloudchamber.control.rescale import GOAL, rescaled, scale, spread
from cloudchamber.control.samples import Samples
from cloudchamber.interventions import NormedLayer, PhaseNorm
from cloudchamber.models import MLP
from cloudchamber.monitor.probe import Probe


def samples_of(model):
    x, y = data()
    x = x.to(next(model.parameters()).dtype)
    return Samples.of(model, Probe.of((x, y), torch.device("cpu")), fn.cross_entropy, default_forward, None)


def with_biases(seed=0, width=9):
    torch.manual_seed(seed)
    return MLP(6, 3, depth=4, width=width).double()


def halves(model):
    parameters = list(model.parameters())
    return [{"params": parameters[:3], "lr": 0.2, "weight_decay": 0.1}, {"params": parameters[3:]}]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.floats(1.01, 4))
def test_scaling_a_chain_multiplies_outputs_and_keeps_every_neurons_direction(seed, factor):
    model, x = with_biases(seed), data()[0].double()
    names = [f"linear{number}" for number in range(1, 5)]
    before = copy.deepcopy(model)
    scale(model, factor, names)
    torch.testing.assert_close(model(x), factor**4 * before(x), rtol=1e-9, atol=1e-12)
    for depth, name in enumerate(names, 1):
        new, old = model.get_submodule(name), before.get_submodule(name)
        torch.testing.assert_close(new.weight, factor * old.weight)
        torch.testing.assert_close(new.bias, factor**depth * old.bias)


@pytest.mark.parametrize("make", [with_biases, lambda: Calls(with_biases())], ids=["chain", "by hand"])
def test_rescaling_brings_outputs_apart_and_keeps_the_mean_output(make):
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.3)
    samples = samples_of(model)
    before = samples.outputs(model)
    remedy = rescaled(model, samples)
    assert same(samples.outputs(model), before)
    remedy.apply(model, torch.optim.SGD(model.parameters(), lr=0.1))
    after = samples.outputs(model)
    assert math.isclose(spread(after), GOAL, rel_tol=0.01)
    torch.testing.assert_close(after.mean(0), before.mean(0), atol=1e-6, rtol=0)
    centred = [(f - f.mean(0)) / spread(f) for f in (before, after)]
    torch.testing.assert_close(*centred, rtol=1e-6, atol=1e-9)
    assert len(remedy.layers) == 4
    assert "each neuron keeps its direction" in remedy.words


def test_a_network_that_is_no_homogeneous_chain_is_scaled_without_its_biases():
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 3, bias=False))
    with torch.no_grad():
        model[4].weight.mul_(0.05)
    samples = samples_of(model)
    remedy = rescaled(model, samples)
    assert (remedy.layers, remedy.shift) == ((), None)
    bias = model[0].bias.clone()
    remedy.apply(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert torch.equal(model[0].bias, bias)
    assert spread(samples.outputs(model)) >= 0.99 * GOAL


def test_where_outputs_lie_apart_already_or_cannot_there_is_no_rescaling():
    apart = MLP(6, 3, depth=1, width=1)
    with torch.no_grad():
        apart.linear1.weight.mul_(10)
    assert rescaled(apart, samples_of(apart)) is None
    dead = network()
    with torch.no_grad():
        dead.linear2.bias -= 100
    assert rescaled(dead, samples_of(dead)) is None
    normed = nn.Sequential(nn.Linear(6, 3), nn.LayerNorm(3, elementwise_affine=False), nn.Linear(3, 3))
    with torch.no_grad():
        normed[2].weight.mul_(1e-4)
    assert rescaled(normed, samples_of(normed)) is None  # it would take a factor above the largest


def test_settings_are_those_of_every_group():
    model = network()
    optimizer = torch.optim.SGD(halves(model), lr=0.1)
    groups = optimizer.param_groups
    without_decay(groups).apply(model, optimizer)
    with_momentum(groups).apply(model, optimizer)
    with_rate(groups, 10.0).apply(model, optimizer)
    assert [(g["lr"], g["momentum"], g["weight_decay"]) for g in groups] == [(2.0, 0.9, 0.0), (1.0, 0.9, 0.0)]
    assert without_decay(groups) is None
    assert with_momentum(groups) is None
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    assert with_momentum(adam.param_groups) is None
    assert "Use a learning rate of 0.01 (it was 0.001)." in with_rate(adam.param_groups, 10.0).words


def test_phase_norm_is_not_put_beside_other_norms():
    assert with_phase_norm(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))) is None
    assert with_phase_norm(nn.Sequential(nn.Linear(3, 4))) is None
    assert with_phase_norm(network()).layers == ("linear1", "linear2", "linear3", "linear4")


def test_candidates_come_alone_first_then_together_and_new_weights_last():
    model = network(0.1, 7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    found = Candidates.of(model, optimizer, samples_of(model))
    for unmoved in (False, True):
        order = [" + ".join(remedy.name for remedy in remedies) for remedies in found.in_order(unmoved=unmoved)]
        assert order[:3] == ["", "no decay", "momentum"]
        assert order.index("rescale") < order.index("phase norm") < order.index("no decay + rescale")
        assert order[-3:] == ["redraw", "no decay + redraw", "smaller steps + redraw"]
        assert (order.index("larger steps") < order.index("rescale")) == unmoved


def steps():
    return [
        Setting("momentum", "momentum", (0.9,), "Use momentum 0.9."),
        PutPhaseNorm(("layers.0", "layers.2")),
        Redraw(),
    ]


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.01)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)


@pytest.mark.parametrize("make", [adam, sgd])
def test_each_step_is_undone_bit_for_bit_also_after_training_on(make):
    model = Calls(network())
    optimizer = make(model)
    trained(model, optimizer, 5)
    kinds = steps()[1:] if make is adam else steps()
    plan = Plan(model, optimizer, "rescue", "Because.", kinds, ())
    states = [everything(model, optimizer)]
    for number in range(1, len(kinds) + 1):
        part = Plan(model, optimizer, "rescue", "Because.", kinds[:number], ())
        part.apply()
        states.append(everything(model, optimizer))
        part.undo()
        assert same(everything(model, optimizer), states[0])
    plan.apply()
    assert isinstance(model.layers[0], NormedLayer)
    trained(model, optimizer, 5)
    plan.undo(1)
    assert same(everything(model, optimizer), states[-2])
    trained(model, optimizer, 5)
    plan.undo()
    assert same(everything(model, optimizer), states[0])
    with pytest.raises(InvalidInput, match="a plan undoes steps that are done, 0 here"):
        plan.undo()
    plan.apply()
    assert same(everything(model, optimizer), states[-1])
    with pytest.raises(InvalidInput, match="a plan is applied when it has steps left"):
        plan.apply()


class Fails:
    name, words = "fails", "Fail."

    def apply(self, model, optimizer):
        model.layers[0].weight.data.zero_()
        raise RuntimeError("no memory")


def test_a_step_that_fails_in_the_middle_leaves_everything_as_it_was():
    model = Calls(network())
    optimizer = sgd(model)
    trained(model, optimizer, 5)
    before = everything(model, optimizer)
    plan = Plan(model, optimizer, "rescue", "Because.", [*steps(), Fails()], ())
    with pytest.raises(RuntimeError, match="no memory"):
        plan.apply()
    assert plan.applied == 0
    assert same(everything(model, optimizer), before)
    assert not any(isinstance(module, PhaseNorm) for module in model.modules())
