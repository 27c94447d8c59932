"""The exponents diagram: frozen, kernel, learning or unstable, measured on two-layer linear networks that grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated, Any

import numpy as np
import torch
import xarray as xr
from pydantic import Field, PositiveFloat
from torch import Tensor

from cloudchamber._core.config import Config
from cloudchamber._core.seeding import generator
from cloudchamber.theory.parametrizations import TABLE_1
from cloudchamber.training.diagrams.plan import Values, Widths, as_axis, chunks_by_size, gathered, grid
from cloudchamber.training.diagrams.regimes import named_points
from cloudchamber.training.diagrams.scalings import Over, Scaled, drift_exponent, named_rates, scaled, stable_rate
from cloudchamber.training.diagrams.slopes import log, slopes
from cloudchamber.training.flow.explicit import DormandPrince
from cloudchamber.training.flow.gradient_flow import gradient_flow
from cloudchamber.training.flow.result import GradientFlow
from cloudchamber.training.flow.stops import LossRatio
from cloudchamber.training.flow.two_layer import TwoLayerNets
from cloudchamber.training.sweep.chunks import Cell, Chunk, Outcome

MEASURED = ("learning_time", "kernel_drift", "loss_ratio")
UNDECIDED = "undecided"
_FACTORS = ("gamma", "rate_u", "rate_w")
_DECADES: Mapping[Over, Sequence[float]] = {
    "rates": (2.0, 2.5, 3.0, 3.5, 4.0),
    "initializations": (2.0, 3.0, 4.0, 5.0, 6.0),
    "table_1": (2.0, 2.5, 3.0, 3.5, 4.0),
}
_NEURONS = 2**20
_MOST_STEPS = 5000
_FIRST, _LAST = 9 / 16, 1 / 16
_DESCRIPTIONS = {
    "learning_time": "time in which the residual falls from 3/4 to 1/4 of the first",
    "kernel_drift": "|K(end)/K(0) − 1|",
    "loss_ratio": "last loss over first",
    "time_slope": "d log(learning time)/d log κ",
    "drift_slope": "d log(kernel drift)/d log κ",
    "phase": "by the slopes; undecided if an interval holds the value that decides",
    "predicted_phase": "theory's",
}


class ExponentsOptions(Config):
    """`f = γ uᵀW x` on one direction, E(f − y)² with y = 1, all sizes powers of κ (xu2024, Section 3)."""

    over: Over = "rates"
    """rates: (c_gamma, c_eta) of a wide network; initializations: (c_u, c_w) at finite width; table_1: its 20 cells"""
    c_gamma: Values = Field(default_factory=lambda: grid(-1.5, 0.0, 7))
    c_eta: Values = Field(default_factory=lambda: grid(-1.5, 2.0, 15))
    c_u: Values = Field(default_factory=lambda: grid(-1.0, 1.0, 9))
    c_w: Values = Field(default_factory=lambda: grid(-1.0, 1.0, 9))
    kappa: Widths | None = None
    """null = 100 … 10 000, and 100 … 1 000 000 over initializations, which have a finite width"""
    finite_width: Annotated[int, Field(ge=2)] = 16
    """of networks with c_d = 0"""
    seeds: Annotated[int, Field(ge=2)] = 20
    """networks of each size in each cell; their scatter gives the standard errors"""
    threshold: PositiveFloat = 0.1
    """a slope of at most this counts as 0; the smallest other one that theory predicts on these grids is 1/4"""
    loss_ratio: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    tolerance: PositiveFloat = 1e-7


def plan(options: ExponentsOptions) -> list[Chunk]:
    """Return chunks of networks of one κ."""
    return chunks_by_size(
        _axes(options),
        size="kappa",
        task=options.model_dump(include={"over", "finite_width", "loss_ratio", "tolerance"}),
        networks=lambda kappa: _NEURONS // _widest(options, kappa),
        cost=lambda kappa: float(_widest(options, kappa)),
    )


def work(task: Mapping[str, Any], cells: Sequence[Cell]) -> dict[str, np.ndarray]:
    """Return learning time and kernel drift of networks of one κ; a network depends on its own cell alone."""
    widths = np.array([_width(task, scaled(task["over"], cell)) for cell in cells])
    found = {name: np.full(len(cells), np.nan) for name in MEASURED}
    for width in np.unique(widths):
        places = np.flatnonzero(widths == width)
        for name, values in _of_one_width(task, [cells[int(place)] for place in places], int(width)).items():
            found[name][places] = values
    return found


def read(options: ExponentsOptions, chunks: Sequence[Chunk], outcomes: Mapping[str, Outcome]) -> xr.Dataset:
    """Return the diagram."""
    networks = gathered(_axes(options), chunks, outcomes, {name: {} for name in MEASURED})
    fitted = networks.loss_ratio <= options.loss_ratio
    dataset = networks.assign(fitted=fitted.mean("seed"))
    for name, quantity in (("time", "learning_time"), ("drift", "kernel_drift")):
        logs = log(networks[quantity].where(fitted & (networks[quantity] > 0)))
        found = slopes(logs.transpose(..., "kappa", "seed"), over="kappa")
        dataset = dataset.assign({f"{name}_{key}": value for key, value in found.data_vars.items()})
    points = list(_points(options))
    dataset = dataset.assign(_predicted(options, points)).assign(phase=_phase(dataset, options.threshold))
    for name, words in _DESCRIPTIONS.items():
        dataset[name].attrs["long_name"] = words
    return dataset.assign(_overlay(options)).assign_attrs(x=points[0], y=points[1])


def compare(diagram: xr.Dataset) -> str:
    """Return in how many cells the measured phase is theory's, and how far the slopes are from theirs."""
    same = diagram.phase == diagram.predicted_phase
    undecided = diagram.phase == UNDECIDED
    lines = [
        f"{int(same.sum())} of {same.size} cells are in the phase that theory says, {int(undecided.sum())} undecided, "
        f"{int((~same & ~undecided).sum())} in another"
    ]
    for name, words in (("time", "learning time"), ("drift", "kernel drift")):
        away = abs(diagram[f"{name}_slope"] - diagram[f"predicted_{name}_slope"])
        inside = away <= diagram[f"{name}_slope_interval"]
        lines.append(
            f"{words}: largest deviation of a slope {float(away.max()):.2f}, median {float(away.median()):.3f}; "
            f"theory's is inside the 95 % interval in {int(inside.sum())} cells"
        )
    return "\n".join(lines)


def _points(options: ExponentsOptions) -> dict[str, list[Any]]:
    if options.over == "table_1":
        rows, columns = (list(dict.fromkeys(key[place] for key in TABLE_1)) for place in (0, 1))
        return {"scaling": columns, "row": rows}
    names = ("c_gamma", "c_eta") if options.over == "rates" else ("c_u", "c_w")
    return {name: as_axis(getattr(options, name)) for name in names}


def _axes(options: ExponentsOptions) -> dict[str, list[Any]]:
    return {**_points(options), "kappa": _kappas(options), "seed": list(range(options.seeds))}


def _kappas(options: ExponentsOptions) -> list[int]:
    return options.kappa or [int(10**power) for power in _DECADES[options.over]]


def _widest(options: ExponentsOptions, kappa: int) -> int:
    return options.finite_width if options.over == "initializations" else kappa


def _width(task: Mapping[str, Any], of: Scaled) -> int:
    power = float(of.exponents.c_d)
    return round(task["kappa"] ** power) if power else task["finite_width"]


def _of_one_width(task: Mapping[str, Any], cells: Sequence[Cell], width: int) -> dict[str, np.ndarray]:
    sizes = [_sizes(scaled(task["over"], cell), task["kappa"]) for cell in cells]
    gamma, rate_u, rate_w = (torch.tensor([one[key] for one in sizes], dtype=torch.float64) for key in _FACTORS)
    drawn = [_start(task, cell, width, one) for cell, one in zip(cells, sizes, strict=True)]
    u, w = (torch.stack(part) for part in zip(*drawn, strict=True))
    flow = gradient_flow(
        TwoLayerNets(u, w[:, :, None], gamma, activation="identity"),
        (torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)),
        until=LossRatio(task["loss_ratio"]),
        rates={"a": rate_u, "w": rate_w},
        method=DormandPrince(task["tolerance"]),
        most_steps=_MOST_STEPS,
    )
    last_u, last_w = flow.parameters["a"], flow.parameters["w"][:, :, 0]
    drift = _kernel(last_u, last_w, gamma, rate_u, rate_w) / _kernel(u, w, gamma, rate_u, rate_w) - 1
    return {
        "learning_time": _learning_times(flow),
        "kernel_drift": drift.abs().numpy(),
        "loss_ratio": (flow.loss / flow.losses[:, 0]).numpy(),
    }


def _sizes(of: Scaled, kappa: int) -> dict[str, float]:
    """The numbers that are powers of κ; of the weights the standard deviations, where exponents are of variances."""
    c = of.exponents
    powers = {"gamma": c.c_gamma, "rate_u": c.c_eta_u, "rate_w": c.c_eta_w, "std_u": c.c_u / 2, "std_w": c.c_w / 2}
    return {name: float(kappa) ** float(power) for name, power in powers.items()}


def _start(task: Mapping[str, Any], cell: Cell, width: int, sizes: Mapping[str, float]) -> tuple[Tensor, Tensor]:
    place = [f"{name}={cell[name]!r}" for name in sorted(cell) if name != "seed"]
    random = generator(cell["seed"], "exponents", task["kappa"], *place)
    u, w = torch.randn(2, width, generator=random, dtype=torch.float64)
    if scaled(task["over"], cell).zero_initial_output:
        w = w - (u @ w) / (u @ u) * u
    return sizes["std_u"] * u, sizes["std_w"] * w


def _kernel(u: Tensor, w: Tensor, gamma: Tensor, rate_u: Tensor, rate_w: Tensor) -> Tensor:
    return gamma**2 * (rate_u * w.square().sum(1) + rate_w * u.square().sum(1))


def _learning_times(flow: GradientFlow) -> np.ndarray:
    """The time between two parts of the first loss, whose logarithm is interpolated between steps."""
    times = []
    for time, loss in zip(flow.times.numpy(), flow.losses.numpy(), strict=True):
        known = np.isfinite(time)
        falling = -np.log(loss[known] / loss[0])
        reached = np.interp([-np.log(_FIRST), -np.log(_LAST)], falling, time[known], right=np.nan)
        times.append(reached[1] - reached[0])
    return np.array(times)


def _predicted(options: ExponentsOptions, points: Sequence[str]) -> dict[str, Any]:
    axes = _points(options)
    cells = [scaled(options.over, dict(zip(axes, values, strict=True))) for values in product(*axes.values())]
    shape = tuple(len(values) for values in axes.values())
    return {
        "predicted_phase": (points, np.array([cell.phase.name for cell in cells]).reshape(shape)),
        "predicted_time_slope": (
            points,
            np.array([float(cell.phase.learning_time_exponent) for cell in cells]).reshape(shape),
        ),
        "predicted_drift_slope": (points, np.array([float(drift_exponent(cell)) for cell in cells]).reshape(shape)),
    }


def _phase(dataset: xr.Dataset, threshold: float) -> xr.DataArray:
    """Frozen or unstable by the learning time; else kernel where the drift vanishes."""
    time, drift = dataset.time_slope, dataset.drift_slope
    still = xr.where(drift < -threshold, "kernel", "learning")
    named = xr.where(time > threshold, "frozen", xr.where(time < -threshold, "unstable", still))
    settled = abs(time) > threshold
    near_time = abs(abs(time) - threshold) <= dataset.time_slope_interval
    near_drift = abs(drift + threshold) <= dataset.drift_slope_interval
    unknown = near_time | (near_drift & ~settled) | time.isnull() | drift.isnull()
    return xr.where(unknown, UNDECIDED, named)


def _overlay(options: ExponentsOptions) -> dict[str, xr.DataArray]:
    """Where learning takes a time of order 1, and the named scalings, where the grid can show them."""
    if options.over != "rates":
        return {}
    fine = np.round(np.linspace(min(options.c_gamma) - 0.25, max(options.c_gamma) + 0.25, 81), 9)
    line = [float(stable_rate(value)) for value in fine]
    boundary = xr.DataArray(line, {"boundary_c_gamma": fine}, "boundary_c_gamma")
    return {"boundary": boundary, **named_points(named_rates(), ("c_gamma", "c_eta"))}
