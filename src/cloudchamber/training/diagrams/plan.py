"""From the axes of a diagram to chunks of networks, and from what came of them back to arrays over the axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Annotated, Any

import numpy as np
import xarray as xr
from pydantic import Field

from cloudchamber.training.sweep.chunks import Chunk, Outcome

Axes = Mapping[str, Sequence[Any]]
"""The values of each axis, by name and in order."""

Widths = Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=2)]
Values = Annotated[list[float], Field(min_length=1)]

_DECIMALS = 12


def as_axis(values: Sequence[float]) -> list[float]:
    """Return the values rounded, so that 0.1 + 0.2 is 0.3 in chunks and coordinates."""
    return [round(float(value), _DECIMALS) + 0.0 for value in values]


def grid(low: float, high: float, count: int) -> list[float]:
    """Return evenly spaced values of an axis."""
    return as_axis(np.linspace(low, high, count).tolist())


def chunks_by_size(
    axes: Axes,
    *,
    size: str,
    task: Mapping[str, Any],
    networks: Callable[[int], int],
    cost: Callable[[int], float],
) -> list[Chunk]:
    """Return chunks of networks of one size: one cell for each combination of the other axes.

    Args:
        axes: all axes.
        size: the axis whose value the networks of a chunk share.
        task: what all chunks share besides.
        networks: how many networks of a size make a chunk.
        cost: of one network of a size.
    """
    others = [name for name in axes if name != size]
    cells = [dict(zip(others, values, strict=True)) for values in product(*(axes[name] for name in others))]
    found = []
    for value in axes[size]:
        count = max(1, networks(value))
        parts = [tuple(cells[start : start + count]) for start in range(0, len(cells), count)]
        found += [Chunk({**task, size: value}, part, cost=cost(value) * len(part)) for part in parts]
    return found


def gathered(
    axes: Axes, chunks: Sequence[Chunk], outcomes: Mapping[str, Outcome], trailing: Mapping[str, Axes]
) -> xr.Dataset:
    """Return what was measured, over all axes; NaN (and the error, in `failure`) where a cell failed.

    Args:
        axes: all axes; a cell and its task together say where it lies.
        chunks: all chunks.
        outcomes: by the keys of the chunks.
        trailing: for each quantity, the axes of its values in one cell.
    """
    shape = tuple(len(values) for values in axes.values())
    inner = {name: tuple(len(values) for values in more.values()) for name, more in trailing.items()}
    arrays = {name: np.full(shape + inner[name], np.nan) for name in trailing}
    failure = np.full(shape, "", dtype=object)
    places = {name: {value: place for place, value in enumerate(values)} for name, values in axes.items()}
    for chunk in chunks:
        outcome = outcomes[chunk.key]
        where = [tuple(places[name][{**chunk.task, **cell}[name]] for name in axes) for cell in chunk.cells]
        index = tuple(np.array(where).T)
        for name, values in outcome.arrays.items():
            arrays[name][index] = values
        failure[index] = [error or "" for error in outcome.errors]
    coords = {name: list(values) for more in (axes, *trailing.values()) for name, values in more.items()}
    dims = {name: (*axes, *more) for name, more in trailing.items()}
    dataset = xr.Dataset({name: (dims[name], values) for name, values in arrays.items()}, coords=coords)
    return dataset.assign(failure=(tuple(axes), failure.astype(str))) if failure.any() else dataset
