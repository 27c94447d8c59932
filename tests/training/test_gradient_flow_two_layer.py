"""Two-layer nets in closed form, against the same nets as modules."""

import math

import pytest
import torch
from torch import nn
from training.flow_cases import data, gaussian
from unchecked import refused

from cloudchamber import InvalidInput
from cloudchamber.training.flow.explicit import DormandPrince, KernelEuler
from cloudchamber.training.flow.exponential import Exponential
from cloudchamber.training.flow.gradient_flow import gradient_flow
from cloudchamber.training.flow.stops import LossRatio, Steps, Time
from cloudchamber.training.flow.two_layer import TwoLayerNets

METHODS = [DormandPrince(1e-6), Exponential(1e-5), KernelEuler()]
ACTIVATIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "xtanh": lambda z: z * torch.tanh(z),
    "x2tanh": lambda z: z * z * torch.tanh(z),
    "sigmoid": torch.sigmoid,
    "identity": lambda z: z,
}


class TwoLayer(nn.Module):
    """The slow, obvious twin."""

    def __init__(self, a, w, scale, activation):
        super().__init__()
        self.a, self.w = nn.Parameter(a.clone()), nn.Parameter(w.clone())
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        self.activation = ACTIVATIONS[activation]

    def forward(self, x):
        return self.scale * (self.activation(x @ self.w.T) @ self.a)[:, None]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("loss", ["mse", "half_mse"])
def test_as_modules(method, activation, loss):
    a, w, scale = gaussian(3, 8), gaussian(3, 8, 2, seed=1), [0.1, 0.3, 1.0]
    nets = TwoLayerNets(a, w, torch.tensor(scale, dtype=torch.float64), activation)
    modules = [TwoLayer(a[k], w[k], scale[k], activation) for k in range(3)]
    rates = {"a": torch.tensor([2.0, 1.0, 0.5]), "w": 0.7}
    options = {"loss": loss, "until": [Time(0.5), Steps(60)], "rates": rates, "method": method, "times": [0.05]}
    fast, slow = gradient_flow(nets, data(), **options), gradient_flow(modules, data(), **options)
    assert fast.stopped == slow.stopped
    assert torch.equal(fast.steps, slow.steps)
    for name in ("a", "w"):
        assert torch.allclose(fast.parameters[name], slow.parameters[name], rtol=1e-10, atol=1e-10)
        assert torch.allclose(fast.snapshots[name], slow.snapshots[name], rtol=1e-10, atol=1e-10, equal_nan=True)
        assert torch.allclose(fast.relative_distance[name], slow.relative_distance[name], rtol=1e-9)
    assert torch.allclose(fast.times, slow.times, rtol=1e-6, equal_nan=True)  # steps are less exact than the flow
    assert torch.allclose(fast.loss, slow.loss, rtol=1e-9)


def test_the_nets_themselves_are_not_changed():
    a, w = gaussian(2, 8), gaussian(2, 8, 2, seed=1)
    before = a.clone(), w.clone()
    flow = gradient_flow(TwoLayerNets(a, w), data(), until=Time(0.1))
    assert torch.equal(a, before[0])
    assert torch.equal(w, before[1])
    assert not torch.equal(flow.parameters["a"], a)
    assert flow.parameters["w"].shape == (2, 8, 2)


def test_chunks_are_chosen_and_change_nothing():
    nets = TwoLayerNets(gaussian(4, 30), gaussian(4, 30, 2, seed=1), 0.1, "tanh")
    whole = gradient_flow(nets, data(), until=LossRatio(0.5))
    parts = gradient_flow(nets, data(), until=LossRatio(0.5), chunk=1)
    assert torch.equal(whole.steps, parts.steps)
    assert torch.allclose(whole.parameters["w"], parts.parameters["w"], rtol=1e-9, atol=1e-12)


def test_float32_follows_float64():
    nets = TwoLayerNets(gaussian(1, 500), gaussian(1, 500, 2, seed=1), 500**-0.5)
    options = {"loss": "half_mse", "until": LossRatio(1e-3), "method": Exponential(1e-3)}
    flows = [gradient_flow(nets, line(), dtype=dtype, **options) for dtype in (torch.float32, torch.float64)]
    assert flows[0].parameters["w"].dtype == torch.float32
    assert float(flows[0].relative_distance["w"]) == pytest.approx(float(flows[1].relative_distance["w"]), rel=1e-2)


def line():
    """Four points and y = x²: the data of the regime diagram."""
    x = torch.linspace(-0.5, 0.5, 4, dtype=torch.float64)
    return torch.stack([x, torch.ones_like(x)], 1), x.square()


@pytest.mark.parametrize(("gamma", "expected"), [(0.5, -0.506), (1.0, 0.007), (1.75, 0.372)])
def test_the_published_slopes_of_the_diagram(gamma, expected):
    """d log RD/d log m at γ' = 0, at smaller widths than published; standard error 0.045 at γ = ½, else 0.006."""
    logs = []
    for width in (500, 4000):
        a, w = gaussian(24, width, seed=width), gaussian(24, width, 2, seed=width + 1)
        options = {"loss": "half_mse", "until": LossRatio(1e-3), "method": Exponential(1e-3)}
        flow = gradient_flow(TwoLayerNets(a, w, width**-gamma), line(), dtype=torch.float32, **options)
        assert set(flow.stopped) == {"loss_ratio"}
        logs.append(float(flow.relative_distance["w"].log().mean()))
    assert (logs[1] - logs[0]) / math.log(8) == pytest.approx(expected, abs=0.12 if gamma == 0.5 else 0.03)


def test_bad_input_is_refused():
    a, w = torch.ones(2, 3), torch.ones(2, 3, 2)
    with pytest.raises(InvalidInput, match="the activation is one of"):
        TwoLayerNets(a, w, activation="elu")
    with refused("scale"):
        TwoLayerNets(a, w, torch.ones(3))
    x, y = data()
    with pytest.raises(InvalidInput, match="samples are"):
        gradient_flow(TwoLayerNets(a, w), (torch.ones(7, 3), y), until=Time(1.0))
    with pytest.raises(InvalidInput, match="one target"):
        gradient_flow(TwoLayerNets(a, w), (x, torch.ones(7, 2)), until=Time(1.0))
    with pytest.raises(InvalidInput, match="two-layer nets flow under"):
        gradient_flow(TwoLayerNets(a, w), (x, y), loss=lambda out, _: out.sum(), until=Time(1.0))
