"""Figure 1 as it is drawn: orientations and amplitudes over training, outputs, counts of all seeds, static neurons."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cloudchamber.papers.overview2025.orientations import CUT, FINAL, KINKS, bending_at
from cloudchamber.plot.colors import ACCENT, ALARM, INK, MUTED

_TICKS = (-180, -90, 0, 90, 180)


def draw(shown: xr.Dataset) -> Figure:
    """Draw the first seed at the epochs shown, and all seeds below."""
    from matplotlib import pyplot as plt

    columns = shown.sizes["shown"]
    figure = plt.figure(figsize=(2.0 * columns, 6.4), layout="constrained")
    first, every = figure.subfigures(2, 1, height_ratios=[1.8, 1.1], squeeze=False)[:, 0]
    axes = first.subplots(2, columns, squeeze=False, height_ratios=[1, 0.8])
    for place in range(columns):
        one = shown.isel(shown=place)
        _neurons(axes[0, place], one, labelled=place == 0)
        _output(axes[1, place], one, labelled=place == 0)
    below = every.subplots(1, 3)
    for ax, drawn in zip(below, (_counts, _ends, _static), strict=True):
        drawn(ax, shown)
    return figure


def _neurons(ax: Axes, one: xr.Dataset, *, labelled: bool) -> None:
    still = one.still.values
    for angle in FINAL:
        ax.axvline(angle, color=MUTED, lw=0.5, alpha=0.4)
    ax.scatter(one.angle[~still], one.amplitude[~still], s=9, color=ACCENT, alpha=0.7, lw=0, label="moving")
    ax.scatter(one.angle[still], one.amplitude[still], s=9, color=ALARM, marker="x", lw=0.7, label="static")
    ax.set_title(f"epoch {int(one.shown):,}".replace(",", " "), fontsize="small", color=INK)
    _angle_axis(ax)
    ax.set_ylim(bottom=-0.05 * float(one.amplitude.max()))
    if labelled:
        ax.set_ylabel("amplitude √(w² + b²)", fontsize="x-small")
        ax.legend(fontsize="xx-small", frameon=False, loc="upper left")


def _output(ax: Axes, one: xr.Dataset, *, labelled: bool) -> None:
    ax.plot(one.x, one.target, color=MUTED, lw=2.5, alpha=0.5, label="target")
    ax.plot(one.x, one.output, color=ACCENT, lw=1, label="network")
    ax.set_xlabel("x", fontsize="x-small")
    _tidy(ax)
    if labelled:
        ax.set_ylabel("output", fontsize="x-small")
        ax.legend(fontsize="xx-small", frameon=False, loc="upper left")


def _counts(ax: Axes, shown: xr.Dataset) -> None:
    after = shown.sel(epoch=slice(10, None))
    for low, high, shade in ((0.0, 1.0, 0.12), (0.25, 0.75, 0.25)):
        bounds = after["count"].quantile([low, high], "seed").values
        ax.fill_between(after.epoch, *bounds, color=ACCENT, alpha=shade, lw=0, step=None)
    ax.plot(after.epoch, after["count"].median("seed"), color=ACCENT, label="median, half, and all seeds")
    ax.set_xscale("log")
    ax.set_xlabel("epoch", fontsize="x-small")
    ax.set_ylabel("orientations (3°)", fontsize="x-small")
    ax.set_ylim(bottom=0)
    right = ax.twinx()
    right.plot(after.epoch, after.loss.median("seed"), color=MUTED, lw=1, ls="--", label="loss, median")
    right.set_yscale("log")
    right.set_ylabel("mean squared error", fontsize="x-small", color=MUTED)
    right.tick_params(labelsize="xx-small", colors=MUTED)
    lines = ax.get_lines() + right.get_lines()
    ax.legend(lines, [str(line.get_label()) for line in lines], fontsize="xx-small", frameon=False, loc="upper center")
    _tidy(ax)
    ax.set_title(f"number of orientations, {shown.sizes['seed']} seeds", fontsize="small", color=INK)


def _ends(ax: Axes, shown: xr.Dataset) -> None:
    """Where the moving neurons of each seed end, over the orientations that bend where the target does."""
    for angle in bending_at(KINKS):
        for side in (0, 180):
            ax.axvline((angle + side + 180) % 360 - 180, color=MUTED, lw=0.5, alpha=0.6)
    strong = shown.end_amplitude.values >= CUT * shown.end_amplitude.max("neuron").values[:, None]
    seeds = np.broadcast_to(np.arange(shown.sizes["seed"])[:, None], strong.shape)
    ax.plot(shown.end_angle.values[strong], seeds[strong], "|", color=ACCENT, ms=5)
    ax.set_ylabel("seed", fontsize="x-small")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    _angle_axis(ax)
    ax.set_title("where moving neurons end; lines: bends of the target", fontsize="small", color=INK)


def _static(ax: Axes, shown: xr.Dataset) -> None:
    """Orientations of static and of other neurons at the start, over the range that is dead on the data."""
    bins = list(range(-180, 181, 15))
    still, angle = shown.static.values, shown.start_angle.values
    ax.axvspan(-135, -45, color=MUTED, alpha=0.15, lw=0, label="w x + b ≤ 0 on [−1, 1]")
    heights = {"static": (angle[still], ALARM), "others": (angle[~still], ACCENT)}
    for place, (label, (values, color)) in enumerate(heights.items()):
        ax.hist(values, bins=bins, histtype="step" if place else "stepfilled", color=color, alpha=0.8, label=label)
    ax.set_ylabel("neurons of all seeds", fontsize="x-small")
    _angle_axis(ax)
    ax.legend(fontsize="xx-small", frameon=False, loc="lower right")
    ax.set_title("static neurons, by orientation at the start", fontsize="small", color=INK)


def _angle_axis(ax: Axes) -> None:
    ax.set_xlim(-190, 190)
    ax.set_xticks(_TICKS)
    ax.set_xlabel("orientation in degrees", fontsize="x-small")
    _tidy(ax)


def _tidy(ax: Axes) -> None:
    ax.tick_params(labelsize="xx-small")
    ax.spines[["top", "right"]].set_visible(False)
