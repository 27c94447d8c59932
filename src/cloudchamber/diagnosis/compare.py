"""Two or more runs side by side: where each one is, how far it came, and in what their recipes differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import numpy as np
import xarray as xr

from cloudchamber._core.errors import require
from cloudchamber.diagnosis.case import Case
from cloudchamber.diagnosis.compared_numbers import LAYER, RUN, TEXTS
from cloudchamber.diagnosis.comparison import Comparison
from cloudchamber.diagnosis.curves import layer_names
from cloudchamber.diagnosis.rule import DEFAULT_RULE, PhaseRule

Records = Mapping[str, xr.Dataset] | Sequence[xr.Dataset]
_REMEDY = "pass them as {'name': record, 'other name': other_record} or [record, other_record]"


def compare(records: Records, *, layer: str | None = None, rule: PhaseRule = DEFAULT_RULE) -> Comparison:
    """Put two or more runs side by side: phases, losses, layers, and the recipe fields in which they differ.

    Of each run: the phases and markers of `find_phases`; the last and lowest finite probe loss beside that of the best
    constant output; the accuracy, the mean over the classes. Of each layer: its feature and gradient cosine at
    initialization (at step 0, missing if that was not observed), their largest finite and their last value, as
    measured; the last effective width beside that of random directions; the last relative distance.

    Runs may be observed at different steps. Layers are matched by name, and listed in the order of the forward passes.
    What only some runs have is shown as missing for the others.

    Args:
        records: two or more records by name, or in a sequence; they are called "run 1", "run 2", … then.
        layer: the layer of the similarity markers; None = the middle hidden layer of each run.
        rule: the thresholds of the phases.

    Returns:
        The comparison; `.table` is an `xarray.Dataset` over (run,) and (run, layer).

    Raises:
        InvalidInput: if there are fewer than two records, something is no record, or a record does not have `layer`.

    Source: mlp2024, Section 2 (the markers); zhou2022, Section 4 (the effective width).

    >>> record = xr.Dataset({"probe_loss": ("step", [2.3, 1.1])}, coords={"step": [0, 10]})
    >>> compare({"short": record.isel(step=[0]), "long": record}).table["final_probe_loss"].values
    array([2.3, 1.1])
    """
    cases = {name: Case.open(record, layer, rule) for name, record in named_records(records).items()}
    table, measured = _tables(cases)
    fields = {name: _fields(case) for name, case in cases.items()}
    readable = {name: found for name, found in fields.items() if found}
    return Comparison(table, measured, _differences(readable), tuple(name for name in cases if name not in readable))


def named_records(records: Records) -> dict[str, xr.Dataset]:
    """Return records by name, "run 1", "run 2", … without names.

    Raises:
        InvalidInput: if there are fewer than two, or something is no record.

    >>> record = xr.Dataset(coords={"step": [0, 10]})
    >>> list(named_records([record, record]))
    ['run 1', 'run 2']
    """
    _require_several(records)
    if isinstance(records, Mapping):
        named = {str(name): record for name, record in records.items()}
    else:
        named = {f"run {index}": record for index, record in enumerate(records, 1)}
    require(
        len(named) > 1,
        "comparing needs at least two runs",
        f"{len(named)} ({', '.join(named) or 'no record'})",
        _REMEDY,
    )
    for name, record in named.items():
        _require_record(name, record)
    return named


def _require_several(records: object) -> None:
    several = isinstance(records, Mapping | Sequence) and not isinstance(records, str | xr.Dataset)
    received = "one record" if isinstance(records, xr.Dataset) else type(records).__name__
    require(several, "records to compare are a mapping from names to records, or a sequence", received, _REMEDY)


def _require_record(name: str, record: xr.Dataset) -> None:
    require(
        isinstance(record, xr.Dataset),
        f"{name} must be a record (xarray.Dataset)",
        type(record).__name__,
        "pass `monitor.record`, or open a run folder with `cc.open_record`",
    )
    require(
        "step" in record.indexes and ("layer" not in record.coords or "layer" in record.indexes),
        f"{name} must be a record, with the dimension step, and layer if it has layers",
        f"the dimensions {', '.join(map(str, record.sizes)) or 'none'}",
        "pass a whole record, or select by lists, as in record.sel(step=[0])",
    )


def _tables(cases: Mapping[str, Case]) -> tuple[xr.Dataset, xr.Dataset]:
    layers = _merged([layer_names(case.record) for case in cases.values()])
    coords = {"run": np.array(list(cases), dtype=object), "layer": np.array(layers, dtype=object)}
    cells = {name: [column.read(case) for case in cases.values()] for name, column in RUN.items()}
    cells |= {
        name: [[column.read(case, layer) for layer in layers] for case in cases.values()]
        for name, column in LAYER.items()
    }
    arrays = {name: np.array(values, dtype=object) for name, values in cells.items()}
    texts = {
        name: ("run", np.array([read(case) for case in cases.values()], dtype=object), {"long_name": words})
        for name, (words, read) in TEXTS.items()
    }
    numbers = {name: _variable(name, array.astype(float)) for name, array in arrays.items()}
    held = {name: _variable(name, _is_there(array)) for name, array in arrays.items()}
    return xr.Dataset(texts | numbers, coords=coords), xr.Dataset(held, coords=coords)


def _is_there(cells: np.ndarray) -> np.ndarray:
    return np.array([cell is not None for cell in cells.flat], dtype=bool).reshape(cells.shape)


def _variable(name: str, array: np.ndarray) -> xr.Variable:
    return xr.Variable(("run", "layer")[: array.ndim], array, {"long_name": (RUN | LAYER)[name].words})


def _merged(orders: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Merge the layers of several networks: each network's order is kept, whatever the order of the networks."""
    before: dict[str, set[str]] = {name: set() for name in sorted({name for names in orders for name in names})}
    for names in orders:
        for first, second in pairwise(names):
            before[second].add(first)
    try:
        return tuple(TopologicalSorter({name: sorted(first) for name, first in before.items()}).static_order())
    except CycleError:  # two networks call the same layers in another order
        latest = {name: max(names.index(name) for names in orders if name in names) for name in before}
        return tuple(sorted(before, key=lambda name: (latest[name], name)))


def _fields(case: Case) -> dict[str, object]:
    """Return the recipe by dotted names; empty if there is none, or it is no readable YAML."""
    try:
        return dict(_flat(case.recipe))
    except (RecursionError, ValueError):  # YAML may refer to itself, or hold a date that there is not
        return {}


def _flat(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _differences(recipes: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    fields = sorted({name for settings in recipes.values() for name in settings})
    held = {name: {run: found[name] for run, found in recipes.items() if name in found} for name in fields}
    return {
        name: values
        for name, values in held.items()
        if len(values) < len(recipes) or len({repr(value) for value in values.values()}) > 1
    }
