"""Figure 2 as it is drawn: orientations and amplitudes by initialization scale, and how many lines they make."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.plot.colors import ACCENT, INK, MUTED


def draw(shown: xr.Dataset) -> Figure:
    """Draw a row for each target: neurons at every scale, then lines and cosines of all seeds over the scale."""
    from matplotlib import pyplot as plt

    rows, scales = shown.sizes["goal"], shown.sizes["gamma"]
    figure, axes = plt.subplots(
        rows, scales + 2, figsize=(1.8 * (scales + 2), 2.1 * rows), layout="constrained", squeeze=False
    )
    for row in range(rows):
        one = shown.isel(goal=row)
        for column in range(scales):
            _neurons(axes[row, column], one.isel(gamma=column))
        axes[row, 0].set_ylabel(f"{one.goal.item()}\namplitude √(w² + b²)", fontsize="x-small")
        _by_scale(axes[row, -2], one, "lines", "lines (3°)", float(shown.attrs["random_lines"]))
        _by_scale(axes[row, -1], one, "alike", "mean |cos|", float(shown.attrs["random_alike"]))
    return figure


def _neurons(ax: Axes, one: xr.Dataset) -> None:
    strong = one.contribution / one.contribution.max()
    ax.scatter(one.angle, one.amplitude, s=3 + 30 * strong, color=ACCENT, alpha=0.6, lw=0, rasterized=True)
    ax.set_title(f"γ = {float(one.gamma):g}: {int(one.lines[0])} lines", fontsize="small", color=INK)
    ax.set_xlim(-190, 190)
    ax.set_xticks([-180, -90, 0, 90, 180])
    ax.set_xlabel("orientation in degrees", fontsize="x-small")
    _tidy(ax)


def _by_scale(ax: Axes, one: xr.Dataset, name: str, label: str, random: float) -> None:
    for seed in range(one.sizes["seed"]):
        ax.plot(one.gamma, one[name][:, seed], color=ACCENT, lw=0.5, alpha=0.35)
    ax.plot(one.gamma, one[name].mean("seed"), "o-", color=ACCENT, ms=3, label="mean of seeds")
    ax.axhline(random, color=MUTED, lw=1, ls=":", label="random neurons")
    ax.set_xlabel("γ of N(0, 1/m^γ); smaller →", fontsize="x-small")
    ax.set_ylabel(label, fontsize="x-small")
    ax.legend(fontsize="xx-small", frameon=False)
    _tidy(ax)


def _tidy(ax: Axes) -> None:
    ax.tick_params(labelsize="xx-small")
    ax.spines[["top", "right"]].set_visible(False)
