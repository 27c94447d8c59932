"""The picture and the table of Figure 7."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cloudchamber.papers.overview2025.loss_times import BIN, plateaus
from cloudchamber.plot.colors import ACCENT, ALARM, INK, MUTED

_FLOOR = 1e-4
_LINES = (ACCENT, ALARM, MUTED, INK)


def draw(shown: xr.Dataset) -> Figure:
    """Draw the share of epochs by loss and width, the same of other choices, escape times, and embedded inertia."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(14, 7.5), layout="constrained")
    images = [
        _densities(ax, shown.isel(network=place)) if place < shown.sizes["network"] else ax.set_visible(False)
        for place, ax in enumerate(axes.ravel()[:4])
    ]
    figure.colorbar(images[0], ax=axes[0, 2], label="share of epochs (dark: below 10⁻⁴)")
    _by_width(axes[1, 1], shown)
    _inertia(axes[1, 2], shown)
    return figure


def _densities(ax: Axes, one: xr.Dataset):  # noqa: ANN202 - of matplotlib
    held = one.dropna("width", how="all", subset=["density"])
    values = np.maximum(held.density.values, _FLOOR)
    columns = np.flatnonzero((values > _FLOOR).any(0))
    low, high = columns[0], columns[-1] + 1
    left, right = held.bin.values[low] - BIN / 2, held.bin.values[high - 1] + BIN / 2
    image = ax.imshow(
        values[:, low:high],
        aspect="auto",
        origin="lower",
        extent=(left, right, -0.5, len(values) - 0.5),
        norm=LogNorm(_FLOOR, 1),
        cmap="viridis",
        interpolation="nearest",
    )
    for row, density in enumerate(held.density.values):
        ax.plot(plateaus(density), np.full(len(plateaus(density)), row - 0.42), "^", color="white", markersize=3)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_yticks(range(len(values)), [str(m) for m in held.width.values])
    ax.set_ylabel("width")
    ax.set_xlabel("log₁₀ loss (▵ plateaus)", fontsize="small")
    ax.set_title(str(one.network.item()), fontsize="small", color=INK)
    return image


def _by_width(ax: Axes, shown: xr.Dataset) -> None:
    """Median epoch at which the loss is halved, and the share of epochs at low loss (dashed)."""
    low = ax.twinx()
    for color, network in zip(_LINES, shown.network.values, strict=False):
        one = shown.sel(network=network).dropna("width", how="all", subset=["median_left"])
        ax.plot(one.width, one.median_left.median("group"), "o-", color=color, markersize=4, label=str(network))
        ax.fill_between(
            one.width, one.median_left.min("group"), one.median_left.max("group"), color=color, alpha=0.2, linewidth=0
        )
        low.plot(one.width, one.share_low.mean("group"), "s--", color=color, markersize=3, linewidth=1)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xlabel("width")
    ax.set_ylabel("epoch of half the first loss (●, median)")
    low.set_ylabel("share of epochs below a tenth (■)", fontsize="small")
    low.set_ylim(0, 1.02)
    ax.legend(frameon=False, fontsize="x-small", ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _inertia(ax: Axes, shown: xr.Dataset) -> None:
    """Numbers of eigenvalues in the wide network over those in the narrow one; below the line would be wrong."""
    shift = np.random.default_rng(0).uniform(-0.25, 0.25, (2, shown.sizes["point"], shown.sizes["embedding"]))
    for color, count in zip((ALARM, MUTED, ACCENT), shown["count"].values, strict=True):
        narrow = shown.inertia.sel(count=count).values[:, None] + shift[0]
        wide = shown.wide_inertia.sel(count=count).values + shift[1]
        ax.plot(narrow.ravel(), wide.ravel(), ".", color=color, markersize=4, alpha=0.7, label=f"{count} eigenvalues")
    most = float(shown.inertia.max()) + 1
    ax.plot([-0.5, most], [-0.5, most], color=INK, linewidth=0.8, linestyle=":")
    ax.set_xlabel("in the narrow network (places are jittered)", fontsize="small")
    ax.set_ylabel("in the wide network")
    ax.set_title(f"{shown.sizes['point']} critical points, embedded in {shown.sizes['embedding']} widths each",
                 fontsize="small", color=INK)  # fmt: skip
    ax.legend(frameon=False, fontsize="x-small")


def text(shown: xr.Dataset) -> str:
    """Return a row per network and width, and one per kind of critical points."""
    rows = [f"{'network':28}{'width':>6}{'halved at':>11}{'share low':>11}{'end, median':>13}{'shared plateaus':>17}"]
    for network in shown.network.values:
        one = shown.sel(network=network).dropna("width", how="all", subset=["median_left"])
        for m in one.width.values:
            at, first = one.sel(width=m), network == shown.network.values[0]
            shared = f"{float(at.shared):.2f} ({float(at.chance):.2f})" if first else ""
            rows.append(
                f"{network:28}{m:6d}{float(at.median_left.median()):11.0f}{float(at.share_low.mean()):11.3f}"
                f"{float(at.end[1]):13.2e}{shared:>17}"
            )
    rows.append("\nshared plateaus: in brackets by chance")
    rows.append(f"{'critical points':28}{'narrow':>8}{'gradient':>11}{'embedded':>11}{'grown':>7}{'of':>5}")
    for case in dict.fromkeys(shown.case.values):
        for width in np.unique(shown.narrow_width.values[shown.case.values == case]):
            one = shown.isel(point=np.flatnonzero((shown.case.values == case) & (shown.narrow_width.values == width)))
            grown = (one.wide_inertia >= one.inertia).all("count")
            rows.append(
                f"{case:28}{int(width):8d}{float(one.gradient.max()):11.1e}{float(one.wide_gradient.max()):11.1e}"
                f"{int(grown.sum()):7d}{grown.size:5d}"
            )
    return "\n".join(rows)
