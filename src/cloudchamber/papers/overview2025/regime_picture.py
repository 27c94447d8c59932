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

_EXPLAINED = (
    "Line: theory's boundary.\nCircles: named initializations.\nDots: the 95 % interval of the slope\nholds 0, or there "
    "is no slope.\nCrosses: against theory, beyond the interval.\nWhite: no slope, too few networks fitted."
)


def draw(shown: xr.Dataset) -> Figure:
    """Draw two layers and the slopes, MNIST, three layers, from top to bottom."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, 3, figsize=(11.5, 9.5), layout="constrained", squeeze=False)
    for row, name in enumerate((TWO, MNIST, THREE)):
        one = unpacked(shown, name)
        for column, layer in enumerate(one.layer.values.tolist()):
            ax = phase_diagram(one, layer=layer, ax=axes[row, column])
            ax.set_title(f"{name}: {layer} layer", loc="left", fontsize="medium", color=INK)
    _distances(axes[0, 2], unpacked(shown, SLOPES))
    axes[1, 2].set_axis_off()
    axes[1, 2].text(0, 0.5, _EXPLAINED, fontsize="small", color=INK, va="center")
    return figure


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
    ax.set_ylabel("RD of input weights (bars: deviation of log RD)", color=INK)
    ax.set_title("two layers, γ' = 0", loc="left", fontsize="medium", color=INK)
    ax.legend(frameon=False, fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
