"""Phases of networks whose phase is known, the numbers behind them beside exact ones, and what must not happen."""

import math

import phases as known_networks
import pytest
import torch
from torch import nn

import cloudchamber as cc
from cloudchamber.models import CenteredOutput, ScaledOutput
from cloudchamber.predict.phases import Change, PairChange, change_towards
from cloudchamber.theory import LinearModel

MSE = nn.functional.mse_loss


def small(width=32, inputs=3, outputs=2, lr=0.05):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))
    x = torch.randn(20, inputs)
    return model, (x, x[:, :outputs]), torch.optim.SGD(model.parameters(), lr=lr)


def on_a_line(gamma=0.2, width=10, lr=1e-3, target=1.0):
    """A linear network on inputs along a line, its probe, and its exact solution, E(f − y)²."""
    torch.manual_seed(1)
    first, second = nn.Linear(2, width, bias=False), nn.Linear(width, 1, bias=False)
    model = ScaledOutput(nn.Sequential(first, second), gamma).double()
    n = torch.tensor([0.6, 0.8], dtype=torch.float64)
    a = torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64)
    rho = float(a.square().mean().sqrt())
    exact = LinearModel.from_weights(
        second.weight.detach()[0], first.weight.detach(), n, y=target * rho, rho=rho, gamma=gamma, rate_u=lr, rate_w=lr
    )
    probe = (a[:, None] * n, target * a[:, None])
    return model, probe, torch.optim.SGD(model.parameters(), lr=lr), exact


@pytest.mark.parametrize(("row", "scaling"), known_networks.CASES)
def test_known_networks_at_a_large_scale(row, scaling):
    case = known_networks.known(row, scaling, 4096, seed=7)
    found = known_networks.told(case)
    assert (found["measured"], found["parametrised"]) == (case.phase, case.phase)


def test_theory_of_a_linear_network_is_the_exact_solution():
    model, probe, sgd, exact = on_a_line()
    found = cc.phase(model, probe, loss=MSE, optimizer=sgd, tried=5)
    line = found.parametrised.line
    assert line.drift == pytest.approx(float(exact.kernel(math.inf) / exact.kernel(0.0)) - 1, rel=1e-5)
    assert line.learning_time == pytest.approx(float(exact.learning_time), rel=1e-5)
    assert line.terms == pytest.approx([float(term) for term in exact.learning_terms], rel=1e-5)
    assert abs(line.alignment[1]) == pytest.approx(abs(float(exact.layer_alignment(math.inf))), rel=1e-5)
    assert found.parametrised.speed == pytest.approx(2 * float(exact.kernel(0.0)), rel=1e-5)


def test_measured_drift_and_alignment_are_those_of_the_exact_solution():
    model, probe, sgd, exact = on_a_line(lr=1e-3)
    found = cc.phase(model, probe, loss=MSE, optimizer=sgd, steps=5000, tried=5000)
    time = float(found.measured.steps)
    drift = float(exact.kernel(time) / exact.kernel(0.0)) - 1
    assert found.measured.kernel_drift == pytest.approx(abs(drift), rel=0.02)
    (pair,) = found.measured.pairs
    assert pair.alignment == pytest.approx([float(exact.layer_alignment(t)) for t in (0.0, time)], abs=0.01)
    norms = [float(exact.norm_u(t) * exact.norm_w(t)) for t in (0.0, time)]
    assert pair.size[1] / pair.size[0] == pytest.approx(norms[1] / norms[0], rel=0.01)


@pytest.mark.parametrize(
    ("alignment", "size", "mechanism"),
    [
        ((0.0, 0.5), (1.0, 1.1), "alignment"),
        ((0.9, 0.5), (2.0, 1.9), "disalignment"),
        ((1.0, 1.0), (1.0, 3.0), "rescaling"),
        ((0.2, 0.2), (1.0, 1.0), "none"),
    ],
)
def test_mechanisms(alignment, size, mechanism):
    pair = PairChange("a", "b", alignment, size)
    assert pair.mechanism == mechanism
    whole = size[1] * alignment[1] - size[0] * alignment[0]
    if whole:
        by_size = 0.5 * sum(alignment) * (size[1] - size[0]) / whole
        assert pair.by_alignment + by_size == pytest.approx(1.0)


def test_nothing_of_the_callers_changes():
    model, probe, sgd = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    cc.phase(model, probe, loss=MSE, optimizer=sgd, tried=10)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not sgd.state
    assert all(parameter.grad is None for parameter in model.parameters())


def test_towards_learning_leaves_the_speed_and_bends_the_kernel_more():
    model, probe, sgd = small(width=512, lr=0.01)
    before = cc.phase(model, probe, loss=MSE, optimizer=sgd)
    changed = Change("learning", 0.2, 25.0, zero_initial_output=False).applied(model, sgd)
    after = cc.phase(changed[0], probe, loss=MSE, optimizer=changed[1])
    assert after.parametrised.speed == pytest.approx(before.parametrised.speed, rel=1e-3)
    assert after.measured.kernel_drift > 2 * before.measured.kernel_drift


def test_a_change_for_adam_and_for_unstable_steps():
    gentle, adam = (change_towards("learning", 0.01, 0.1, kind) for kind in ("sgd", "adam"))
    assert adam.lr == pytest.approx(gentle.lr**0.5)
    assert gentle.lr == pytest.approx(gentle.output_scale**-2)
    wild = change_towards("learning", 0.01, 10.0, "sgd")
    assert wild.lr == pytest.approx(gentle.lr / 10)
    assert change_towards("kernel", math.inf, 1.0, "sgd") is None


def test_other_networks_are_measured_without_theory():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))
    x, y = torch.randn(12, 1, 6, 6), torch.arange(12) % 3
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    found = cc.phase(model, (x, y), loss=nn.functional.cross_entropy, optimizer=adam, tried=40)
    assert found.parametrised.name == "cannot tell"
    assert found.name == "learning"
    assert not found.measured.pairs
    assert "no chain" in str(found)


def test_a_centered_network_starts_at_zero_and_learns_alike():
    torch.manual_seed(0)
    centered = CenteredOutput(nn.Linear(2, 1))
    x = torch.randn(5, 2)
    assert not centered(x).any()
    centered(x).sum().backward()
    names = [name for name, value in centered.named_parameters() if value.requires_grad]
    assert names == ["network.weight", "network.bias"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, "`steps` is 1 or more"),
        ({"tried": 0}, "`tried` is 1 or more"),
        ({"probe": (torch.zeros(3, 3), torch.zeros(2, 2))}, "`probe` is"),
        ({"optimizer": torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)}, "holds parameters of the model"),
    ],
)
def test_bad_input(change, words):
    model, probe, sgd = small()
    given = {"probe": probe, "loss": MSE, "optimizer": sgd, **change}
    with pytest.raises(cc.InvalidInput, match=words):
        cc.phase(model, given.pop("probe"), **given)


def test_a_model_with_another_output():
    model, (x, y), sgd = small()
    sequence = nn.Sequential(model, nn.Unflatten(1, (1, 2)))
    with pytest.raises(cc.Unsupported, match="returns \\(20, k\\)"):
        cc.phase(sequence, (x, y), loss=MSE, optimizer=sgd)
