"""Curves over the steps of a run: losses, accuracies, and one line per layer for every layer quantity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from cloudchamber._core.errors import require
from cloudchamber.plot import marks, reading
from cloudchamber.plot.colors import ACCENT, INK, MUTED, class_colors, depth_colors

FEW = 4
STEP = "step (updates applied)"
_LOSSES = {
    "train_loss": {"color": MUTED, "linewidth": 1.0},
    "probe_loss": {"color": ACCENT, "linewidth": 2.0},
}


def loss(record: xr.Dataset, *, ax: Axes | None = None, phases: bool = True) -> Axes:
    """Draw the losses, the loss of the best constant output, and the phases behind them.

    Args:
        record: a record, as `Monitor.record` or `open_record` gives it.
        ax: where to draw; a new figure without it.
        phases: whether the phases are shaded.

    Returns:
        The Axes.

    Raises:
        InvalidInput: if the record holds no loss.

    >>> from matplotlib.figure import Figure
    >>> record = xr.Dataset({"probe_loss": ("step", [2.3, 1.1])}, coords={"step": [0, 10]})
    >>> loss(record, ax=Figure().add_subplot()).lines[0].get_ydata()
    array([2.3, 1.1])
    """
    present = [name for name in _LOSSES if name in record]
    require(bool(present), "a loss is drawn from train_loss or probe_loss", list(record.data_vars), "observe one")
    ax = marks.axes_or_new(ax)
    broken = [_line(ax, record, name) for name in present]
    if "constant_predictor_loss" in record and np.isfinite(record["constant_predictor_loss"]):
        words = reading.label(record["constant_predictor_loss"])
        ax.axhline(float(record["constant_predictor_loss"]), color=INK, linestyle=":", linewidth=1, label=words)
    return _finished(ax, record, "Loss", "loss", np.unique(np.concatenate(broken)), phases)


def accuracy(record: xr.Dataset, *, ax: Axes | None = None, phases: bool = True) -> Axes:
    """Draw the accuracy of each class, their mean, and chance.

    Args:
        record: a record with class_accuracy.
        ax: where to draw; a new figure without it.
        phases: whether the phases are shaded.

    Returns:
        The Axes.

    Raises:
        InvalidInput: if the record holds no class_accuracy.

    >>> from matplotlib.figure import Figure
    >>> values = ("step", "class"), [[0.0, 1.0], [0.5, 1.0]]
    >>> record = xr.Dataset({"class_accuracy": values}, coords={"step": [0, 10], "class": [0, 1]})
    >>> accuracy(record, ax=Figure().add_subplot()).lines[2].get_ydata()
    array([0.5 , 0.75])
    """
    data = reading.variable(record, "class_accuracy", [n for n in ("class_accuracy",) if n in record])
    ax = marks.axes_or_new(ax)
    found = reading.curve(record, "class_accuracy")
    classes = [str(name) for name in data["class"].values]
    styles = {"linewidth": 0.9, "alpha": 0.7, "marker": marks.marker(len(found.steps)), "markersize": 3}
    colors = class_colors(len(classes))
    for name, color, values in zip(classes, colors, found.values.T, strict=True):
        ax.plot(found.steps, values, color=color, label=f"_class {name}", **styles)
    ax.plot(found.steps, mean_over_classes(found.values), color=INK, linewidth=2.2, label="mean over classes")
    if classes:
        marks.strip(ax, [f"class {name}" for name in classes], colors)
        ax.axhline(1 / len(classes), color=INK, linestyle=":", linewidth=1, label="chance")
    ax.set_ylim(-0.03, 1.03)
    return _finished(ax, record, "Accuracy", reading.label(data), found.broken_steps, phases)


def similarity(
    record: xr.Dataset,
    quantity: str = "feature_cosine",
    *,
    layers: Sequence[str] | None = None,
    ax: Axes | None = None,
    phases: bool = True,
) -> Axes:
    """Draw one line per layer of a quantity, beside what it is compared with (dotted).

    That is the layer's isotropic null where the record has one, else its value at initialization. Where the record has
    the quantity for shuffled inputs, that is drawn too (dashed).

    Args:
        record: a record with `quantity`.
        quantity: any quantity with one value per step and layer.
        layers: the layers to draw; all without it. The colours keep to the depth in the whole network.
        ax: where to draw; a new figure without it.
        phases: whether the phases are shaded.

    Returns:
        The Axes.

    Raises:
        InvalidInput: if the quantity or a layer is not in the record; the message names those that are.

    >>> from matplotlib.figure import Figure
    >>> values = ("step", "layer"), [[0.3, 0.4], [0.9, 0.8]]
    >>> record = xr.Dataset({"feature_cosine": values}, coords={"step": [0, 10], "layer": ["first", "last"]})
    >>> similarity(record, layers=["last"], ax=Figure().add_subplot()).lines[0].get_ydata()
    array([0.4, 0.8])
    """
    data = reading.variable(record, quantity, reading.layer_quantities(record))
    names = reading.chosen_layers(record, layers)
    ax = marks.axes_or_new(ax)
    found, against = reading.curve(record, quantity), reading.reference(record, quantity)
    null = reading.shuffled(record, quantity)
    known = reading.layer_names(record)
    colors = depth_colors(len(known))
    style = {"marker": marks.marker(len(found.steps)), "markersize": 4}
    for name in names:
        index = known.index(name)
        words = name if len(names) <= FEW else f"_{name}"
        ax.plot(found.steps, found.values[:, index], color=colors[index], label=words, **style)
        _reference(ax, against.values[index], colors[index])
        if null is not None:
            ax.plot(null.steps, null.values[:, index], color=colors[index], **_SHUFFLED)
    if len(names) > FEW:
        marks.strip(ax, names, [colors[known.index(name)] for name in names])
    if names and np.isfinite(against.values).any():
        ax.plot([], [], color=MUTED, linestyle=":", label=against.label)
    if names and null is not None:
        ax.plot([], [], color=MUTED, linestyle="--", label="for shuffled inputs")
    broken = found.steps[found.broken[:, [known.index(name) for name in names]].any(axis=1)]
    title = quantity.replace("_", " ").capitalize()
    return _finished(ax, record, title, reading.label(data), broken, phases)


_SHUFFLED = {"linestyle": "--", "linewidth": 0.9, "alpha": 0.7, "zorder": 1, "label": "_shuffled"}


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """Return the mean of (n, classes) over the classes that have a value, NaN where none has."""
    count = np.isfinite(values).sum(axis=1)
    total = np.nansum(values, axis=1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _line(ax: Axes, record: xr.Dataset, name: str) -> np.ndarray:
    found = reading.curve(record, name)
    dots = marks.marker(len(found.steps))
    ax.plot(found.steps, found.values, marker=dots, label=reading.label(record[name]), **_LOSSES[name])
    return found.broken_steps


def _reference(ax: Axes, value: float, color: str) -> None:
    if np.isfinite(value):
        ax.axhline(value, color=color, linestyle=":", linewidth=0.9, alpha=0.7, zorder=1)


def _finished(ax: Axes, record: xr.Dataset, title: str, ylabel: str, broken: np.ndarray, phases: bool) -> Axes:
    lines = marks.shade_phases(ax, record) if phases else 0
    marks.mark_broken(ax, broken)
    marks.tidy(ax, title, STEP, ylabel, lines=lines)
    marks.legend(ax)
    return ax
