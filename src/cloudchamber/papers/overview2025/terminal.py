"""Figure 2's networks: two-layer tanh networks at the end of training, from several initialization scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from cloudchamber._core.seeding import generator
from cloudchamber.training import Exponential, LossRatio, TwoLayerNets, gradient_flow

TARGETS: dict[str, Callable[[Tensor], Tensor]] = {
    "½ tanh(3x + 1)": lambda x: torch.tanh(3 * x + 1) / 2,
    "sin(2x + ½)": lambda x: torch.sin(2 * x + 0.5),
    "½ tanh(3x)": lambda x: torch.tanh(3 * x) / 2,
}
_MOST_STEPS = 5000


def samples(count: int, target: str) -> tuple[Tensor, Tensor]:
    """Return (x, 1), x even in [−1, 1], and the target there.

    >>> samples(3, "sin(2x + ½)")[0][:, 0]
    tensor([-1.,  0.,  1.], dtype=torch.float64)
    """
    x = torch.linspace(-1, 1, count, dtype=torch.float64)
    return torch.stack([x, torch.ones_like(x)], 1), TARGETS[target](x)


def fitted(
    folder: Path,  # noqa: ARG001 - a study's; nothing is kept on the way
    *,
    target: str,
    exponents: Sequence[float],
    width: int,
    count: int,
    ratio: float,
    tolerance: float,
    seeds: int,
) -> xr.Dataset:
    """Return what gradient flow of the squared error makes of `f = Σ_k a_k tanh(w_k x + b_k)` until it fits.

    All parameters are N(0, 1/m^γ) (variance) at the start; a seed starts from the same numbers at every γ but for their
    size.

    Args:
        folder: of the study.
        target: of `TARGETS`.
        exponents: γ.
        width: m.
        count: samples.
        ratio: the loss over its first at which the flow ends.
        tolerance: of a step of the flow, relative.
        seeds: how many, from 0.

    Returns:
        `a` (gamma, seed, neuron), `w` (gamma, seed, neuron, wb) at the end, `loss_ratio` and `steps` (gamma,
        seed).
    """
    random = [generator(seed, "overview2025", "tanh networks") for seed in range(seeds)]
    drawn = torch.stack([torch.randn(width, 3, generator=one, dtype=torch.float64) for one in random])
    data = samples(count, target)
    parts = [_flowed(drawn * width ** (-gamma / 2), data, ratio, tolerance) for gamma in exponents]
    return xr.concat(parts, xr.Variable("gamma", list(exponents)))


def _flowed(start: Tensor, data: tuple[Tensor, Tensor], ratio: float, tolerance: float) -> xr.Dataset:
    nets = TwoLayerNets(start[:, :, 0], start[:, :, 1:], activation="tanh")
    flow = gradient_flow(
        nets, data, loss="mse", until=LossRatio(ratio), method=Exponential(tolerance), most_steps=_MOST_STEPS
    )
    return xr.Dataset(
        {
            "a": (("seed", "neuron"), flow.parameters["a"].float().numpy()),
            "w": (("seed", "neuron", "wb"), flow.parameters["w"].float().numpy()),
            "loss_ratio": ("seed", (flow.loss / flow.losses[:, 0]).numpy()),
            "steps": ("seed", flow.steps.numpy()),
        }
    )
