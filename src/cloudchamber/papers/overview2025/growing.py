"""Figure 1's networks: two-layer ReLU networks on a piecewise linear target, many seeds as one stack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from cloudchamber._core.seeding import generator
from cloudchamber.training import SGD, train_ensemble

Column = Float[Tensor, "n 1"]


def target(x: Column) -> Column:
    """Return `−σ(x) + σ(2(x + 0.3)) − σ(1.5(x − 0.4)) + σ(0.5(x − 0.8))`, σ = ReLU (overview2025, Section 3).

    >>> target(torch.tensor([[-1.0], [0.0]])).T
    tensor([[0.0000, 0.6000]])
    """
    relu = torch.relu
    return -relu(x) + relu(2 * (x + 0.3)) - relu(1.5 * (x - 0.4)) + relu(0.5 * (x - 0.8))


def samples(count: int) -> tuple[Column, Column]:
    """Return x even in [−1, 1] and the target there.

    >>> samples(3)[0].T
    tensor([[-1.,  0.,  1.]])
    """
    x = torch.linspace(-1, 1, count)[:, None]
    return x, target(x)


def network(width: int, seed: int) -> nn.Sequential:
    """Return `Σ_k a_k σ(w_k x + b_k)`, all parameters with the variance 1/m⁴, m the width: standard deviation 1/m²."""
    chain = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, 1, bias=False))
    random = generator(seed, "overview2025", "two-layer ReLU network")
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) / width**2)
    return chain


def trained(
    folder: Path,  # noqa: ARG001 - a study's; nothing is kept on the way
    *,
    width: int,
    lr: float,
    count: int,
    epochs: Sequence[int],
    seeds: int,
) -> xr.Dataset:
    """Train with gradient descent, full batch, on the squared error (without ½); an epoch is an update.

    Args:
        folder: of the study.
        width: neurons.
        lr: learning rate.
        count: samples.
        epochs: at which networks are looked at, from 0, rising.
        seeds: how many, from 0.

    Returns:
        `w` (seed, epoch, neuron, wb): input weight and bias; `a` (seed, epoch, neuron); `loss` (seed, epoch).
    """
    x, y = samples(count)
    models = [network(width, seed) for seed in range(seeds)]
    found = train_ensemble(models, (x, y), loss="mse", optimizer=SGD(lr=lr), steps=epochs[-1], snapshot_steps=epochs)
    inward = torch.stack([found.snapshots["0.weight"][..., 0], found.snapshots["0.bias"]], -1)
    outward = found.snapshots["2.weight"][:, :, 0]
    outputs = values(inward, outward, x)
    return xr.Dataset(
        {
            "w": (("seed", "epoch", "neuron", "wb"), inward.numpy()),
            "a": (("seed", "epoch", "neuron"), outward.numpy()),
            "loss": (("seed", "epoch"), (outputs - y[:, 0]).square().mean(-1).numpy()),
        },
        {"epoch": list(epochs), "wb": ["w", "b"]},
        {"samples": count},
    )


def values(inward: Float[Tensor, "*k m 2"], outward: Float[Tensor, "*k m"], x: Column) -> Float[Tensor, "*k n"]:
    """Return what networks give for x.

    >>> values(torch.tensor([[1.0, 0.5]]), torch.tensor([2.0]), torch.tensor([[-1.0], [1.0]]))
    tensor([0., 3.])
    """
    return (outward[..., None] * before_gate(inward, x).relu()).sum(-2)


def before_gate(inward: Float[Tensor, "*k m 2"], x: Column) -> Float[Tensor, "*k m n"]:
    """Return `w_k x + b_k`."""
    return inward[..., :1] * x[:, 0] + inward[..., 1:]


def shown_epochs(found: xr.Dataset, wanted: Sequence[int]) -> list[int]:
    """Return the epochs of a run that stand for the paper's: themselves, or others where a run is shorter."""
    held = found.epoch.values
    if wanted[-1] == held[-1]:
        return [int(epoch) for epoch in wanted]
    places = np.linspace(1, len(held) - 1, len(wanted)).round().astype(int)
    return [int(held[place]) for place in places]
