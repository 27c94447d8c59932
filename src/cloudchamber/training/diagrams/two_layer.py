"""The two-layer regime diagram: which networks condense, over the exponents of output scale and rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from cloudchamber._core.config import Config
from cloudchamber._core.seeding import generator
from cloudchamber.theory.coordinates import TWO_LAYER_POINTS
from cloudchamber.theory.regime import Regime, boundary_distance, regime
from cloudchamber.training.diagrams.plan import Values, Widths, as_axis, chunks_by_size, gathered, grid
from cloudchamber.training.diagrams.regimes import agreement, named_points, regimes
from cloudchamber.training.diagrams.samples import INPUTS, SampleSet, samples
from cloudchamber.training.flow.exponential import Exponential
from cloudchamber.training.flow.gradient_flow import gradient_flow
from cloudchamber.training.flow.stops import LossRatio
from cloudchamber.training.flow.two_layer import TwoLayerNets
from cloudchamber.training.sweep.chunks import Cell, Chunk, Outcome

POINTS = ("gamma", "gamma_prime")
LAYERS = ("input", "output")
BEYOND = 0.1
"""how far off the boundary a cell has to lie to be judged"""
_NEURONS = 2**20
_MOST_STEPS = 2000


class TwoLayerOptions(Config):
    """`f = κ Σ_k a_k σ(w_k·x)` from standard normal a, w; `κ = m^−γ`, rates `m^γ'` of a, `m^−γ'` of w; ½ E(f − y)²."""

    gamma: Values = Field(default_factory=lambda: grid(0.6, 1.4, 9))
    gamma_prime: Values = Field(default_factory=lambda: grid(-0.4, 0.4, 9))
    widths: Widths = Field(default_factory=lambda: [1000, 5000, 10000, 20000, 40000])
    seeds: Annotated[int, Field(ge=2)] = 3
    """networks of each width at each point; their scatter gives the standard errors"""
    data: SampleSet = "line"
    """line: x even in [−½, ½], y = x²; mnist: even or odd digits; digits: the same without files"""
    samples: PositiveInt = 4
    loss_ratio: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    """the flow ends when the loss is this part of the first one; RD is the largest up to there"""
    tolerance: PositiveFloat = 1e-2
    """of a step of the flow, relative to the norm of each layer"""
    precision: Literal["float32", "float64"] = "float32"


def plan(options: TwoLayerOptions) -> list[Chunk]:
    """Return chunks of networks of one width."""
    inputs = INPUTS[options.data]
    return chunks_by_size(
        _axes(options),
        size="width",
        task=options.model_dump(include={"data", "samples", "loss_ratio", "tolerance", "precision"}),
        networks=lambda width: 2 * _NEURONS // (width * inputs),
        cost=float,
    )


def work(task: Mapping[str, Any], cells: Sequence[Cell]) -> dict[str, np.ndarray]:
    """Return the relative distances of networks of one width; a network depends on its own cell alone."""
    dtype = getattr(torch, task["precision"])
    data, width = samples(task["data"], task["samples"]), task["width"]
    drawn = [_start(task, cell, data[0].shape[1]) for cell in cells]
    gamma, ratio = (torch.tensor([cell[name] for cell in cells], dtype=torch.float64) for name in POINTS)
    nets = TwoLayerNets(torch.stack([a for a, _ in drawn]), torch.stack([w for _, w in drawn]), width**-gamma)
    flow = gradient_flow(
        nets,
        data,
        until=LossRatio(task["loss_ratio"]),
        loss="half_mse",
        rates={"a": width**ratio, "w": width**-ratio},
        method=Exponential(task["tolerance"]),
        most_steps=_MOST_STEPS,
        dtype=dtype,
    )
    distances = [flow.relative_distance["w"], flow.relative_distance["a"]]
    return {
        "relative_distance": torch.stack(distances, 1).numpy(),
        "loss_ratio": (flow.loss / flow.losses[:, 0]).numpy(),
        "steps": flow.steps.to(torch.float64).numpy(),
    }


def read(options: TwoLayerOptions, chunks: Sequence[Chunk], outcomes: Mapping[str, Outcome]) -> xr.Dataset:
    """Return the diagram."""
    layer = {"relative_distance": {"layer": LAYERS}, "loss_ratio": {}, "steps": {}}
    networks = gathered(_axes(options), chunks, outcomes, layer)
    found = regimes(networks, POINTS, _theory, options.loss_ratio)
    # The roles of a and w are exchanged by the sign of γ'.
    signs = {"input": 1, "output": -1}
    distance = [
        [[boundary_distance(gamma, signs[layer] * ratio) for layer in LAYERS] for ratio in found.gamma_prime.values]
        for gamma in found.gamma.values
    ]
    words = {"long_name": "distance from theory's boundary in (γ, γ'), positive where condensed"}
    found["boundary_distance"] = ((*POINTS, "layer"), np.array(distance), words)
    return found.assign(named_points(TWO_LAYER_POINTS, POINTS))


def compare(diagram: xr.Dataset) -> str:
    """Return how far theory and networks agree, layer by layer."""
    return agreement(diagram, diagram.boundary_distance, BEYOND)


def _axes(options: TwoLayerOptions) -> dict[str, list[Any]]:
    return {
        "gamma": as_axis(options.gamma),
        "gamma_prime": as_axis(options.gamma_prime),
        "width": options.widths,
        "seed": list(range(options.seeds)),
    }


def _start(task: Mapping[str, Any], cell: Cell, inputs: int) -> tuple[Tensor, Tensor]:
    place = [f"{cell[name]!r}" for name in POINTS]
    random = generator(cell["seed"], "two-layer regime", task["width"], *place)
    # Drawn in float64 whatever the precision of the flow: it then starts from the same network.
    drawn = torch.randn(task["width"], 1 + inputs, generator=random, dtype=torch.float64)
    drawn = drawn.to(getattr(torch, task["precision"]))
    return drawn[:, 0], drawn[:, 1:]


def _theory(gamma: float, ratio: float) -> dict[str, Regime]:
    return {"input": regime(gamma, ratio), "output": regime(gamma, -ratio)}
