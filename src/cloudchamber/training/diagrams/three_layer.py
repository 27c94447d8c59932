"""The three-layer regime diagram: which layers of a deep ReLU network move, over the exponents of scale and rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import torch
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from cloudchamber._core.config import Config
from cloudchamber._core.seeding import generator
from cloudchamber.theory.coordinates import THREE_LAYER_POINTS
from cloudchamber.theory.regime import Regime, three_layer_regime
from cloudchamber.training.diagrams.chains import ChainNets, chain_flow
from cloudchamber.training.diagrams.plan import Values, Widths, as_axis, chunks_by_size, gathered, grid
from cloudchamber.training.diagrams.regimes import agreement, named_points, regimes
from cloudchamber.training.diagrams.samples import samples
from cloudchamber.training.flow.exponential import Exponential
from cloudchamber.training.flow.stops import LossRatio
from cloudchamber.training.sweep.chunks import Cell, Chunk, Outcome

POINTS = ("gamma", "gamma_prime_1", "gamma_prime_2")
LAYERS = ("first", "second", "output")
BEYOND = 0.25
"""how far off the boundary, in γ, a cell has to lie to be judged"""
_WEIGHTS = 2**21
_MOST_STEPS = 500


class ThreeLayerOptions(Config):
    """`f = κ aᵀ σ(W² σ(W¹ x))`, all weights standard normal, `κ = m^−γ`, rates 1, `m^2γ'₁`, `m^(2γ'₁+2γ'₂)`."""

    gamma: Values = Field(default_factory=lambda: grid(1.0, 3.5, 6))
    gamma_prime_1: Values = Field(default_factory=lambda: grid(-1.0, 1.0, 9))
    gamma_prime_2: Values = Field(default_factory=lambda: [0.0])
    widths: Widths = Field(default_factory=lambda: [50, 100, 200, 400, 800])
    seeds: Annotated[int, Field(ge=2)] = 3
    """networks of each width at each point; their scatter gives the standard errors"""
    samples: PositiveInt = 4
    """points even in [−½, ½], y = x²"""
    loss_ratio: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    """the flow ends when the loss is this part of the first one; RD is the largest up to there"""
    tolerance: PositiveFloat = 1e-2
    """of a step of the flow, relative to the norm of each layer"""
    precision: Literal["float32", "float64"] = "float32"


def plan(options: ThreeLayerOptions) -> list[Chunk]:
    """Return chunks of networks of one width."""
    return chunks_by_size(
        _axes(options),
        size="width",
        task=options.model_dump(include={"samples", "loss_ratio", "tolerance", "precision"}),
        networks=lambda width: _WEIGHTS // width**2,
        cost=lambda width: float(width**2),
    )


def work(task: Mapping[str, Any], cells: Sequence[Cell]) -> dict[str, np.ndarray]:
    """Return the relative distances of networks of one width; a network depends on its own cell alone."""
    width = task["width"]
    gamma, first, second = (torch.tensor([cell[name] for cell in cells], dtype=torch.float64) for name in POINTS)
    drawn = [_start(task, cell) for cell in cells]
    flow = chain_flow(
        ChainNets(tuple(torch.stack(layer) for layer in zip(*drawn, strict=True)), width**-gamma),
        samples("line", task["samples"]),
        until=LossRatio(task["loss_ratio"]),
        rates={"W2": width ** (2 * first), "W3": width ** (2 * first + 2 * second)},
        method=Exponential(task["tolerance"]),
        most_steps=_MOST_STEPS,
        dtype=getattr(torch, task["precision"]),
    )
    return {
        "relative_distance": torch.stack(list(flow.relative_distance.values()), 1).numpy(),
        "loss_ratio": (flow.loss / flow.losses[:, 0]).numpy(),
        "steps": flow.steps.to(torch.float64).numpy(),
    }


def read(options: ThreeLayerOptions, chunks: Sequence[Chunk], outcomes: Mapping[str, Outcome]) -> xr.Dataset:
    """Return the diagram."""
    trailing = {"relative_distance": {"layer": LAYERS}, "loss_ratio": {}, "steps": {}}
    networks = gathered(_axes(options), chunks, outcomes, trailing)
    found = regimes(networks, POINTS, _theory, options.loss_ratio)
    return found.assign(named_points(THREE_LAYER_POINTS, POINTS))


def compare(diagram: xr.Dataset) -> str:
    """Return how far theory and networks agree, layer by layer."""
    return agreement(diagram, diagram.margin, BEYOND)


def _axes(options: ThreeLayerOptions) -> dict[str, list[Any]]:
    points = {name: as_axis(getattr(options, name)) for name in POINTS}
    return {**points, "width": options.widths, "seed": list(range(options.seeds))}


def _start(task: Mapping[str, Any], cell: Cell) -> list[Tensor]:
    place = [f"{cell[name]!r}" for name in POINTS]
    random = generator(cell["seed"], "three-layer regime", task["width"], *place)
    dtype, sizes = getattr(torch, task["precision"]), [2, task["width"], task["width"], 1]
    # Drawn in float64 whatever the precision of the flow: it then starts from the same network.
    return [
        torch.randn(after, before, generator=random, dtype=torch.float64).to(dtype) for before, after in pairwise(sizes)
    ]


def _theory(gamma: float, first: float, second: float) -> dict[str, Regime]:
    found = three_layer_regime(gamma, first, second)
    return {layer: getattr(found, layer) for layer in LAYERS}
