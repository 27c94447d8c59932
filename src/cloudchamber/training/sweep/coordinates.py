"""What stands along the axes of a sweep's dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from cloudchamber.training.sweep.cells import Cell
from cloudchamber.training.sweep.sweep import CELL, Sweep


def along_axes(sweep: Sweep) -> dict[str, xr.Variable]:
    """Return the coordinates of a grid: the values, or labels, of every axis; each field of what is zipped."""
    found: dict[str, xr.Variable] = {}
    for name, axis in sweep.axes.items():
        settings = axis.settings(name)
        columns = {field: [setting[field] for setting in settings] for field in axis.fields(name)}
        if axis.zip is None:
            (field,) = columns
            found[name] = xr.Variable((name,), as_labels(axis.labels or columns[field]), {"field": field})
            continue
        found[name] = xr.Variable((name,), as_labels(axis.labels or list(range(len(settings)))))
        found |= {field: xr.Variable((name,), as_labels(values)) for field, values in columns.items()}
    return found


def along_cells(sweep: Sweep, cells: Sequence[Cell]) -> dict[str, xr.Variable]:
    """Return what each cell sets, field by field; NaN, or empty text, where it does not set it."""
    found = {CELL: xr.Variable((CELL,), np.arange(len(cells)))}
    for name, axis in sweep.axes.items():
        for field in axis.fields(name):
            values = [cell.settings.get(field, _ABSENT) for cell in cells]
            found[name if axis.zip is None else field] = xr.Variable((CELL,), as_labels(values), {"field": field})
        if axis.labels is not None:
            labels = [axis.labels[cell.places[name]] if name in cell.places else _ABSENT for cell in cells]
            found[name] = xr.Variable((CELL,), as_labels(labels))
    return found


_ABSENT = object()


def as_labels(values: Sequence[Any]) -> np.ndarray:
    """Return values as an array that can be kept in a file: numbers, truth values, or text.

    >>> as_labels([1, 0.5]), as_labels([10, None])
    (array([1. , 0.5]), array(['10', 'null'], dtype=object))
    """
    said = [value for value in values if value is not _ABSENT]
    if all(isinstance(value, bool) for value in said) and len(said) == len(values):
        return np.array(values, dtype=bool)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in said):
        return np.array([np.nan if value is _ABSENT else value for value in values])
    return np.array(["" if value is _ABSENT else _text(value) for value in values], dtype=object)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
