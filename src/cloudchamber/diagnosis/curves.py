"""Reading curves from a record: only where something was measured, so that a NaN is the value itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr


@dataclass(frozen=True)
class Curve:
    """A quantity at the steps where it was measured.

    Attributes:
        steps: (n,) those steps, increasing.
        values: (n,) or (n, k), NaN and inf included: they are what was measured.
    """

    steps: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def finite(self) -> Curve:
        """The part of a curve of numbers that is finite."""
        keep = np.isfinite(self.values)
        return Curve(self.steps[keep], self.values[keep])

    @property
    def first(self) -> float:
        """The first value, NaN if there is none."""
        return float(self.values[0]) if len(self) else math.nan

    @property
    def last(self) -> float:
        """The last value, NaN if there is none."""
        return float(self.values[-1]) if len(self) else math.nan

    def until(self, step: int) -> Curve:
        """The part up to and including `step`."""
        return Curve(self.steps[self.steps <= step], self.values[self.steps <= step])


def curve(record: xr.Dataset, name: str, layer: str = "") -> Curve:
    """Return the curve of a quantity, of one layer if it has layers; empty where the record does not hold it."""
    if name not in record:
        return Curve(np.empty(0, dtype=np.int64), np.empty(0))
    index = layer_names(record).index(layer) if layer else None
    values = np.asarray(record[name].values, dtype=np.float64)
    values = values if index is None else values[:, index]
    keep = _measured(record, name, index, values)
    return Curve(np.asarray(record["step"].values)[keep], values[keep])


def constant(record: xr.Dataset, name: str, layer: str = "") -> float:
    """Return a quantity that does not change in a run, NaN where the record does not hold it."""
    if name not in record:
        return math.nan
    values = np.asarray(record[name].values, dtype=np.float64)
    return float(values[layer_names(record).index(layer)] if layer else values)


def width(record: xr.Dataset, layer: str) -> int:
    """Return how many neurons a layer has."""
    return int(record["width"].values[layer_names(record).index(layer)])


def hidden_layers(record: xr.Dataset) -> tuple[str, ...]:
    """Return every observed layer but the last, in the order of the forward pass."""
    return tuple(layer_names(record)[:-1])


def middle_layer(record: xr.Dataset) -> str:
    """Return the middle hidden layer: number ⌊H/2⌋ + 1 of H (the 5th of 8), or "" if there is none."""
    hidden = hidden_layers(record)
    return hidden[len(hidden) // 2] if hidden else ""


def layer_names(record: xr.Dataset) -> list[str]:
    """Return the observed layers in the order of the forward pass."""
    return [str(name) for name in record["layer"].values] if "layer" in record.coords else []


def _measured(record: xr.Dataset, name: str, index: int | None, values: np.ndarray) -> np.ndarray:
    """Read `valid`; a quantity that it does not list, or a record without layers, has no NaN as a value."""
    listed = "valid" in record and name in record["quantity"].values and record.sizes["layer"] > 0
    if not listed:
        return np.asarray(~np.isnan(values).reshape(len(values), -1).all(axis=1))
    valid = np.asarray(record["valid"].sel(quantity=name).values, dtype=bool)
    return np.asarray(valid.any(axis=1)) if index is None else valid[:, index]
