"""Figure 5 as it is drawn: diagrams of every layer, and RD over width at three γ."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.papers.overview2025.packing import unpacked
from cloudchamber.plot import phase_diagram
from cloudchamber.plot.colors import INK, class_colors

TWO, THREE, MNIST, SLOPES = "two layers", "three layers", "two layers on MNIST", "two layers, γ' = 0"

_EXPLAINED = """Line: theory's boundary.
Circles: named initializations.
Dots: no sign is known: the 95 % interval
of the slope holds 0, or there is no slope.
Crosses: against theory, beyond the interval.
Grey: too few networks fitted."""


def draw(shown: xr.Dataset) -> Figure:
    """Draw two layers and the slopes, MNIST, three layers, from top to bottom."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, 3, figsize=(11, 8.8), layout="constrained", squeeze=False)
    for row, name in enumerate((TWO, MNIST, THREE)):
        one = unpacked(shown, name)
        for column, layer in enumerate(one.layer.values.tolist()):
            ax = phase_diagram(one, layer=layer, ax=axes[row, column])
            ax.set_title(f"{name}: {layer} layer", loc="left", fontsize="medium", color=INK, pad=14)
            _plain_names(ax)
    _distances(axes[0, 2], unpacked(shown, SLOPES))
    axes[1, 2].set_axis_off()
    axes[1, 2].text(0, 0.5, _EXPLAINED, fontsize="small", color=INK, va="center").set_in_layout(False)
    return figure


def _plain_names(ax: Axes) -> None:
    """Names on a white ground in place of outlined ones, whose outlines would be two thirds of the SVG."""
    for words in ax.texts:
        words.set_path_effects([])
        words.set_bbox({"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8})
        words.set_fontsize("x-small")
        words.set_in_layout(False)


def _distances(ax: Axes, one: xr.Dataset) -> None:
    cells = one.sel(layer="input").isel(gamma_prime=0)
    for gamma, color in zip(cells.gamma.values, class_colors(cells.sizes["gamma"]), strict=True):
        cell = cells.sel(gamma=gamma)
        logs = np.log(cell.relative_distance)
        middle, spread = np.exp(logs.mean("seed")), np.exp(logs.std("seed"))
        label = f"γ = {gamma:g}: slope {float(cell.slope):.3f} ± {float(cell.slope_error):.3f}"
        ax.errorbar(
            cell.width, middle, [middle - middle / spread, middle * spread - middle], color=color, fmt="o-", ms=4, lw=1,
            capsize=2, label=label,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("width m", color=INK)
    ax.set_ylabel("RD of input weights", color=INK)
    ax.set_title("two layers, γ' = 0", loc="left", fontsize="medium", color=INK)
    ax.legend(frameon=False, fontsize="x-small", loc="upper left", bbox_to_anchor=(0, 0.82))
    ax.spines[["top", "right"]].set_visible(False)
