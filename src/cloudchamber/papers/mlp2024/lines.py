"""Curves of a record's quantities side by side: a panel per group of networks, as in Figures 7, 55, 56 and 61."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.papers.cache import Run
from cloudchamber.papers.mlp2024.first_phase import phases
from cloudchamber.plot.colors import INK, class_colors


@dataclass(frozen=True)
class Panel:
    """What a panel shows.

    Attributes:
        title: above it.
        curve: of `curves`: "loss", "train_loss", "accuracy", "feature_cosine".
        networks: by their names in the arrays; what stands before the last ": " is left out of the legend.
        ends: mark the steps at which the losses leave their plateaus.
        logarithmic: the axis of iterations.
        dashed: networks whose lines are.
    """

    title: str
    curve: str
    networks: Sequence[str]
    ends: bool = False
    logarithmic: bool = False
    dashed: Sequence[str] = ()


def curves(runs: Mapping[str, Run], layer: str) -> xr.Dataset:
    """Return losses, accuracies of the training probe and the feature cosine of a layer: (network, step)."""
    tables = [_curves(run, layer) for run in runs.values()]
    networks = xr.Variable("network", np.array(list(runs), dtype=object))
    return xr.concat(tables, networks, join="outer").astype("float32").assign_attrs(layer=layer)


def of_seed(runs: Mapping[str, Run], seed: int = 0) -> dict[str, Run]:
    """Return the runs named "network, seed k" of one seed, by the network."""
    return {name.rpartition(", seed ")[0]: run for name, run in runs.items() if name.endswith(f", seed {seed}")}


def by_seed(runs: Mapping[str, Run], choose: Callable[[str], bool] = lambda _: True) -> list[list[Run]]:
    """Return the runs of each seed whose networks are chosen, in their order."""
    found: dict[str, list[Run]] = {}
    for name, run in runs.items():
        network, _, seed = name.rpartition(", ")
        if choose(network):
            found.setdefault(seed, []).append(run)
    return list(found.values())


def draw(shown: xr.Dataset, panels: Sequence[Panel], columns: int = 2) -> Figure:
    """Draw the panels in rows of `columns`."""
    from matplotlib import pyplot as plt

    rows = -(-len(panels) // columns)
    size = (5.2 * columns, 3.5 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for letter, panel, ax in zip("abcdefgh", panels, axes.flat, strict=False):
        _panel(ax, shown, panel)
        ax.set_title(f"({letter}) {panel.title}", loc="left", fontsize="medium", color=INK)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    return figure


def _panel(ax: Axes, shown: xr.Dataset, panel: Panel) -> None:
    for name, color in zip(panel.networks, class_colors(max(len(panel.networks), 3)), strict=False):
        one = shown.sel(network=name)[["left", panel.curve]].dropna("step", subset=[panel.curve])
        label = name.rpartition(": ")[2]
        style = "--" if name in panel.dashed else "-"
        ax.plot(one.step, one[panel.curve], style, color=color, label=label, linewidth=1.4)
        if panel.ends and np.isfinite(one.left):
            ax.axvline(float(one.left), color=color, linewidth=0.9, linestyle=":")
    if panel.logarithmic:
        ax.set_xscale("symlog", linthresh=10)
    ax.set_xlabel("iteration")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small")


def _curves(run: Run, layer: str) -> xr.Dataset:
    record, left = run.record, phases(run).loss_marker
    found = {
        "loss": record.probe_loss,
        "train_loss": record.train_loss,
        "accuracy": record.class_accuracy.mean("class"),
        "feature_cosine": record.feature_cosine.sel(layer=layer),
    }
    variables = {name: values.reset_coords(drop=True) for name, values in found.items()}
    return xr.Dataset(variables).assign(left=np.nan if left is None else float(left))
