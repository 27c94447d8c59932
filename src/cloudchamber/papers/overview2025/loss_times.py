"""How long the training of two-layer networks stays at which loss: 50 trials of a width as one stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from scipy.signal import find_peaks
from torch import Tensor, nn

from cloudchamber._core.seeding import generator
from cloudchamber.models.activations import ActivationName, activation
from cloudchamber.training import SGD, train_ensemble

GROUPS = 5
"""trials are taken together in so many groups, each of which gives a number"""
BIN = 0.05
"""of log10 of the loss"""
EDGES = np.arange(-130, 11) * BIN
_EVERY = 10
_PROMINENCE, _LEAST = 0.3, 0.003


def _teeth(x: Tensor) -> Tensor:
    return (
        -torch.relu(x)
        + torch.relu(2 * (x + 0.3))
        - torch.relu(1.5 * (x - 0.4))
        + torch.relu(0.5 * (x - 0.8))
    )  # fmt: skip


TARGETS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sine": lambda x: torch.sin(1.5 * torch.pi * x),
    "section 3": _teeth,
    "three tanh": lambda x: (
        torch.tanh(4 * (x + 0.5)) - torch.tanh(3 * x) + 0.5 * torch.tanh(5 * (x - 0.5))
    ),
}  # fmt: skip
"""sin(3πx/2), the target of Section 3, and a network of three tanh neurons"""


def samples(target: str, count: int) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1"]]:
    """Return so many points even in [−1, 1] and the target there, in float64."""
    x = torch.linspace(-1, 1, count, dtype=torch.float64)[:, None]
    return x, TARGETS[target](x)


def loss_times(
    folder: Path,  # noqa: ARG001 - a study's; nothing is kept on the way
    *,
    target: str,
    act: ActivationName,
    width: int,
    std: float,
    power: float,
    count: int,
    lr: float,
    steps: int,
    seeds: int,
) -> xr.Dataset:
    """Train a two-layer network with many seeds by gradient descent on all samples, and count epochs by loss.

    Args:
        folder: of the study.
        target: of `TARGETS`.
        act: the activation.
        width: m.
        std: of all parameters at the start, times m^−power.
        power: how it falls with the width.
        count: samples.
        lr: learning rate.
        steps: epochs.
        seeds: trials.

    Returns:
        `density`, the share of epochs by group of trials and bin of log10 of the loss; `share_low`, of epochs with a
        loss below a tenth of that of a zero output, by group; by trial `left`, the first epoch with a loss below half
        of that (steps if none), and `end`, the last loss.
    """
    x, y = (part.float() for part in samples(target, count))
    models = [_network(act, width, std * width**-power, seed) for seed in range(seeds)]
    stack = train_ensemble(
        models, (x, y), loss="mse", optimizer=SGD(lr=lr), steps=steps, losses_every=_EVERY, compile=False
    )
    losses, zero = stack.losses.double().nan_to_num(nan=torch.inf).numpy(), float(y.square().mean())
    groups = np.array_split(np.log10(losses), min(GROUPS, seeds))
    density = [np.histogram(np.clip(one, EDGES[0], EDGES[-1]), EDGES)[0] / one.size for one in groups]
    below = losses < 0.5 * zero
    left = np.where(below.any(1), stack.loss_steps.numpy()[below.argmax(1)], steps)
    return xr.Dataset(
        {
            "density": (("group", "bin"), np.array(density, dtype=np.float32)),
            "share_low": ("group", [float((10**one < 0.1 * zero).mean()) for one in groups]),
            "left": ("trial", left.astype(float)),
            "end": ("trial", losses[:, -1]),
        },
        coords={"bin": (EDGES[:-1] + EDGES[1:]) / 2},
    )


def _network(act: ActivationName, width: int, std: float, seed: int) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(1, width), activation(act), nn.Linear(width, 1, bias=False))
    random = generator(seed, "loss times")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(std * torch.randn(parameter.shape, generator=random))
    return model


def plateaus(density: Float[np.ndarray, " bins"]) -> Float[np.ndarray, " peaks"]:
    """Return log10 of the losses at which a width stays: bins that stand out twofold and hold 0.3 % of the epochs.

    >>> density = np.full(140, 1e-5)
    >>> density[[40, 100]] = 0.1, 0.5
    >>> [round(float(loss), 3) for loss in plateaus(density)]
    [-4.475, -1.475]
    """
    padded = np.log10(np.concatenate([[1e-6], np.maximum(density, 1e-6), [1e-6]]))
    peaks = find_peaks(padded, prominence=_PROMINENCE, height=np.log10(_LEAST))[0] - 1
    return (EDGES[:-1] + BIN / 2)[peaks]


def shared_share(peaks: Mapping[int, np.ndarray]) -> tuple[dict[int, float], dict[int, float]]:
    """Return by width the share of its plateaus within a bin of one of another width, and what chance gives.

    Chance is the part of the range of all plateaus that lies within a bin of one of another width.

    >>> shares, chance = shared_share({2: np.array([-1.0]), 4: np.array([-1.0, -2.0])})
    >>> shares
    {2: 1.0, 4: 0.5}
    """
    shares, chance = {}, {}
    everything = np.concatenate(list(peaks.values()))
    axis = np.arange(everything.min(), everything.max() + BIN / 2, BIN)
    for width, own in peaks.items():
        others = np.concatenate([of for other, of in peaks.items() if other != width])
        shares[width] = _near(own, others)
        chance[width] = _near(axis, others)
    return shares, chance


def _near(places: np.ndarray, others: np.ndarray) -> float:
    if not len(places) or not len(others):
        return float("nan")
    return float((np.abs(places[:, None] - others).min(1) < 1.5 * BIN).mean())
