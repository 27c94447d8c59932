"""Figure 6's networks: two-layer networks at the initial stage, under gradient flow, with the directions predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import xarray as xr
from torch import Tensor

from cloudchamber._core.seeding import generator
from cloudchamber.models import ActivationName, activation
from cloudchamber.papers.zhou2022.predictions import Layer
from cloudchamber.theory import condensed_directions, multiplicity
from cloudchamber.training import LossRatio, Steps, TwoLayerNets, gradient_flow

Start = Literal["equal", "normal"]
_MOST_STEPS = 20_000


def samples(count: int) -> tuple[Tensor, Tensor]:
    """Return (x, 1), x even in [−1, 1.5], and sin(3x) + sin(6x)/2.

    >>> samples(3)[0][:, 0]
    tensor([-1.0000,  0.2500,  1.5000], dtype=torch.float64)
    """
    x = torch.linspace(-1, 1.5, count, dtype=torch.float64)
    return torch.stack([x, torch.ones_like(x)], 1), torch.sin(3 * x) + torch.sin(6 * x) / 2


def started(start: Start, width: int, seeds: int) -> tuple[Tensor, Tensor]:
    """Return output weights (seed, m) and input weights (seed, m, 2) before training.

    "equal": a = ±0.1, w and b of standard deviation 1e-4: a hardly changes while w turns, and is as large for all
    neurons. "normal": all of standard deviation 0.005, as in zhou2022, Figure 5.
    """
    drawn = []
    for seed in range(seeds):
        random = generator(seed, "overview2025", "initial condensation")
        drawn.append(torch.randn(width, 3, generator=random, dtype=torch.float64))
    stack = torch.stack(drawn)
    a, w = stack[:, :, 0], stack[:, :, 1:]
    return (0.1 * a.sign(), 1e-4 * w) if start == "equal" else (0.005 * a, 0.005 * w)


def flowed(
    folder: Path,  # noqa: ARG001 - a study's; nothing is kept on the way
    *,
    activation: ActivationName,
    start: Start,
    width: int,
    count: int,
    ratio: float,
    seeds: int,
) -> xr.Dataset:
    """Return networks at the start and where gradient flow has brought the loss to a part of its first value.

    Args:
        folder: of the study.
        activation: tanh or xtanh.
        start: as for `started`.
        width: neurons.
        count: samples.
        ratio: the part.
        seeds: how many, from 0.

    Returns:
        `a` (seed, time, neuron), `w` (seed, time, neuron, wb), `loss_ratio` (seed); times are "start" and "end".
    """
    a, w = started(start, width, seeds)
    nets = TwoLayerNets(a, w, activation=activation)
    flow = gradient_flow(nets, samples(count), loss="half_mse", until=(LossRatio(ratio), Steps(_MOST_STEPS)))
    return xr.Dataset(
        {
            "a": (("seed", "time", "neuron"), torch.stack([a, flow.parameters["a"]], 1).numpy()),
            "w": (("seed", "time", "neuron", "wb"), torch.stack([w, flow.parameters["w"]], 1).numpy()),
            "loss_ratio": ("seed", (flow.loss / flow.losses[:, 0]).numpy()),
        },
        {"time": ["start", "end"], "wb": ["w", "b"]},
        {"samples": count, "activation": activation},
    )


def layer(found: xr.Dataset, seed: int) -> Layer:
    """Return the hidden layer at the end, with what theory predicts from the residuals at the start."""
    inputs, y = samples(int(found.attrs["samples"]))
    function = activation(found.attrs["activation"])
    a, w = (torch.from_numpy(found[name].values[seed]) for name in ("a", "w"))
    residuals = function(inputs @ w[0].T) @ a[0] - y
    predicted = condensed_directions(inputs, residuals, multiplicity(function))
    return Layer(inputs, residuals, w[1], a[1], function, predicted)


def grown(found: xr.Dataset, seed: int, times: float) -> Tensor:
    """Return which neurons are at least so many times as long at the end as at the start."""
    lengths = torch.from_numpy(found.w.values[seed]).norm(dim=-1)
    return lengths[1] >= times * lengths[0]
