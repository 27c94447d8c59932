"""The growing record: observations in a buffer, built into an `xarray.Dataset` when asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import xarray as xr

from cloudchamber._core.errors import require
from cloudchamber._core.registry import Quantity
from cloudchamber._core.schema import SCHEMA_VERSION, Frame

Values = Mapping[str, np.ma.MaskedArray]


class Later(Mapping[str, np.ma.MaskedArray]):
    """Arrays by quantity that are put in order when they are first asked for, after the training step."""

    def __init__(self, make: Callable[[], Values]) -> None:
        self._make: Callable[[], Values] | None = make

    @cached_property
    def _values(self) -> Values:
        assert self._make is not None
        values, self._make = self._make(), None  # frees what it was made of
        return values

    def __getitem__(self, name: str) -> np.ma.MaskedArray:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


_COUNTED = ("direction", "component", "eigenvalue")
"""Dimensions whose entries are counted from 1, as the papers do; in a record that has a quantity of them."""


@dataclass(frozen=True)
class Observation:
    """What was measured at one step: arrays by quantity, without the step dimension; masked = not measured."""

    step: int
    values: Values


@dataclass
class RecordBuffer:
    """The observations of a run so far, in the order of their steps."""

    frame: Frame
    observations: list[Observation] = field(default_factory=list)

    def append(self, observation: Observation) -> None:
        """Add an observation.

        Raises:
            InvalidInput: if its step does not come after the last one.
        """
        require(
            observation.step > self.last_step,
            f"observed steps grow (last: {self.last_step})",
            observation.step,
            "pass the number of updates applied so far",
        )
        self.observations.append(observation)

    @property
    def last_step(self) -> int:
        """The last observed step, -1 before the first."""
        return self.observations[-1].step if self.observations else -1

    def dataset(self, *, images: bool = True) -> xr.Dataset:
        """Build the record (module `schema` says what is in it), or without cosine images a light one."""
        names = sorted({name for observation in self.observations for name in observation.values})
        if not images:
            names = [item.name for item in self._step_quantities(names)]
        items = [self.frame.quantity(name) for name in names]
        sizes = self._sizes(items)
        stacked = {item.name: self._stack(item, sizes) for item in items}
        variables: dict[str, xr.Variable] = {
            name: variable(self.frame.quantity(name), array.filled(np.nan)) for name, array in stacked.items()
        }
        for name, value in self.frame.constants.items():
            variables[name] = variable(self.frame.quantity(name), np.asarray(value, dtype=np.float64))
        variables["valid"] = self._valid(stacked)
        named = [item.name for item in self._step_quantities(stacked)]
        steps = [o.step for o in self.observations]
        found = coordinates(self.frame, steps, self._image_steps(), named, sizes)
        return xr.Dataset(variables, coords=found, attrs=attributes(self.frame, variables))

    def _stack(self, item: Quantity, sizes: Mapping[str, int]) -> np.ma.MaskedArray:
        steps = set(self._image_steps()) if item.dims[0] == "image_step" else None
        chosen = [o for o in self.observations if steps is None or o.step in steps]
        shape = (len(chosen), *(sizes[dim] for dim in item.dims[1:]))
        data, mask = np.full(shape, np.nan, kept_dtype(item)), np.ones(shape, dtype=bool)
        for index, observation in enumerate(chosen):
            value = observation.values.get(item.name)
            if value is not None:
                place = (index, *map(slice, value.shape))
                data[place], mask[place] = value.data, np.ma.getmaskarray(value)
        return np.ma.MaskedArray(data, mask)

    def _image_steps(self) -> list[int]:
        images = image_quantities(self.frame)
        return [o.step for o in self.observations if images & o.values.keys()]

    def _step_quantities(self, names: Iterable[str]) -> list[Quantity]:
        items = [self.frame.quantity(name) for name in names]
        return [item for item in items if item.dims[0] == "step"]

    def _sizes(self, items: Iterable[Quantity]) -> dict[str, int]:
        shapes = {
            item: [o.values[item.name].shape for o in self.observations if item.name in o.values] for item in items
        }
        return sizes_of(self.frame, shapes)

    def _valid(self, stacked: Mapping[str, np.ma.MaskedArray]) -> xr.Variable:
        items = self._step_quantities(stacked)
        valid = np.zeros((len(items), len(self.observations), len(self.frame.layers)), dtype=bool)
        for index, item in enumerate(items):
            valid[index] = measured_layers(item, stacked[item.name])
        return xr.Variable(("quantity", "step", "layer"), valid, VALID_ATTRIBUTES)


VALID_ATTRIBUTES = {"long_name": "measured, so that a NaN is the value itself"}


def measured_layers(item: Quantity, array: np.ma.MaskedArray) -> np.ndarray:
    """Return (steps, layers or 1): whether anything of a step quantity (steps, ...) was measured."""
    measured: np.ndarray = ~np.ma.getmaskarray(array)
    kept = 2 if item.dims[1:2] == ("layer",) else 1
    return np.asarray(measured.any(axis=tuple(range(kept, measured.ndim))).reshape(len(measured), -1))


def image_quantities(frame: Frame) -> set[str]:
    """Return the names of what is taken at image steps."""
    return {item.name for item in frame.quantities if item.dims[:1] == ("image_step",)}


def sizes_of(frame: Frame, shapes: Mapping[Quantity, Sequence[tuple[int, ...]]]) -> dict[str, int]:
    """Return sizes by dimension: those that the frame fixes, and those that only the data know (directions, ...).

    Args:
        frame: what stays the same.
        shapes: for each quantity, those of its arrays, without the dimension of steps.
    """
    neurons = max((len(ids) for ids in frame.neuron_ids), default=0)
    samples = len(frame.sample_classes)
    fixed = {
        "layer": len(frame.layers),
        "class": frame.classes,
        "sample": samples,
        "sample_other": samples,
        "neuron": neurons,
        "neuron_other": neurons,
    }
    found: dict[str, int] = {}
    for item, of_item in shapes.items():
        for dim, *sizes in zip(item.dims[1:], *of_item, strict=True):
            found[dim] = max(found.get(dim, 0), *sizes)
    return found | fixed


def coordinates(
    frame: Frame,
    steps: Sequence[int],
    image_steps: Sequence[int],
    step_quantities: Sequence[str],
    sizes: Mapping[str, int],
) -> dict[str, tuple[object, object]]:
    """Return the coordinates of a record of one model."""
    layers, rows = frame.layers, frame.coverage
    neurons = range(sizes["neuron"])
    samples = np.arange(len(frame.sample_classes))
    return {
        "step": ("step", np.array(steps, dtype=np.int64)),
        "image_step": ("image_step", np.array(image_steps, dtype=np.int64)),
        "layer": ("layer", np.array([layer.name for layer in layers], dtype=object)),
        "layer_type": ("layer", np.array([layer.layer_type for layer in layers], dtype=object)),
        "width": ("layer", np.array([layer.width for layer in layers], dtype=np.int64)),
        "fan_in": ("layer", np.array([layer.fan_in for layer in layers], dtype=np.int64)),
        "activation": ("layer", np.array([layer.activation for layer in layers], dtype=object)),
        "module": ("module", np.array([row.module for row in rows], dtype=object)),
        "module_type": ("module", np.array([row.module_type for row in rows], dtype=object)),
        "coverage": ("module", np.array([row.coverage for row in rows], dtype=object)),
        "class": ("class", np.arange(frame.classes)),
        "sample": ("sample", samples),
        "sample_other": ("sample_other", samples),
        "sample_class": ("sample", np.array(frame.sample_classes, dtype=np.int64)),
        "neuron": ("neuron", np.array(neurons, dtype=np.int64)),
        "neuron_other": ("neuron_other", np.array(neurons, dtype=np.int64)),
        "neuron_id": (("layer", "neuron"), _padded(frame.neuron_ids, len(neurons))),
        "quantity": ("quantity", np.array(step_quantities, dtype=object)),
        **{dim: (dim, np.arange(1, sizes[dim] + 1)) for dim in _COUNTED if dim in sizes},
    }


def attributes(frame: Frame, variables: Iterable[str]) -> dict[str, object]:
    """Return the attributes of a record with these variables."""
    known = [frame.quantity(name) for name in variables if name != "valid"]
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": frame.recipe,
        "environment": json.dumps(frame.environment, sort_keys=True),
        "citations": " ".join(sorted({item.paper for item in known if item.paper})),
    }


def kept_dtype(item: Quantity) -> type[np.floating]:
    """Return the precision in which a quantity is kept: single for images, double for all else."""
    return np.float32 if item.dims[0] == "image_step" and len(item.dims) > 3 else np.float64


def variable(item: Quantity, data: np.ndarray, *, leading: tuple[str, ...] = ()) -> xr.Variable:
    """Return a variable that describes itself; `leading` are dimensions before those of the quantity."""
    described = {
        "long_name": item.long_name,
        "symbol": item.symbol,
        "units": item.unit,
        "range": list(item.bounds),
        "source": item.source,
    }
    return xr.Variable((*leading, *item.dims), data, described)


def _padded(rows: tuple[tuple[int, ...], ...], length: int) -> np.ndarray:
    padded = np.full((len(rows), length), -1, dtype=np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded
