"""Figures 3 and 50: the strengths s_1 … s_5 of the common directions of two classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Measured
from cloudchamber.papers.mlp2024.first_phase import LAYERS, class_names, measured_changes, reasons
from cloudchamber.plot.colors import INK, depth_colors

COUNT = 5


def claims(source: str, seeds: int = 3, label: str = "") -> tuple[Claim, ...]:
    """Return what the paper says of such a figure; `label` tells data sets apart."""
    return (
        Claim(
            f"tenfold{label}",
            "The primary common component is approximately ten times as strong as the secondary one.",
            "s_1/s_2, geometric mean over layers 2–7 and the two classes learned best",
            "the paper's 'approximately ten times' within a factor of two, which is ours",
            source,
            at_least=5.0,
            at_most=20.0,
            paper=(10.0,),
            over="mean of seeds",
            seeds=seeds,
        ),
        Claim(
            f"primary above all{label}",
            "The strength of the primary direction is much greater than that of the other directions.",
            "smallest s_1/s_i over i = 2 … 5, layers 2–7 and both classes",
            "the paper's words; that twice is the least that counts is ours",
            source,
            at_least=2.0,
            seeds=seeds,
        ),
    )


def strengths(runs: Mapping[str, Run]) -> xr.Dataset:
    """Return s_i of each run's two classes: (run, rank, layer, direction); NaN where no first phase ended."""
    values = np.full((len(runs), 2, len(LAYERS), COUNT), np.nan)
    names = np.full((len(runs), 2), "", dtype=object)
    for number, run in enumerate(runs.values()):
        found = measured_changes(run)
        if found is not None:
            chosen = found.isel(group=slice(1, 3)).sel(layer=list(LAYERS))
            values[number] = chosen.strength.values
            labels = run.measured(class_names)["name"].values
            names[number] = [labels[int(group)] for group in chosen.group.values]
    dims = ("run", "rank", "layer", "direction")
    coordinates = {"run": list(runs), "layer": list(LAYERS), "direction": np.arange(1, COUNT + 1)}
    return xr.Dataset({"strength": (dims, values), "class_name": (dims[:2], names)}, coords=coordinates)


def numbers(table: xr.Dataset, label: str = "") -> dict[str, list[float]]:
    """Return the numbers of the claims, a value per run."""
    ratios = table.strength.sel(direction=1) / table.strength.sel(direction=slice(2, None))
    second = np.exp(np.log(ratios.sel(direction=2)).mean(("rank", "layer"), skipna=False))
    smallest = ratios.min(("rank", "layer", "direction"), skipna=False)
    return {f"tenfold{label}": second.values.tolist(), f"primary above all{label}": smallest.values.tolist()}


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure the strengths over the first phase of every run."""
    table = strengths(runs)
    found = numbers(table)
    return Measured(found, table, reasons(found))


def draw(table: xr.Dataset) -> Figure:
    """Draw s_i over i, a line per layer, a panel per run and class."""
    from matplotlib import pyplot as plt

    rows = table.sizes["run"]
    size = (8, 2.4 * rows)
    figure, axes = plt.subplots(rows, 2, figsize=size, squeeze=False, sharex=True, sharey=True, layout="constrained")
    for place in range(rows):
        for rank, ax in enumerate(axes[place]):
            one = table.isel(run=place, rank=rank)
            for name, color in zip(LAYERS, depth_colors(len(LAYERS)), strict=True):
                values = one.strength.sel(layer=name)
                ax.semilogy(
                    one.direction, values, "o-", color=color, markersize=4, label=name.replace("linear", "layer ")
                )
            ax.set_title(f"{one.run.item()}: class {one.class_name.item()}", loc="left", fontsize="medium", color=INK)
            ax.set_ylabel("s_i", fontsize="small")
            ax.set_xticks(one.direction.values)
    for ax in axes[-1]:
        ax.set_xlabel("common direction i")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(LAYERS), frameon=False)
    return figure
