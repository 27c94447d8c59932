"""The two-layer linear network: 200 random ones against their gradient flow, integrated as it is written down."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from cloudchamber.theory.linear_model import LinearModel

NETWORKS, HIDDEN, INPUTS = 200, 4, 3
TOLERANCE = 1e-9


def random_networks(seed=0):
    random = np.random.default_rng(seed)

    def spread(orders):
        return 10 ** random.uniform(-orders, orders, NETWORKS)

    return {
        "u": random.normal(size=(NETWORKS, HIDDEN)) * spread(1)[:, None],
        "W": random.normal(size=(NETWORKS, HIDDEN, INPUTS)) * spread(1)[:, None, None],
        "n": random.normal(size=(NETWORKS, INPUTS)),
        "y": random.normal(size=NETWORKS) * spread(1),
        "rho": spread(0.5),
        "gamma": spread(0.5) * random.choice([-1, 1], NETWORKS),
        "rate_u": spread(1),
        "rate_w": spread(1),
    }


def integrate(case, factor, times, unit):
    """Follow u and W under the gradient of `factor` · (f − y)², each network in its own unit of time."""
    unit = unit[:, None]
    n = case["n"] / np.linalg.norm(case["n"], axis=1, keepdims=True)
    x = case["rho"][:, None] * n

    def rate(_, state):
        u = state[: NETWORKS * HIDDEN].reshape(NETWORKS, HIDDEN)
        W = state[NETWORKS * HIDDEN :].reshape(NETWORKS, HIDDEN, INPUTS)
        hidden = np.einsum("bhd,bd->bh", W, x)
        f = case["gamma"] * np.einsum("bh,bh->b", u, hidden)
        by_f = (2 * factor * (f - case["y"]) * case["gamma"])[:, None]
        du = -case["rate_u"][:, None] * by_f * hidden
        dW = -case["rate_w"][:, None, None] * by_f[..., None] * np.einsum("bh,bd->bhd", u, x)
        return np.concatenate([(unit * du).ravel(), (unit[..., None] * dW).ravel()])

    start = np.concatenate([case["u"].ravel(), case["W"].ravel()])
    solution = solve_ivp(rate, (0, times[-1]), start, t_eval=times, rtol=1e-12, atol=1e-13, method="RK45")
    assert solution.success
    state = solution.y.T
    u = state[:, : NETWORKS * HIDDEN].reshape(-1, NETWORKS, HIDDEN)
    W = state[:, NETWORKS * HIDDEN :].reshape(-1, NETWORKS, HIDDEN, INPUTS)
    return u.swapaxes(0, 1), W.swapaxes(0, 1), x


def model_of(case, loss):
    return LinearModel.from_weights(**{name: torch.as_tensor(value) for name, value in case.items()}, loss=loss)


def stacked(model, quantity, times, unit):
    """A quantity at `times` in each network's own unit of time."""
    every = getattr(model, quantity)(torch.from_numpy(times[None, :] * unit[:, None]).reshape(-1))
    index = np.arange(NETWORKS)
    return every.reshape(NETWORKS, NETWORKS, len(times), *every.shape[2:])[index, index].numpy()


@pytest.fixture(scope="module", params=[("mean_square", 1.0), ("half_mean_square", 0.5)], ids=lambda loss: loss[0])
def followed(request):
    loss, factor = request.param
    case = random_networks(seed=int(factor * 10))
    model = model_of(case, loss)
    unit, times = model.learning_time.numpy(), np.array([0.05, 0.2, 0.5, 1.0, 3.0, 8.0])
    return case, model, times, unit, integrate(case, factor, np.concatenate([[0.0], times]), unit)


def assert_close(ours, theirs):
    axes = tuple(range(1, theirs.ndim))
    scale = np.abs(theirs).max(axis=axes, keepdims=True)
    assert np.abs((ours - theirs[:, 1:]) / scale).max() < TOLERANCE


def test_both_layers(followed):
    _, model, times, unit, (u, W, _) = followed
    assert_close(stacked(model, "u", times, unit), u)
    assert_close(stacked(model, "W", times, unit), W)


def test_the_output(followed):
    case, model, times, unit, (u, W, x) = followed
    f = case["gamma"][:, None] * np.einsum("bth,bthd,bd->bt", u, W, x)
    scale = np.maximum(np.abs(f).max(axis=1), np.abs(case["y"]))[:, None]
    assert np.abs((stacked(model, "output", times, unit) - f[:, 1:]) / scale).max() < TOLERANCE
    residual = (f - case["y"][:, None])[:, 1:]
    assert np.abs((stacked(model, "residual", times, unit) - residual) / scale).max() < TOLERANCE


def test_the_kernel_is_the_one_of_the_weights(followed):
    case, model, times, unit, (u, W, x) = followed
    hidden = np.einsum("bthd,bd->bth", W, x)
    by_u = case["rate_u"][:, None] * (hidden**2).sum(-1)
    by_w = case["rate_w"][:, None] * (u**2).sum(-1) * (x**2).sum(-1)[:, None]
    assert_close(stacked(model, "kernel", times, unit), case["gamma"][:, None] ** 2 * (by_u + by_w))


def test_alignment_and_norms(followed):
    case, model, times, unit, (u, W, x) = followed
    w = np.einsum("bthd,bd->bth", W, x) / case["rho"][:, None, None]
    lengths = np.linalg.norm(u, axis=-1), np.linalg.norm(w, axis=-1)
    assert_close(stacked(model, "norm_u", times, unit), lengths[0])
    assert_close(stacked(model, "norm_w", times, unit), lengths[1])
    cosine = ((u * w).sum(-1) / lengths[0] / lengths[1])[:, 1:]
    # u or w may pass near zero, where the cosine is ill-conditioned in them.
    shrink = np.minimum(*(length[:, 1:] / length.max(axis=1, keepdims=True) for length in lengths))
    assert np.abs((stacked(model, "layer_alignment", times, unit) - cosine) * np.minimum(1, shrink)).max() < TOLERANCE


def test_off_the_line_the_first_layer_is_frozen(followed):
    case, model, times, unit, _ = followed
    n = case["n"] / np.linalg.norm(case["n"], axis=1, keepdims=True)
    moved = stacked(model, "W", times, unit) - case["W"][:, None]
    off = moved - np.einsum("bthd,bd,be->bthe", moved, n, n)
    assert np.abs(off).max() < 1e-12 * np.abs(case["W"]).max()


def test_off_the_line_the_output_moves_with_the_second_layer():
    """The paper's text says that it is constant; its Theorem 1 says that u moves, and so does f."""
    model = model_of(random_networks(), "mean_square")
    line = model.weights.n
    across = torch.linalg.svd(line[0][None])[2][1:]
    one = LinearModel.from_weights(model.weights.u, model.weights.W, line[0], y=model.start.y)
    outputs = one.outputs(across, torch.tensor([0.0, torch.inf], dtype=torch.float64))
    ending = (one.u(torch.inf)[:, None] @ one.weights.W @ across.mT)[:, 0]
    assert torch.allclose(outputs[:, 1], ending, rtol=1e-9, atol=1e-12)
    change = torch.linalg.vector_norm(outputs[:, 1] - outputs[:, 0], dim=1)
    assert (change / torch.linalg.vector_norm(outputs[:, 0], dim=1)).median() > 0.1
