"""Several datasets of one exhibit in a single one, and back: names and dimensions of each get its name before them."""

from __future__ import annotations

import json
from collections.abc import Mapping

import xarray as xr

_ATTRIBUTES = "attributes of "


def packed(parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return datasets as one, for `unpacked`; their own attributes as JSON, where they are words.

    >>> both = packed({"a": xr.Dataset({"x": ("i", [1])}), "b": xr.Dataset({"x": ("i", [1, 2])})})
    >>> dict(both.sizes)
    {'a: i': 1, 'b: i': 2}
    """
    found = xr.merge([part.drop_attrs().rename(_names(name, part)) for name, part in parts.items()])
    return found.assign_attrs({f"{_ATTRIBUTES}{name}": _text(part) for name, part in parts.items()})


def unpacked(found: xr.Dataset, name: str) -> xr.Dataset:
    """Return one of the datasets that `packed` took.

    >>> unpacked(packed({"a": xr.Dataset({"x": ("i", [1])}, attrs={"n": "two"})}), "a").attrs
    {'n': 'two'}
    """
    prefix = f"{name}: "
    kept = found.drop_dims([dim for dim in found.dims if not str(dim).startswith(prefix)])
    kept = kept.drop_vars([key for key in kept.variables if not str(key).startswith(prefix)])
    names = {key: str(key).removeprefix(prefix) for key in {*kept.variables, *kept.dims}}
    return kept.rename(names).drop_attrs().assign_attrs(json.loads(found.attrs[f"{_ATTRIBUTES}{name}"]))


def _names(name: str, part: xr.Dataset) -> dict[str, str]:
    return {str(key): f"{name}: {key}" for key in {*part.variables, *part.dims}}


def _text(part: xr.Dataset) -> str:
    return json.dumps({key: value for key, value in part.attrs.items() if isinstance(value, str)})
