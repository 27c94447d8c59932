"""Reading a record for drawing: curves with what is not finite set apart, and what they are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import xarray as xr

from cloudchamber._core.errors import require
from cloudchamber._core.nulls import SHUFFLED


@dataclass(frozen=True)
class Curve:
    """A quantity at the steps where it was measured.

    Attributes:
        steps: (n,) those steps.
        values: (n,) or (n, columns), NaN where it is no finite number.
        broken: (n,) or (n, columns), true where it was measured and is no finite number.
    """

    steps: np.ndarray
    values: np.ndarray
    broken: np.ndarray

    @property
    def broken_steps(self) -> np.ndarray:
        """The steps at which any column was measured and is no finite number."""
        return self.steps[any_column(self.broken)]


@dataclass(frozen=True)
class Reference:
    """What each layer's value is compared with: an isotropic null, or the value at initialization."""

    label: str
    values: np.ndarray


def variable(record: xr.Dataset, name: str, allowed: Iterable[str]) -> xr.DataArray:
    """Return a variable of the record.

    Raises:
        InvalidInput: if `name` is not among those allowed; the message names them.
    """
    choices = sorted(allowed)
    require(name in choices, f"this record can draw {_listed(choices)} here", repr(name), _remedy(choices))
    return record[name]


def layer_names(record: xr.Dataset) -> list[str]:
    """Return the names of the observed layers, from the first to the last."""
    return [str(name) for name in record["layer"].values] if "layer" in record.coords else []


def short_names(names: Sequence[str], most: int = 22) -> list[str]:
    """Return names to be written in little room: without the parts that all begin with, the middle left out.

    >>> short_names(["encoder.0.up", "encoder.1.up"]), short_names(["a_very_long_name_of_a_layer"], most=11)
    (['0.up', '1.up'], ['a_ver…layer'])
    """
    folders = zip(*(name.split(".")[:-1] for name in names), strict=False)
    shared = "".join(f"{parts[0]}." for parts in takewhile(lambda parts: len(set(parts)) == 1, folders))
    shared = shared if len(names) > 1 else ""
    return [_middle_left_out(name.removeprefix(shared), most) for name in names]


def layer_quantities(record: xr.Dataset) -> list[str]:
    """Return the names of the quantities with one value per step and layer."""
    return [str(name) for name, item in record.data_vars.items() if item.dims == ("step", "layer")]


def chosen_layers(record: xr.Dataset, layers: Sequence[str] | None) -> list[str]:
    """Return the layers to draw: those asked for, or all of them.

    Raises:
        InvalidInput: if one is not in the record; the message names those that are.
    """
    known = layer_names(record)
    for name in known if layers is None else layers:
        require(name in known, f"this record's layers are {_listed(known)}", repr(name), _remedy(known))
    return known if layers is None else list(layers)


def curve(record: xr.Dataset, name: str) -> Curve:
    """Return a quantity of (step,), (step, layer) or (step, class) where it was measured."""
    data = record[name]
    values = np.asarray(data.values, dtype=float)
    measured = _measured(record, name, values)
    rows = any_column(measured)
    finite = np.isfinite(values)
    return Curve(
        record["step"].values[rows],
        np.where(finite, values, np.nan)[rows],
        (measured & ~finite)[rows],
    )


def reference(record: xr.Dataset, name: str) -> Reference:
    """Return what a per-layer quantity is compared with: its null where there is one, else its first value."""
    null = f"{name}_null"
    if null in record:
        return Reference(label(record[null]), np.asarray(record[null].values, dtype=float))
    found = curve(record, name)
    if not len(found.steps):
        return Reference("", np.full(record.sizes["layer"], np.nan))
    start = int(found.steps[0])
    return Reference("at initialization" if start == 0 else f"at step {start}", found.values[0])


def shuffled(record: xr.Dataset, name: str) -> Curve | None:
    """Return what a per-layer quantity was for shuffled inputs, at the image steps; None if that was not measured."""
    null = f"{name}{SHUFFLED}"
    if null not in record:
        return None
    values = np.asarray(record[null].values, dtype=float)
    finite = np.isfinite(values)
    rows = any_column(finite)
    if not rows.any():
        return None
    return Curve(record["image_step"].values[rows], np.where(finite, values, np.nan)[rows], (~finite)[rows])


def label(data: xr.DataArray) -> str:
    """Return a variable's label from its attributes: its name in words, with its unit if it has one.

    >>> label(xr.DataArray(0.0, attrs={"long_name": "width", "units": "neurons"}))
    'width [neurons]'
    """
    words = str(data.attrs.get("long_name", data.name))
    unit = str(data.attrs.get("units", "1"))
    return words if unit in ("1", "") else f"{words} [{unit}]"


def any_column(mask: np.ndarray) -> np.ndarray:
    """Return for each row of (n,) or (n, columns) whether any of its entries is true."""
    return mask if mask.ndim == 1 else np.asarray(mask.any(axis=1))


def spread(count: int, most: int) -> np.ndarray:
    """Return at most `most` indices of `count`, evenly spread, the first and the last among them.

    >>> spread(9, 3).tolist(), spread(0, 3).tolist()
    ([0, 4, 8], [])
    """
    places = np.linspace(0, count - 1, min(count, most)) if count else np.empty(0)
    return np.unique(places.round().astype(int))


def _measured(record: xr.Dataset, name: str, values: np.ndarray) -> np.ndarray:
    per_layer = record[name].dims[1:] == ("layer",)
    if "valid" not in record or name not in record["quantity"].values or not record.sizes["layer"]:
        measured = ~np.isnan(values)
    else:
        valid = record["valid"].sel(quantity=name).values
        measured = valid if per_layer else _spread(np.asarray(valid.any(axis=1)), values.shape)
    if values.ndim == 2 and not per_layer:
        measured = measured & np.isfinite(values).any(axis=0)
    return measured


def _spread(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(rows.reshape(-1, *[1] * (len(shape) - 1)), shape)


def _middle_left_out(name: str, most: int) -> str:
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(str, names)) if names else "nothing"


def _remedy(names: Sequence[object]) -> str:
    return "choose one of them" if names else "observe it: name its measure when the run starts"
