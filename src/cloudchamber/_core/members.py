"""Records of ensembles: the record of one model with a leading dimension `member`.

Everything that has steps or differs between members has the dimension; layers and neurons are the same for all. Further
coordinates: `stopped_at` (updates applied to each member), `images_taken` (at which image steps a member's images were
taken), and `member_recipe` where members have recipes of their own; the attribute `recipe` then holds what all of them
share. What was not measured of a member, at steps after its end among others, is NaN and not `valid`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
import yaml

from cloudchamber._core.errors import require

MEMBER = "member"
_OWN = (MEMBER, "stopped_at", "images_taken", "member_recipe")
"""The coordinates that a record of one model does not have."""


def one_member(record: xr.Dataset, member: int) -> xr.Dataset:
    """Return the record of one member, as a monitor of that model alone would have made it.

    Only the steps at which this member was observed are left, and its recipe is the attribute `recipe`.

    Args:
        record: the record of an ensemble.
        member: the number of the member, a value of the coordinate `member`.

    Raises:
        InvalidInput: if the record is of no ensemble or has no such member.

    >>> values = ("member", "step"), np.array([[2.0, 1.0], [3.0, np.nan]])
    >>> coords = {"member": [0, 1], "step": [0, 5], "stopped_at": ("member", [5, 0])}
    >>> one_member(xr.Dataset({"probe_loss": values}, coords=coords), 1).probe_loss.values
    array([3.])
    """
    require_members(record)
    numbers = record[MEMBER].values.tolist()
    require(member in numbers, f"this record's members are {_listed(numbers)}", member, "choose one of them")
    one = record.isel({MEMBER: numbers.index(member)})
    one = one.isel(step=np.flatnonzero(_observed(one)))
    if "images_taken" in one.coords:
        one = one.isel(image_step=np.flatnonzero(one["images_taken"].values))
    if "member_recipe" in one.coords:
        one.attrs["recipe"] = str(one["member_recipe"].item())
    return one.drop_vars([name for name in _OWN if name in one.coords])


def join_members(records: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put the members of several records of one kind of ensemble together, in the order given.

    A step that some of them do not have is not measured there. Members are numbered anew, from 0.

    Args:
        records: records of ensembles with the same layers.

    Raises:
        InvalidInput: if there is none, one is of no ensemble, or they have different layers.
    """
    require(len(records) > 0, "records of ensembles are put together from at least one", "none", "pass some")
    for record in records:
        require_members(record)
        same = all(record[name].equals(records[0][name]) for name in ("layer", "layer_type", "width", "fan_in"))
        require(same, "records that are put together have the same layers", list(record.layer.values), "join others")
    own = {name for record in records for name in record.variables if MEMBER in record[name].dims}
    spread = [record.assign({n: _spread(record, n) for n in own if n in record.variables}) for record in records]
    joined = xr.concat(
        [record.drop_vars(MEMBER) for record in spread],
        dim=MEMBER,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="override",
        fill_value={str(name): _missing(records, str(name)) for name in own},
    )
    joined = joined.assign_coords({MEMBER: np.arange(joined.sizes[MEMBER])})
    if "member_recipe" in joined.coords:
        joined.attrs["recipe"] = shared_settings(joined["member_recipe"].values.tolist())
    return joined


def require_members(record: xr.Dataset) -> None:
    """Raise `InvalidInput` unless the record is of an ensemble."""
    require(
        MEMBER in record.dims,
        "the record of an ensemble has a dimension `member`",
        f"one of dimensions {sorted(map(str, record.dims))}",
        "pass the record of `train_ensemble` or `run_ensemble`",
    )


def shared_settings(texts: Iterable[str]) -> str:
    """Return, as YAML, the fields that several texts of settings share, with their values; "" if there are none.

    >>> print(shared_settings(["a: 1\\nb: {c: 2, d: 3}", "a: 0\\nb: {c: 2, d: 4}"]))
    b:
      c: 2
    <BLANKLINE>
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    different = dict.fromkeys(texts)
    if len(different) == 1:
        return next(iter(different))
    shared: Any = None
    for number, text in enumerate(different):
        settings = yaml.load(text, loader)
        shared = settings if number == 0 else _common(shared, settings)
    return yaml.safe_dump(shared, sort_keys=False, allow_unicode=True) if isinstance(shared, dict) and shared else ""


def _common(one: Any, other: Any) -> Any:
    """Return what two nested settings share; None if nothing."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return None
    inner = {key: _common(one[key], other[key]) for key in one if key in other and one[key] != other[key]}
    same = {key: value for key, value in one.items() if key in other and value == other[key]}
    kept = same | {key: value for key, value in inner.items() if value}
    return {key: kept[key] for key in one if key in kept}


def _observed(record: xr.Dataset) -> np.ndarray:
    """Tell at which steps anything was measured of one model."""
    if "valid" in record and record.sizes.get("quantity", 0) and record.sizes.get("layer", 0):
        return np.asarray(record["valid"].any(("quantity", "layer")).values)
    measured = [item.notnull() for item in record.data_vars.values() if item.dims[:1] == ("step",)]
    return np.any([item.any(item.dims[1:]).values for item in measured], axis=0)


def _spread(record: xr.Dataset, name: object) -> xr.Variable:
    """Return a variable with the dimension of members, which it may lack where all share it."""
    item = record.variables[name]
    sizes = {MEMBER: record.sizes[MEMBER], **item.sizes}
    return item if MEMBER in item.dims else item.set_dims(sizes)


def _missing(records: Sequence[xr.Dataset], name: str) -> object:
    """Return what stands where nothing was measured."""
    kinds = {record.variables[name].dtype.kind for record in records if name in record.variables}
    return {"b": False, "i": -1, "O": ""}.get(kinds.pop() if kinds else "f", np.nan)


def _listed(numbers: Sequence[int]) -> str:
    return f"{numbers[0]} … {numbers[-1]}" if numbers else "none"
