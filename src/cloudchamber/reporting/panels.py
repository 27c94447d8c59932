"""The charts of a report as data: neutral series that the page's script draws in the theme of the reader."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from cloudchamber.diagnosis import find_phases
from cloudchamber.plot import reading
from cloudchamber.plot.colors import class_colors, depth_colors
from cloudchamber.plot.curves import mean_over_classes

MOST_POINTS = 1500
_DIGITS = 6
_NAMED_CLASSES = 10
_LOSSES = ("train_loss", "probe_loss")

Series = dict[str, Any]


def payload(record: xr.Dataset) -> Series:
    """Return everything that the charts need, ready for JSON: NaN is None."""
    layers = reading.layer_names(record)
    return {
        "phases": [
            {
                "name": phase.name.replace("_", " "),
                "start": phase.start,
                "stop": phase.until,
                "over": phase.stop is not None,
            }
            for phase in find_phases(record)
        ],
        "layers": layers,
        "short": reading.short_names(layers),
        "depth": {"light": depth_colors(len(layers)), "dark": depth_colors(len(layers), dark=True)},
        "charts": charts(record),
    }


def charts(record: xr.Dataset) -> dict[str, Series]:
    """Return one chart per drawable quantity of the record; empty ones are left out."""
    found = {name: _layers(record, name) for name in reading.layer_quantities(record)}
    if any(name in record for name in _LOSSES):
        found["loss"] = _loss(record)
    if "class_accuracy" in record:
        found["accuracy"] = _accuracy(record)
    return {name: {"format": _format(record, name), **chart} for name, chart in found.items() if chart["lines"]}


def _format(record: xr.Dataset, name: str) -> str:
    bounds = record[name].attrs.get("range", ()) if name in record else ()
    return ".3f" if np.isfinite(bounds).all() and np.size(bounds) else ".4g"


def _loss(record: xr.Dataset) -> Series:
    present = {name: reading.curve(record, name) for name in _LOSSES if name in record}
    lines = [
        _line(reading.label(record[name]), found, found.values, role=name)
        for name, found in present.items()
        if len(found.steps)
    ]
    broken = np.unique(np.concatenate([found.broken_steps for found in present.values()]))
    return {"lines": lines, "levels": _constant(record), "broken": broken.tolist()}


def _constant(record: xr.Dataset) -> list[Series]:
    name = "constant_predictor_loss"
    if name not in record or not np.isfinite(record[name]):
        return []
    return [{"name": reading.label(record[name]), "y": round(float(record[name]), _DIGITS)}]


def _accuracy(record: xr.Dataset) -> Series:
    found = reading.curve(record, "class_accuracy")
    classes = [str(name) for name in record["class"].values]
    if not classes or not len(found.steps):
        return {"lines": []}
    shared = {"key": "classes", "label": "each class"} if len(classes) > _NAMED_CLASSES else {}
    lines = [
        _line(f"class {name}", found, found.values[:, index], role="class", color=color, **shared)
        for index, (name, color) in enumerate(zip(classes, class_colors(len(classes)), strict=True))
    ]
    lines.append(_line("mean over classes", found, mean_over_classes(found.values), role="mean"))
    levels = [{"name": "chance", "y": 1 / len(classes)}]
    return {"lines": lines, "levels": levels, "broken": found.broken_steps.tolist(), "range": [-0.03, 1.03]}


def _layers(record: xr.Dataset, name: str) -> Series:
    found, against = reading.curve(record, name), reading.reference(record, name)
    if not len(found.steps):
        return {"lines": []}
    layers = reading.layer_names(record)
    lines = [
        _line(layer, found, found.values[:, index], role="layer", layer=index, key=f"layer {index}", reference=first)
        for index, (layer, first) in enumerate(zip(layers, _rounded(against.values), strict=True))
    ]
    null = f"{name}_null" in record
    return {"lines": lines, "broken": found.broken_steps.tolist(), "reference": against.label, "null": null}


def _line(words: str, found: reading.Curve, values: np.ndarray, **more: Any) -> Series:
    keep = reading.spread(len(found.steps), MOST_POINTS)
    return {"name": words, "key": words, "x": found.steps[keep].tolist(), "y": _rounded(values[keep]), **more}


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in values]
