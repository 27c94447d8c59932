"""The runs that Figures 8 and 9 share: which ways of training are compared, at which sizes, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes

from cloudchamber.measures import neuron_amplitude, orientation_angle
from cloudchamber.papers.exhibit import Scale
from cloudchamber.papers.overview2025.dropout import KINDS, trained
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.plot.colors import INK, MUTED, class_colors

COMMON, SMALL = 0.2, 2.0
"""γ of the paper's initialization N(0, 1/m^γ), and of the small one: below the border γ = 1 and above it."""
DROPOUT, REGULARIZER, NONE = (f"{kind}, γ = {COMMON:g}" for kind in KINDS)
NONE_SMALL = f"none, γ = {SMALL:g}"
SHOWN = (NONE, DROPOUT, REGULARIZER, NONE_SMALL)
COLORS = tuple(color for place, color in enumerate(class_colors(5)) if place != 3)
"""One per way that is shown; the palette's grey is that of the start."""
IDEAL = 0.01
"""The ideal loss, as a share of the zero function's."""
_GRID = tuple((kind, gamma) for kind in KINDS for gamma in (COMMON, 1.0, SMALL))
_FOUR = (*((kind, COMMON) for kind in KINDS), ("none", SMALL))
_SIZES: dict[Scale, dict[str, Any]] = {
    "smoke": {"width": 30, "samples": 10, "steps": 200, "looks": 6, "ways": _FOUR},
    "laptop": {"width": 200, "samples": 20, "steps": 40_000, "looks": 60, "ways": _GRID},
    "paper": {"width": 1000, "samples": 20, "steps": 60_000, "looks": 60, "ways": _FOUR},
}


def study(scale: Scale, activation: str, optimizer: str, seed: int) -> Study:
    """Return a study: Adam at the paper's rate, or gradient descent at 1/m, which is that rate at the paper's width."""
    sizes = _SIZES[scale]
    lr = 1e-3 if optimizer == "adam" else 1 / sizes["width"]
    return Study(
        trained,
        {**sizes, "activation": activation, "optimizer": optimizer, "lr": lr, "keep": 0.9, "seed": seed},
    )


def seeds(scale: Scale) -> range:
    """Return the seeds of a scale."""
    return range(1 if scale == "smoke" else 3)


def studies(scale: Scale, cases: Mapping[str, tuple[str, str]]) -> dict[str, Study]:
    """Return a study for each case (activation, optimizer) and seed."""
    return {f"{name}, seed {seed}": study(scale, *case, seed) for name, case in cases.items() for seed in seeds(scale)}


def results(runs: Mapping[str, StudyRun], name: str) -> list[xr.Dataset]:
    """Return a case's results, one per seed."""
    return [run.result for key, run in runs.items() if key.rpartition(", seed ")[0] == name]


def curves(runs: Mapping[str, StudyRun], names: list[str]) -> xr.Dataset:
    """Return loss over that of the zero function, and orientations: (case, seed, way, step)."""
    parts = [xr.concat([_of_zero(found) for found in results(runs, name)], "seed") for name in names]
    return xr.concat(parts, xr.Variable("case", names)).drop_attrs()


def _of_zero(found: xr.Dataset) -> xr.Dataset:
    return found[["loss", "orientations"]].assign(loss=found.loss / found.loss_of_zero)


def lines(ax: Axes, values: xr.DataArray) -> None:
    """Draw each seed of the ways that are shown over the steps."""
    for way, color in zip(SHOWN, COLORS, strict=True):
        for seed in range(values.sizes["seed"]):
            label = way if seed == 0 else None
            ax.plot(values.step[1:], values.sel(way=way).isel(seed=seed)[1:], color=color, linewidth=1, label=label)
    ax.set_xscale("log")
    ax.spines[["top", "right"]].set_visible(False)


def cloud(ax: Axes, parameters: np.ndarray, *, signed: bool, color: str) -> None:
    """Draw amplitude |a|‖w‖ over orientation, of start (grey) and end: (end, row, neuron)."""
    for values, shade in zip(parameters, (MUTED, color), strict=True):
        inward = torch.from_numpy(values[:2].T.copy())
        angle = np.degrees(orientation_angle(inward).numpy())
        height = np.abs(values[2]) * neuron_amplitude(inward).numpy()
        order = angle if signed else (angle + 90) % 180 - 90
        ax.plot(order, height / height.max(), ".", color=shade, markersize=3 if shade == MUTED else 4)
    ax.set_ylim(-0.05, 1.08)
    ax.set_xticks([-180, -90, 0, 90, 180] if signed else [-90, -45, 0, 45, 90])
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize="small", colors=INK)
