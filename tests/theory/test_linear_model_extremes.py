"""The two-layer linear network over sixty orders of magnitude, against the paper's formulas with 400 digits."""

import math

import mpmath as mp
import pytest
import torch

from cloudchamber.theory.linear_model import LinearModel

float64 = torch.float64
DIGITS = 400
ACCURACY = 1e-12


def paper(P, Q, R, y, s, t):
    """theory.md's formulas as they stand: P, Q, y ≠ 0."""
    P, Q, R, y, s = (mp.mpf(number) for number in (P, Q, R, y, s))
    root = mp.sqrt((y / s) ** 2 + 4 * P * Q)
    plus, minus = (y / s + root) / (2 * P), (y / s - root) / (2 * P)
    rate = mp.sqrt(16 * s**2 * y**2 + 64 * s**4 * P * Q)
    xi = (1 - plus) / (1 - minus) * mp.exp(-mp.mpf(t) * rate) if t != math.inf else mp.mpf(0)
    z = (plus - minus * xi) / (1 - xi)
    f = s * (P * z - Q / z)
    size = P * z + Q / z
    return {
        "z": z,
        "output": f,
        "residual": f - y,
        "kernel": 2 * s**2 * size,
        "norm_u": mp.sqrt(size + 2 * R),
        "norm_w": mp.sqrt(size - 2 * R),
        "layer_alignment": (P * z - Q / z) / mp.sqrt(size**2 - 4 * R**2),
        "alpha_plus": plus,
        "alpha_minus": minus,
        "learning_time": 1 / rate,
    }


def random_cases(count):
    random = torch.Generator().manual_seed(5)
    draw = torch.rand(count, 6, generator=random, dtype=float64)
    P, Q, y, s, when = (10 ** (60 * draw[:, i] - 30 if i < 2 else 20 * draw[:, i] - 10) for i in range(5))
    sign = torch.where(draw[:, 5] < 0.5, -1.0, 1.0)
    correlation = (2 * draw[:, 5] - 1) * 0.9
    return P, Q, correlation * P.sqrt() * Q.sqrt(), sign * y, s, when


@pytest.fixture(scope="module")
def compared():
    P, Q, R, y, s, when = random_cases(300)
    model = LinearModel.from_reduced(P, Q, R, y=y, gamma=s)
    times = torch.stack([torch.zeros_like(when), when * model.learning_time, torch.full_like(when, math.inf)], 1)
    starts = zip(P.tolist(), Q.tolist(), R.tolist(), y.tolist(), s.tolist(), times.tolist(), strict=True)
    with mp.workdps(DIGITS):
        rows = [paper(*start, t) for *start, moments in starts for t in moments]
    return model, times, rows


def ours(model, times, name):
    if name.startswith(("alpha", "learning")):
        return getattr(model, name)[:, None].expand(times.shape)
    every = getattr(model, name)(times.reshape(-1)).reshape(len(times), *times.shape)
    index = torch.arange(len(times))
    return every[index, index]


@pytest.mark.parametrize(
    "name", ["z", "kernel", "norm_u", "norm_w", "layer_alignment", "alpha_plus", "alpha_minus", "learning_time"]
)
def test_relative_accuracy(compared, name):
    model, times, rows = compared
    for value, expected in zip(ours(model, times, name).flatten(), rows, strict=True):
        assert abs(value.item() - expected[name]) <= ACCURACY * abs(expected[name])


@pytest.mark.parametrize("name", ["output", "residual"])
def test_outputs_are_accurate_against_the_start_and_the_target(compared, name):
    """f crosses zero where the start and the target differ in sign; elsewhere it is right to its last digits."""
    model, times, rows = compared
    crossing = (model.start.output * model.start.y < 0)[:, None].expand(times.shape).flatten()
    remaining = ours(model, times, "residual") / (model.start.output - model.start.y)[:, None]
    scale = (remaining * model.start.output[:, None]).abs() + ((1 - remaining) * model.start.y[:, None]).abs()
    values = ours(model, times, name).flatten()
    for value, row, crosses, size in zip(values, rows, crossing, scale.flatten(), strict=True):
        allowed = size.item() if crosses and name == "output" else abs(row[name])
        assert abs(value.item() - row[name]) <= ACCURACY * allowed or abs(row[name]) < 1e-290


def test_a_kernel_phase_of_sixty_digits():
    """P = Q = 1e30 and y = 1: the difference of two numbers of 1e30 that matters is of order 1."""
    model = LinearModel.from_reduced(1e30, 1e30, y=1.0)
    time = model.learning_time
    assert math.isclose(model.output(time).item(), 1 - math.exp(-1), rel_tol=1e-14)
    assert math.isclose(model.output(1e-6 * time).item(), -math.expm1(-1e-6), rel_tol=1e-14)
    assert math.isclose(model.layer_alignment(math.inf).item(), 0.5e-30, rel_tol=1e-14)


def test_a_tiny_start_leaves_the_saddle_in_its_own_time():
    model = LinearModel.from_reduced(1e-30, 1e-30, y=1.0)
    half = model.learning_time * math.log(1e30)
    assert math.isclose(model.output(half).item(), 0.5, rel_tol=1e-12)
    assert model.output(math.inf) == 1.0


@pytest.mark.parametrize("frozen", ["rate_u", "rate_w"])
def test_a_frozen_layer_is_the_limit_of_a_small_rate(frozen):
    """With one layer fixed the other one is a linear model: f − y falls like exp(−2 γ²ρ² η ‖fixed‖² t)."""
    random = torch.Generator().manual_seed(0)
    u, W, n = (torch.randn(*shape, generator=random, dtype=float64) for shape in ((5,), (5, 3), (3,)))
    model = LinearModel.from_weights(u, W, n, y=2.0, rho=0.5, gamma=1.5, **{frozen: 1e-30})
    fixed = model.start.ww if frozen == "rate_w" else model.start.uu
    t = torch.tensor([0.1, 1.0], dtype=float64)
    expected = (model.start.output - 2.0) * torch.exp(-2 * 1.5**2 * 0.5**2 * fixed * t)
    assert torch.allclose(model.residual(t), expected, rtol=1e-12)
    still = (model.w(t), model.weights.w) if frozen == "rate_w" else (model.u(t), u)
    assert torch.allclose(*still, rtol=1e-12)
    assert torch.allclose(1.5 * 0.5 * (model.u(t) * model.w(t)).sum(-1), model.output(t), rtol=1e-12)
