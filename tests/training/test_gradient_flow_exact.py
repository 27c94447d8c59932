"""Against SciPy, and against solutions in closed form."""

import math

import pytest
import torch
from torch import nn
from training.flow_cases import by_scipy, data, flat, gaussian, net

from cloudchamber.training.flow.explicit import DormandPrince, KernelEuler
from cloudchamber.training.flow.exponential import Exponential
from cloudchamber.training.flow.gradient_flow import gradient_flow
from cloudchamber.training.flow.stops import Time

ACCURATE = [DormandPrince(1e-10), Exponential(1e-9)]


def distance(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("method", ACCURATE, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("sizes", [(2, 5, 1), (2, 4, 4, 2)])
def test_smooth_nets_as_scipy(method, sizes):
    model, samples = net(*sizes), data(k=sizes[-1])
    flow = gradient_flow(model, samples, until=Time(5.0), method=method)
    assert flow.stopped == ("time",)
    assert float(flow.time) == 5.0
    assert distance(flat(flow.parameters), by_scipy(model, samples, 5.0)) < 1e-7


@pytest.mark.parametrize("method", ACCURATE, ids=lambda method: type(method).__name__)
def test_relu_away_from_kinks_as_scipy(method):
    """Positive samples and weights: no neuron's input changes its sign while the output rises to the targets."""
    model = net(2, 5, 1, act=nn.ReLU, bias=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
        model[0].weight[:2] *= -1
    samples = (gaussian(7, 2).abs(), 4 + gaussian(7, 1, seed=1).abs())
    flow = gradient_flow(model, samples, until=Time(0.5), method=method)
    assert torch.equal(flow.parameters["0.weight"][0, :2], model[0].weight[:2].detach())  # static neurons
    assert distance(flat(flow.parameters), by_scipy(model, samples, 0.5)) < 1e-8


def test_any_loss_as_scipy():
    model, (x, _) = net(2, 4, 3), data()
    samples = (x, torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    loss = nn.functional.cross_entropy
    flow = gradient_flow(model, samples, loss=loss, until=Time(8.0), method=DormandPrince(1e-9))
    assert distance(flat(flow.parameters), by_scipy(model, samples, 8.0, loss)) < 1e-6


@pytest.mark.parametrize("method", ACCURATE, ids=lambda method: type(method).__name__)
def test_rates_as_scipy(method):
    model, samples = net(2, 4, 1), data()
    flow = gradient_flow(model, samples, until=Time(3.0), rates={"0": 0.3, "2.weight": 2.5}, method=method)
    rates = {"0.weight": 0.3, "0.bias": 0.3, "2.weight": 2.5}
    assert distance(flat(flow.parameters), by_scipy(model, samples, 3.0, rates=rates)) < 1e-7


@pytest.mark.parametrize("method", ACCURATE, ids=lambda method: type(method).__name__)
def test_linear_regression_in_closed_form(method):
    """w(t) = w* + e^{−2 X̂ t} (w(0) − w*), X̂ = XᵀX/n; eigenvalues over four orders of magnitude."""
    x = gaussian(20, 4) * torch.tensor([1.0, 0.3, 0.1, 0.01], dtype=torch.float64)
    y = gaussian(20, 1, seed=1)
    model = net(4, 1, bias=False)
    moment = x.T @ x / len(x)
    best = torch.linalg.solve(moment, x.T @ y / len(x))[:, 0]
    for time in (0.1, 5.0, 1e4)[: 3 if isinstance(method, Exponential) else 2]:
        flow = gradient_flow(model, (x, y), until=Time(time), method=method)
        start = model[0].weight.detach()[0]
        expected = best + torch.matrix_exp(-2 * time * moment) @ (start - best)
        assert distance(flow.parameters["0.weight"][0, 0], expected) < 1e-7
        if isinstance(method, Exponential):
            assert int(flow.steps) < 40  # exact whatever the step: as many as the step takes to grow


@pytest.mark.parametrize("method", ACCURATE, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize(("rate_u", "rate_w"), [(1.0, 1.0), (0.2, 3.0)])
def test_two_layer_linear_net_in_closed_form(method, rate_u, rate_w):
    """xu2024: p(t) = √z p(0), q(t) = q(0)/√z, for one sample n of length 1 and target y."""
    model = net(3, 6, 1, act=nn.Identity, bias=False)
    n, y, time = gaussian(1, 3) / gaussian(1, 3).norm(), torch.tensor([[1.5]], dtype=torch.float64), 0.4
    u, w = model[2].weight.detach()[0], model[0].weight.detach() @ n[0]
    p, q = (u / rate_u**0.5 + w / rate_w**0.5) / 2, (u / rate_u**0.5 - w / rate_w**0.5) / 2
    s, P, Q, target = (rate_u * rate_w) ** 0.5, float(p @ p), float(q @ q), 1.5
    root = math.sqrt((target / s) ** 2 + 4 * P * Q)
    plus, minus = (target / s + root) / (2 * P), (target / s - root) / (2 * P)
    decay = math.exp(-time * math.sqrt(16 * s**2 * target**2 + 64 * s**4 * P * Q))
    xi = (1 - plus) / (1 - minus) * decay
    z = (plus - minus * xi) / (1 - xi)
    rates = {"0": rate_w, "2": rate_u}
    flow = gradient_flow(model, (n, y), until=Time(time), rates=rates, method=method)
    expected = rate_u**0.5 * (z**0.5 * p + q / z**0.5)
    assert distance(flow.parameters["2.weight"][0, 0], expected) < 1e-8


@pytest.mark.parametrize(("method", "order"), [(DormandPrince, 5), (Exponential, 4)])
def test_a_tighter_tolerance_is_an_error_as_much_smaller(method, order):
    """The error falls as the tolerance to the power order/(order of the estimate + 1), within a factor."""
    model, samples = net(2, 5, 1), data()
    exact = by_scipy(model, samples, 5.0)
    errors = [
        distance(flat(gradient_flow(model, samples, until=Time(5.0), method=method(tolerance)).parameters), exact)
        for tolerance in (1e-5, 1e-8)
    ]
    slope = math.log(errors[0] / errors[1]) / math.log(1e3)
    assert 0.6 < slope < 1.4
    assert errors[0] < 1e-4


def test_kernel_euler_is_of_first_order():
    model, samples = net(2, 5, 1), data()
    exact = by_scipy(model, samples, 5.0)
    errors = []
    for part in (1, 4):
        method = KernelEuler(0.2 / part, 0.02 / part)
        errors.append(distance(flat(gradient_flow(model, samples, until=Time(5.0), method=method).parameters), exact))
    assert 3 < errors[0] / errors[1] < 5


@pytest.mark.parametrize(("steps", "bound"), [(5, "speed"), (150, "kernel")])
def test_kernel_euler_takes_the_stated_steps(steps, bound):
    """η = min(c/λ_max(K), change/v), with K from the Jacobian, for the loss ½/n."""
    (x, y), models = data(), [net(2, 5, 1, bias=False), net(2, 5, 1, bias=False)]
    options = {"loss": "half_mse", "until": Time(1e9), "method": KernelEuler()}
    flow = gradient_flow(models[0], (x, y), most_steps=steps + 1, **options)
    gradient_flow(models[0], (x, y), most_steps=steps, **options).load_into(models[1])
    first, second = models[1][0].weight, models[1][2].weight
    rows = [torch.autograd.grad(models[1](sample[None])[0, 0], (first, second)) for sample in x]
    jacobian = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    residual = (models[1](x) - y).detach()[:, 0]
    stiffest = float(torch.linalg.eigvalsh(jacobian @ jacobian.T / len(x))[-1])
    velocity = (jacobian.T @ residual / len(x)).split([10, 5])
    speeds = [float(part.norm() / of.detach().norm()) for part, of in zip(velocity, (first, second), strict=True)]
    limits = {"kernel": 0.5 / stiffest, "speed": 0.05 / max(speeds)}
    assert min(limits, key=limits.__getitem__) == bound
    assert float(flow.times[0, -1] - flow.times[0, -2]) == pytest.approx(limits[bound], rel=1e-9)
