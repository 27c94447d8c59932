"""The panels of Figure 1: the gradient cosine of one network, its features embedded by t-SNE, the loss by depth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.papers.cache import Run
from cloudchamber.papers.mlp2024.first_phase import end_of_phase
from cloudchamber.papers.mlp2024.samples import measured_features
from cloudchamber.plot.colors import ACCENT, INK, class_colors, depth_colors, phase_color

EMBEDDED_LAYER = "linear4"


def arrays(runs: Mapping[str, Run], main: str, layer: str) -> xr.Dataset:
    """Return what the panels are made of."""
    run = runs[main]
    stop = end_of_phase(run, layer)
    losses = [of.record.probe_loss.reset_coords(drop=True) for of in runs.values()]
    networks = xr.Variable("network", np.array(list(runs), dtype=object))
    gradient = run.record.gradient_cosine.sel(layer=layer).reset_coords(drop=True)
    shown = xr.Dataset({"loss": xr.concat(losses, networks, join="outer"), "gradient_cosine": gradient}).astype(
        "float32"
    )
    shown.attrs = {"main": main, "layer": layer, "end": -1 if stop is None else stop}
    return shown.merge(_embedded(run).rename(step="shown_step"))


def draw(shown: xr.Dataset) -> Figure:
    """Draw (a) the gradient cosine, (b) the features at a few steps, (c) the loss of each depth."""
    from matplotlib import pyplot as plt

    count = shown.sizes["shown_step"]
    figure = plt.figure(figsize=(11, 6), layout="constrained")
    upper, lower = figure.add_gridspec(2, 1)
    left, right = (figure.add_subplot(place) for place in upper.subgridspec(1, 2))
    _gradients(left, shown)
    _losses(right, shown)
    rooms = lower.subgridspec(1, count)
    for place in range(count):
        _features(figure.add_subplot(rooms[place]), shown.isel(shown_step=place), int(shown.attrs["end"]))
    figure.supxlabel(f"(b) features of {EMBEDDED_LAYER}, t-SNE, by class", fontsize="medium", color=INK)
    return figure


def _embedded(run: Run) -> xr.Dataset:
    from sklearn.manifold import TSNE

    found = measured_features(run, EMBEDDED_LAYER)
    perplexity = min(30.0, len(found.label) / 4)
    places = [
        TSNE(init="pca", random_state=0, perplexity=perplexity).fit_transform(_told_apart(values))
        for values in found.feature.values
    ]
    variables = {"place": (("step", "sample", "axis"), np.stack(places).astype(np.float32)), "label": found.label}
    return xr.Dataset(variables, coords={"step": found.step})


def _told_apart(values: np.ndarray) -> np.ndarray:
    """PCA has no direction where all features are equal; noise far below their size gives it one."""
    noise = np.random.default_rng(0).normal(size=values.shape)
    return (values + 1e-6 * (np.abs(values).max() or 1.0) * noise).astype(np.float32)


def _gradients(ax: Axes, shown: xr.Dataset) -> None:
    ax.plot(shown.step, shown.gradient_cosine, color=ACCENT)
    _phase(ax, int(shown.attrs["end"]))
    ax.set_title(f"(a) gradient cosine of {shown.attrs['layer']}, {shown.attrs['main']}", loc="left", fontsize="medium")
    ax.set_xlabel("iteration")


def _losses(ax: Axes, shown: xr.Dataset) -> None:
    names = shown.network.values
    for name, color in zip(names, depth_colors(len(names)), strict=True):
        ax.plot(shown.step, shown.loss.sel(network=name), color=color, label=str(name))
    _phase(ax, int(shown.attrs["end"]))
    ax.set_title("(c) loss on 500 training samples", loc="left", fontsize="medium")
    ax.set_xlabel("iteration")
    ax.legend(frameon=False, fontsize="small", ncols=2, loc="lower left")


def _features(ax: Axes, one: xr.Dataset, end: int) -> None:
    labels = one.label.values
    ax.scatter(*one.place.values.T, c=np.array(class_colors(10))[labels % 10], s=5, linewidth=0, rasterized=True)
    step = int(one.shown_step)
    ax.set_title(f"iteration {step}" + (" (end)" if step == end else ""), fontsize="small")
    ax.set_xticks([])
    ax.set_yticks([])


def _phase(ax: Axes, end: int) -> None:
    if end > 0:
        ax.axvline(end, color=phase_color("first phase"), linestyle=":")
    ax.spines[["top", "right"]].set_visible(False)
