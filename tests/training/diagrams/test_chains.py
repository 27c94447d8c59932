"""Deep ReLU networks in closed form, against the same networks as modules."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from training.flow_cases import data, gaussian
from unchecked import refused

from cloudchamber import InvalidInput
from cloudchamber.training.diagrams.chains import ChainField, ChainNets, chain_flow
from cloudchamber.training.flow.explicit import DormandPrince
from cloudchamber.training.flow.exponential import Exponential
from cloudchamber.training.flow.gradient_flow import gradient_flow
from cloudchamber.training.flow.module import ModuleField
from cloudchamber.training.flow.stops import LossRatio, Steps, Time

float64 = torch.float64
SIZES = [(2, 6, 1), (2, 6, 5, 1), (3, 4, 6, 5, 1)]


class Chain(nn.Module):
    """The slow, obvious twin."""

    def __init__(self, weights, scale):
        super().__init__()
        self.layers = nn.ParameterDict({f"W{place + 1}": nn.Parameter(w.clone()) for place, w in enumerate(weights)})
        self.register_buffer("scale", scale.clone())

    def forward(self, x):
        *hidden, last = self.layers.values()
        for weight in hidden:
            x = torch.relu(x @ weight.T)
        return self.scale * (x @ last.T)


def stack(sizes, members=3):
    weights = tuple(
        gaussian(members, after, before, seed=place) for place, (before, after) in enumerate(pairwise(sizes))
    )
    return ChainNets(weights, torch.tensor([0.3, 0.5, 1.0], dtype=float64)[:members])


def modules(nets):
    return [Chain([weight[k] for weight in nets.weights], nets.scale[k]) for k in range(len(nets.scale))]


def fields(sizes, loss="half_mse"):
    nets, (x, y) = stack(sizes), data(d=sizes[0])
    rates = {"W1": torch.tensor([2.0, 1.0, 0.5], dtype=float64), "W2": 0.7}
    by_name = {f"layers.{name}": rate for name, rate in rates.items()}
    slow = ModuleField(modules(nets), (x, y), loss, by_name, float64)
    return ChainField(nets, (x, y[:, 0]), loss, rates, float64), slow


@pytest.mark.parametrize("loss", ["mse", "half_mse"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_the_field_is_that_of_the_modules(sizes, loss):
    fast, slow = fields(sizes, loss)
    members = torch.tensor([2, 0])
    theta = slow.start[members] + 0.1
    here, there = fast.linearize(theta, members), slow.linearize(theta, members)
    assert torch.equal(fast.start, slow.start)
    for one, other in ((here, there), (fast.evaluate(theta, members), slow.evaluate(theta, members))):
        torch.testing.assert_close(one.loss, other.loss, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(one.velocity, other.velocity, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(here.linear.kernel, there.linear.kernel, rtol=1e-10, atol=1e-12)
    values, moved = gaussian(2, 7, seed=8), gaussian(*theta.shape, seed=9)
    torch.testing.assert_close(here.linear.pull(values), there.linear.pull(values), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(here.linear.push(moved), there.linear.push(moved), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", [DormandPrince(1e-6), Exponential(1e-4)], ids=lambda method: type(method).__name__)
def test_the_flow_is_that_of_the_modules(method):
    nets, (x, y) = stack((2, 6, 5, 1)), data()
    options = {"loss": "half_mse", "until": [Time(0.5), Steps(80)], "method": method}
    fast = chain_flow(nets, (x, y[:, 0]), rates={"W2": 3.0}, **options)
    slow = gradient_flow(modules(nets), (x, y), rates={"layers.W2": 3.0}, **options)
    assert fast.stopped == slow.stopped
    for name in ("W1", "W2", "W3"):
        torch.testing.assert_close(fast.parameters[name], slow.parameters[f"layers.{name}"], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(
            fast.relative_distance[name], slow.relative_distance[f"layers.{name}"], rtol=1e-8, atol=1e-10
        )


def test_the_sum_that_all_layers_share_is_conserved():
    """(‖W_l‖² − ‖W_l(0)‖²)/η_l: docs/three-layer-regime.md."""
    nets, (x, y) = stack((2, 30, 30, 1)), data()
    rates = {"W1": 1.0, "W2": 4.0, "W3": 0.25}
    flow = chain_flow(nets, (x, y[:, 0]), rates=rates, until=LossRatio(1e-2), method=Exponential(1e-5), most_steps=3000)
    grown = [
        (flow.parameters[name].square().sum((1, 2)) - weight.square().sum((1, 2))) / rates[name]
        for name, weight in zip(rates, nets.weights, strict=True)
    ]
    assert float(grown[0].abs().min()) > 0.1
    torch.testing.assert_close(grown[1], grown[0], rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(grown[2], grown[0], rtol=2e-3, atol=2e-3)


def test_members_do_not_disturb_each_other():
    nets, (x, y) = stack((2, 6, 5, 1)), data()
    options = {"until": LossRatio(0.3), "method": Exponential(1e-4), "most_steps": 200}
    together = chain_flow(nets, (x, y[:, 0]), **options)
    alone = chain_flow(
        ChainNets(tuple(weight[1:2] for weight in nets.weights), nets.scale[1:2]), (x, y[:, 0]), **options
    )
    torch.testing.assert_close(together.parameters["W2"][1:2], alone.parameters["W2"], rtol=1e-10, atol=1e-12)
    assert int(together.steps[1]) == int(alone.steps[0])


def test_bad_stacks_are_refused():
    a, b = torch.ones(2, 4, 3), torch.ones(2, 1, 4)
    for weights in ((a,), (a, torch.ones(2, 1, 5)), (a, torch.ones(2, 2, 4)), (a, torch.ones(3, 1, 4))):
        with refused("layers are"):
            ChainNets(weights, torch.ones(2))
    with pytest.raises(InvalidInput, match="a rate is for one of"):
        chain_flow(
            ChainNets((a, b), torch.ones(2)),
            (torch.ones(5, 3), torch.ones(5)),
            until=Time(1.0),
            method=Exponential(1e-3),
            rates={"a": 2.0},
        )
