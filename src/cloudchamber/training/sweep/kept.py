"""What is kept of a run: which quantities are measured for a sweep, when, and what of their values goes on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from cloudchamber._core.registry import quantity
from cloudchamber.measures import select
from cloudchamber.measures.registry import all_measures
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.sweep.sweep import Keep

ALWAYS: tuple[str, ...] = ("train_loss", "probe_loss")
"""What is kept beside the measures of the recipe where a sweep names no results."""
_TIMES = ("step", "image_step")


def results_of(recipe: Recipe, results: Mapping[str, Keep] | None) -> dict[str, Keep]:
    """Return what is kept of each quantity: `results`, or the final values of what is measured at every observation."""
    if results is not None:
        return dict(results)
    names = [measure.name for measure in select(recipe.observe.measures) if not measure.at_image_steps]
    return dict.fromkeys((*ALWAYS, *names), "final")


def watching(recipe: Recipe, results: Mapping[str, Keep]) -> Recipe:
    """Return the recipe with what it observes narrowed to what is kept. Observing changes nothing about a run."""
    changes: dict[str, object] = {"measures": [name for name in results if name in all_measures()]}
    if set(results.values()) <= {"final"}:
        # The end of a run is observed whatever the schedule says.
        changes |= {"every": max(recipe.steps, 1), "per_decade": None, "images_every": None}
    return recipe.model_copy(update={"observe": recipe.observe.model_copy(update=changes)})


def kept_dims(name: str, keep: Keep) -> tuple[str, ...]:
    """Return the dimensions of what is kept of a quantity, without that of the cells."""
    dims = quantity(name).dims
    return dims if keep == "all" else tuple(dim for dim in dims if dim not in _TIMES)


def kept_arrays(record: xr.Dataset, stopped_at: np.ndarray, results: Mapping[str, Keep]) -> dict[str, np.ndarray]:
    """Take what is kept out of a record with a `member` dimension.

    Args:
        record: of the members of an ensemble.
        stopped_at: (members,), updates that each got.
        results: what is kept, by quantity.

    Returns:
        The quantities that were measured, (members, ...), and for every dimension of these its coordinate,
        (members, size).
    """
    kept = {name: _kept(record[name], stopped_at, keep) for name, keep in results.items() if name in record}
    dims = {dim for name in kept for dim in kept_dims(name, results[name])}
    return kept | {dim: _coordinate(record, dim, len(stopped_at)) for dim in sorted(dims)}


def _coordinate(record: xr.Dataset, dim: str, members: int) -> np.ndarray:
    labels = record[dim].values
    plain = labels.astype(str) if labels.dtype == object else labels
    return np.repeat(plain[None], members, axis=0)


def _kept(array: xr.DataArray, stopped_at: np.ndarray, keep: Keep) -> np.ndarray:
    time = next((dim for dim in _TIMES if dim in array.dims), None)
    if "member" not in array.dims:
        array = array.expand_dims(member=len(stopped_at))
    if time is None:
        return array.transpose("member", ...).values
    values = array.transpose("member", time, ...).values
    if keep == "all":
        return values
    if keep == "final":
        return _final(values, array[time].values, stopped_at)
    return _extreme(values, np.fmax if keep == "max" else np.fmin)


def _final(values: np.ndarray, steps: np.ndarray, stopped_at: np.ndarray) -> np.ndarray:
    if not len(steps):
        return np.full((len(values), *values.shape[2:]), np.nan)
    last = np.searchsorted(steps, stopped_at, side="right") - 1
    return values[np.arange(len(values)), last]


def _extreme(values: np.ndarray, better: np.ufunc) -> np.ndarray:
    return better.reduce(values, axis=1, initial=np.nan)
