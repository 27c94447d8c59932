"""What the panels share: Axes, phases in the background, and marks for numbers that are not finite."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize

from cloudchamber.diagnosis import find_phases
from cloudchamber.plot.colors import ALARM, INK, phase_color
from cloudchamber.plot.reading import short_names, spread

FEW = 12
_LEGEND_WRAP = 30
_NAMED = 12
_LINE = 10
_WRAP = 42


def axes_or_new(ax: Axes | None) -> Axes:
    """Return `ax`, or the Axes of a new figure."""
    return plt.subplots(layout="constrained", figsize=(6.4, 4.0))[1] if ax is None else ax


def tidy(ax: Axes, title: str, xlabel: str = "", ylabel: str = "", *, lines: int = 0) -> None:
    """Set the words, leaving room for so many lines below the title, and take away what is not needed."""
    ax.set_title(
        "\n".join(wrap(title, _WRAP)),
        loc="left",
        fontsize="medium",
        fontweight="bold",
        color=INK,
        pad=6 + _LINE * lines,
    )
    ax.set_xlabel(xlabel, color=INK)
    ax.set_ylabel("\n".join(wrap(ylabel, _WRAP)), fontsize="small", color=INK)
    ax.spines[["top", "right"]].set_visible(False)


def shade_phases(ax: Axes, record: xr.Dataset) -> int:
    """Shade the phases of the record behind the curves, name them above, and return how many there are."""
    phases = list(find_phases(record))
    for line, phase in enumerate(phases):
        color = phase_color(phase.name)
        ax.axvspan(
            phase.start,
            phase.until,
            color=color,
            alpha=0.12 / len(phases) ** 0.8,
            linewidth=0,
            zorder=0,
            gid=phase.name,
        )
        ax.annotate(
            phase.name.replace("_", " "),
            (phase.start, 1),
            xytext=(0, 2 + _LINE * line),
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            fontsize="small",
            color=INK,
        )
    return len(phases)


def mark_broken(ax: Axes, steps: np.ndarray) -> None:
    """Mark the steps at which a curve is no finite number with crosses on the lower edge."""
    if len(steps):
        ax.plot(
            steps,
            np.zeros(len(steps)),
            "x",
            color=ALARM,
            transform=ax.get_xaxis_transform(),
            clip_on=False,
            label="not a finite number",
        )


def marker(count: int) -> str:
    """Return the marker of a curve: few points are shown as points, so that a single one is seen."""
    return "o" if count <= FEW else ""


def say(ax: Axes, words: str) -> None:
    """Write a sentence where there is nothing to draw."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=INK, wrap=True)


def legend(ax: Axes) -> None:
    """Show the legend, if there is anything to name."""
    handles, labels = ax.get_legend_handles_labels()
    if labels:
        words = ["\n".join(wrap(label, _LEGEND_WRAP)) for label in labels]
        ax.legend(handles, words, edgecolor="none", framealpha=0.8, fontsize="small", handlelength=1.4)


def strip(ax: Axes, names: Sequence[str], colors: Sequence[str]) -> None:
    """Name many lines by a strip of their colours beside the Axes."""
    shown, short = spread(len(names), _NAMED).tolist(), short_names(names)
    mappable = ScalarMappable(Normalize(-0.5, len(names) - 0.5), ListedColormap(list(colors)))
    bar = ax.figure.colorbar(mappable, ax=ax, fraction=0.03, pad=0.02, aspect=40)
    bar.outline.set_visible(False)
    bar.set_ticks(shown, labels=[short[index] for index in shown], fontsize="small")
    bar.ax.tick_params(length=0, which="both")
