"""Layer alignment ζ(t) of two-layer networks on a line, trained as a stack of seeds, beside the exact solution."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from cloudchamber._core.seeding import generator
from cloudchamber.models import ScaledOutput
from cloudchamber.theory import LinearModel, parametrization
from cloudchamber.training import SGD, Adam, train_ensemble

Start = Literal["gaussian", "parallel"]
OptimizerName = Literal["gd", "sgd", "adam"]
FIRST, SECOND = "network.0.weight", "network.2.weight"
_POINTS, _BATCH, _LOOKS = 100, 10, 60
_DTYPE = torch.float64


def trajectories(
    folder: Path,  # noqa: ARG001 - nothing is kept on the way
    *,
    scaling: str,
    start: Start = "gaussian",
    disturbance: float = 0.0,
    size: float = 1.0,
    activation: Literal["identity", "relu"] = "identity",
    optimizer: OptimizerName = "gd",
    ratio: float = 1.0,
    width: int,
    seeds: int,
    steps: int,
    time: float,
) -> xr.Dataset:
    """Train `f = γ uᵀσ(w x)` on 100 points x with y = x, a network per seed, and follow its layer alignment.

    Args:
        folder: of the study.
        scaling: a named one of Table 1: it gives γ, the variances and the rates as powers of the width.
        start: "gaussian", both layers drawn; "parallel", u = w plus a disturbance, in units of the scaling's sizes.
        disturbance: relative to each entry's size.
        size: what both layers are multiplied by at the start.
        activation: σ.
        optimizer: "gd" and "sgd" with steps of `time/steps` in the units of gradient flow, the latter with batches of
            10; "adam" with steps of three times the size of an entry over all steps.
        ratio: η_u over η_w; their product stays.
        width: neurons.
        seeds: networks.
        steps: updates.
        time: of gradient flow, that all of them together take.

    Returns:
        `alignment` and `theory` (seed, look), and the output's slope γ u·w (seed, look), over `progress`, the part of
        the updates.
    """
    u, w = _start(scaling, start, disturbance, size, width, seeds)
    x = torch.randn(_POINTS, 1, generator=generator(0, "points on a line"), dtype=_DTYPE)
    gamma, rate = (width ** float(power) for power in _powers(scaling))
    looks = np.unique((steps * np.linspace(0, 1, _LOOKS + 1) ** 2).round().astype(int))
    trained = train_ensemble(
        [_network(*layers, gamma, activation) for layers in zip(u, w, strict=True)],
        (x, x) if optimizer != "gd" or activation == "relu" else _one_point(x),
        loss="mse",
        optimizer=_optimizer(optimizer, rate, ratio, time / steps, _entry(scaling, width) / steps),
        steps=steps,
        batch_size=_BATCH if optimizer == "sgd" else None,
        losses_every=steps,
        snapshot_steps=looks.tolist(),
        compile=False,
    )
    second, first = trained.snapshots[SECOND][:, :, 0], trained.snapshots[FIRST][..., 0]
    model = _exact if activation == "identity" else _by_halves
    times, rates = torch.from_numpy(looks) * (time / steps), (rate * ratio**0.5, rate / ratio**0.5)
    variables = {
        "alignment": (("seed", "look"), alignment(second, first).numpy()),
        "slope": (("seed", "look"), gamma * (second * first).sum(2).numpy()),
        "theory": (("seed", "look"), model(u, w, x, gamma, rates, times).numpy()),
    }
    return xr.Dataset(variables, {"progress": ("look", looks / steps)})


def alignment(u: Float[Tensor, "*batch h"], w: Float[Tensor, "*batch h"]) -> Float[Tensor, "*batch"]:
    """Return `ζ = u·w/(‖u‖‖w‖)`."""
    return nn.functional.cosine_similarity(u, w, dim=-1)


def _powers(scaling: str) -> tuple[float, float]:
    exponents = parametrization(scaling)
    return float(exponents.c_gamma), float(exponents.c_eta_u)


def _stds(scaling: str, width: int) -> tuple[float, float]:
    exponents = parametrization(scaling)
    return width ** (float(exponents.c_u) / 2), width ** (float(exponents.c_w) / 2)


def _entry(scaling: str, width: int) -> float:
    """How far Adam moves each entry in all: three times the size of the larger layer's entries."""
    return 3 * max(_stds(scaling, width))


def _start(
    scaling: str, start: Start, disturbance: float, size: float, width: int, seeds: int
) -> tuple[Float[Tensor, "k h"], Float[Tensor, "k h"]]:
    u, w = (
        torch.stack([torch.randn(width, generator=generator(seed, layer), dtype=_DTYPE) for seed in range(seeds)])
        for layer in ("u", "w")
    )
    if start == "parallel":
        u = w + disturbance * u
    std_u, std_w = _stds(scaling, width)
    return size * std_u * u, size * std_w * w


def _network(u: Tensor, w: Tensor, gamma: float, activation: str) -> nn.Module:
    width = len(u)
    first, second = nn.Linear(1, width, bias=False, dtype=_DTYPE), nn.Linear(width, 1, bias=False, dtype=_DTYPE)
    with torch.no_grad():
        first.weight.copy_(w[:, None])
        second.weight.copy_(u[None])
    return ScaledOutput(nn.Sequential(first, nn.ReLU() if activation == "relu" else nn.Identity(), second), gamma)


def _one_point(x: Tensor) -> tuple[Tensor, Tensor]:
    """The point that stands for all of them: x = ρ, y = E[ay]/ρ."""
    rho = x.square().mean().sqrt().reshape(1, 1)
    return rho, rho


def _optimizer(name: OptimizerName, rate: float, ratio: float, step: float, entry: float) -> SGD | Adam:
    if name == "adam":
        return Adam(lr=entry)
    return SGD(lr={FIRST: step * rate / ratio**0.5, SECOND: step * rate * ratio**0.5})


def _exact(u: Tensor, w: Tensor, x: Tensor, gamma: float, rates: tuple[float, float], times: Tensor) -> Tensor:
    rho = float(x.square().mean().sqrt())
    return _model(u, w, rho, rho, gamma, rates).layer_alignment(times)


def _by_halves(u: Tensor, w: Tensor, x: Tensor, gamma: float, rates: tuple[float, float], times: Tensor) -> Tensor:
    """A ReLU network on a line as two linear ones, of the neurons with w > 0 and those with w < 0.

    Exact as long as no w changes its sign.
    """
    dot, square_u, square_w = (torch.zeros(len(u), len(times), dtype=_DTYPE) for _ in range(3))
    for sign in (1, -1):
        rho = float(torch.where(sign * x > 0, x, 0.0).square().mean().sqrt())
        on = (sign * w > 0).to(_DTYPE)
        half = _model(on * u, on * w, rho, rho, gamma, rates)
        norm_u, norm_w = half.norm_u(times), half.norm_w(times)
        dot += half.layer_alignment(times) * norm_u * norm_w
        square_u, square_w = square_u + norm_u**2, square_w + norm_w**2
    return dot / (square_u * square_w).sqrt()


def _model(u: Tensor, w: Tensor, rho: float, y: float, gamma: float, rates: tuple[float, float]) -> LinearModel:
    n = torch.ones(1, dtype=_DTYPE)
    return LinearModel.from_weights(
        u, w[..., None], n, y=y, rho=rho, gamma=gamma, rate_u=rates[0], rate_w=rates[1], loss="mean_square"
    )
