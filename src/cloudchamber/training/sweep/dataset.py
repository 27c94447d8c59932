"""The results of a sweep as one dataset: over its axes where these form a grid, else over its cells."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import xarray as xr

from cloudchamber._core.record import variable
from cloudchamber._core.registry import quantity
from cloudchamber.training.sweep.chunks import Outcome
from cloudchamber.training.sweep.coordinates import along_axes, along_cells
from cloudchamber.training.sweep.kept import kept_dims, results_of
from cloudchamber.training.sweep.plan import Plan
from cloudchamber.training.sweep.sweep import CELL, Keep
from cloudchamber.training.sweep.sweep_text import sweep_yaml
from cloudchamber.training.sweep.table import Table

FORMAT = 1
_STATUS = "finished, diverged (the loss was not finite), failed (with an error), or missing (not computed yet)"


def dataset_of(plan: Plan, outcomes: Mapping[str, Outcome]) -> xr.Dataset:
    """Put the outcomes of a plan's chunks together; what is missing, or failed, is NaN.

    Args:
        plan: of the sweep.
        outcomes: by key; those that are not there are missing.

    Returns:
        For every quantity that is kept an array over the axes of the sweep, or over `cell` where an axis has a
        condition, then over its own dimensions; and `status` and `updates`.
    """
    table = Table(plan, outcomes)
    results = _results(plan)
    variables = {
        "status": xr.Variable((CELL,), table.status(), {"long_name": _STATUS}),
        "updates": xr.Variable((CELL,), table.values("updates", {}), {"long_name": "updates applied", "units": "1"}),
    }
    labels: dict[str, np.ndarray] = {}
    for name in [name for name in results if table.holds(name)]:
        dims = kept_dims(name, results[name])
        labels |= {dim: table.labels(dim) for dim in dims if dim not in labels}
        values = table.values(name, {dim: labels[dim] for dim in dims})
        variables[name] = _variable(name, dims, values)
    dataset = xr.Dataset(variables, coords=labels, attrs=_attributes(plan, outcomes, results))
    return _over_axes(dataset, plan)


def _results(plan: Plan) -> dict[str, Keep]:
    kept: dict[str, Keep] = {}
    for piece in plan.pieces:
        kept |= results_of(plan.recipes[piece.members[0]], plan.sweep.results)
    return kept


def _variable(name: str, dims: tuple[str, ...], values: np.ndarray) -> xr.Variable:
    described = variable(quantity(name), np.empty((0,) * len(quantity(name).dims)))
    return xr.Variable((CELL, *dims), values, described.attrs)


def _attributes(plan: Plan, outcomes: Mapping[str, Outcome], results: Mapping[str, Keep]) -> dict[str, object]:
    used = {
        json.dumps(outcomes[p.chunk.key].environment, sort_keys=True) for p in plan.pieces if p.chunk.key in outcomes
    }
    return {
        "sweep_format": FORMAT,
        "sweep": sweep_yaml(plan.sweep),
        "environments": f"[{', '.join(sorted(used))}]",
        "citations": " ".join(sorted({quantity(name).paper for name in results} - {""})),
    }


def _over_axes(dataset: xr.Dataset, plan: Plan) -> xr.Dataset:
    if not plan.sweep.is_grid:
        return dataset.assign_coords(along_cells(plan.sweep, plan.cells))
    coordinates, sizes = along_axes(plan.sweep), plan.sweep.sizes
    variables = {name: _reshaped(array.variable, sizes) for name, array in dataset.data_vars.items()}
    return xr.Dataset(variables, coords={**coordinates, **dataset.coords}, attrs=dataset.attrs)


def _reshaped(array: xr.Variable, sizes: Mapping[str, int]) -> xr.Variable:
    shape = (*sizes.values(), *array.shape[1:])
    return xr.Variable((*sizes, *array.dims[1:]), array.values.reshape(shape), array.attrs)
