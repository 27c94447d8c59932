"""Figure 6 as it is drawn: direction fields with neurons, and orientations over amplitudes from several starts."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.measures import neuron_amplitude, orientation_angle
from cloudchamber.papers.zhou2022 import fields
from cloudchamber.papers.zhou2022.predictions import Layer
from cloudchamber.plot.colors import ACCENT, ALARM, INK, MUTED

_MOST = 4


def neurons(name: str, layer: Layer, before: torch.Tensor) -> xr.Dataset:
    """Return what is drawn of a network: orientations, amplitudes, both at the start, and predicted orientations."""
    lines = np.full((2, _MOST), np.nan)
    for place, sign in enumerate((1, -1)):
        found = layer.predicted.attractors(sign, growing=True)[:_MOST]
        lines[place, : len(found)] = _degrees(found)
    columns = {
        "angle": _degrees(layer.weights),
        "amplitude": neuron_amplitude(layer.weights).numpy(),
        "first_angle": _degrees(before),
        "first_amplitude": neuron_amplitude(before).numpy(),
        "positive": (layer.output_weights > 0).numpy(),
    }
    held = {key: (("panel", "one"), values[None]) for key, values in columns.items()}
    return xr.Dataset({**held, "predicted": (("panel", "sign_of_a", "which"), lines[None])}, {"panel": [name]})


def _degrees(weights: torch.Tensor) -> np.ndarray:
    return torch.rad2deg(orientation_angle(weights)).numpy()


def draw(shown: xr.Dataset) -> Figure:
    """Draw a row for each activation: the field, then orientations over amplitudes from each start."""
    from matplotlib import pyplot as plt

    rows, panels = shown.sizes["field_panel"], shown.sizes["panel"] // shown.sizes["field_panel"]
    figure, axes = plt.subplots(
        rows, 1 + panels, figsize=(2.9 * (1 + panels), 2.8 * rows), layout="constrained", squeeze=False
    )
    near_zero = shown.drop_dims("panel").rename(field_panel="panel")
    for row in range(rows):
        _field(axes[row, 0], near_zero.isel(panel=row))
        for column in range(panels):
            _amplitudes(axes[row, 1 + column], shown.isel(panel=panels * row + column))
    return figure


def _field(ax: Axes, one: xr.Dataset) -> None:
    """The field near 0, with all neurons drawn at one length."""
    fields.draw_panel(ax, one)
    ax.set_title(f"{str(one.panel.item()).split(', ')[0]}: field near 0", fontsize="x-small", color=INK, pad=14)
    ax.locator_params(nbins=3)
    ax.ticklabel_format(style="sci", scilimits=(0, 0))
    ax.xaxis.get_offset_text().set_fontsize("xx-small")
    ax.yaxis.get_offset_text().set_fontsize("xx-small")
    ax.set_xlabel("w", fontsize="x-small")
    ax.set_ylabel("b", fontsize="x-small")
    ax.legend(fontsize="xx-small", frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 0.99))


def _amplitudes(ax: Axes, one: xr.Dataset) -> None:
    for place, color in enumerate((ALARM, ACCENT)):
        for angle in one.predicted.values[place]:
            ax.axvline(angle, color=color, lw=0.8, alpha=0.6)
    ax.scatter(one.first_angle, one.first_amplitude, s=4, color=MUTED, lw=0, alpha=0.6, label="start", rasterized=True)
    for chosen, color, word in ((one.positive, ALARM, "a > 0"), (~one.positive, ACCENT, "a < 0")):
        ax.scatter(
            one.angle[chosen], one.amplitude[chosen], s=10, color=color, lw=0, alpha=0.7, label=word, rasterized=True
        )
    ax.set_yscale("log")
    ax.set_xlim(-185, 185)
    ax.set_xticks([-180, -90, 0, 90, 180])
    ax.set_title(str(one.panel.item()), fontsize="x-small", color=INK, pad=14)
    ax.set_xlabel("orientation in degrees", fontsize="x-small")
    ax.set_ylabel("amplitude √(w² + b²)", fontsize="x-small")
    ax.tick_params(labelsize="xx-small")
    ax.legend(
        fontsize="xx-small", frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 0.99), columnspacing=1
    )
    ax.spines[["top", "right"]].set_visible(False)
