"""Heatmaps of the cosines between samples or between neurons."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from cloudchamber.plot import marks, reading
from cloudchamber.plot.colors import INK, cosine_colors
from cloudchamber.plot.images import KINDS, Image, image, require_step

_WORDS = {"sample_cosine": "samples, by class", "neuron_cosine": "neurons, similar ones side by side"}


def heatmap(
    record: xr.Dataset,
    quantity: str = "sample_cosine",
    *,
    layer: str,
    step: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the cosines between samples (by class) or neurons (similar ones side by side) at one step.

    Args:
        record: a record with cosine images.
        quantity: "sample_cosine" or "neuron_cosine".
        layer: which layer.
        step: one of the record's image steps; the last one without it.
        ax: where to draw; a new figure without it.

    Returns:
        The Axes; rows and columns that only pad the array are left out.

    Raises:
        InvalidInput: if the record has no such image; the message names those it has.

    >>> from matplotlib.figure import Figure
    >>> values = ("image_step", "layer", "sample", "sample_other"), np.ones((1, 1, 3, 3))
    >>> record = xr.Dataset({"sample_cosine": values}, coords={"image_step": [50], "layer": ["only"]})
    >>> heatmap(record, layer="only", ax=Figure().add_subplot()).get_title(loc="left")
    'Sample cosine of only at step 50'
    """
    data = reading.variable(record, quantity, [name for name in KINDS if name in record])
    reading.chosen_layers(record, [layer])
    step = require_step(record, step)
    ax = marks.axes_or_new(ax)
    shown = image(record, quantity, layer, step)
    drawn = ax.imshow(shown.values, cmap=cosine_colors(), vmin=-1, vmax=1, interpolation="nearest")
    ax.figure.colorbar(drawn, ax=ax, shrink=0.85, label="cosine", ticks=[-1, -0.5, 0, 0.5, 1])
    marks.tidy(ax, f"{quantity.replace('_', ' ').capitalize()} of {layer} at step {step}", _WORDS[quantity])
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    _class_ticks(ax, shown)
    if not np.isfinite(shown.values).any():
        marks.say(ax, f"{reading.label(data)}:\nnot a finite number at this step")
    return ax


def _class_ticks(ax: Axes, shown: Image) -> None:
    classes, starts, counts = np.unique(shown.groups, return_index=True, return_counts=True)
    if len(classes) < 2:
        ax.set_yticks([])
        return
    for edge in starts[1:] - 0.5:
        ax.axhline(edge, color=INK, linewidth=0.4, alpha=0.5)
        ax.axvline(edge, color=INK, linewidth=0.4, alpha=0.5)
    ax.set_yticks(starts + (counts - 1) / 2, [str(name) for name in classes])
    ax.tick_params(axis="y", length=0)
    ax.set_ylabel("class")
