"""What a quantity is to be read beside: its value at initialization, and what chance gives."""

from __future__ import annotations

import xarray as xr

from cloudchamber._core.errors import require

SHUFFLED = "_shuffled"
"""Ends the name of a quantity on a probe in which every coordinate of the inputs is shuffled over the samples."""

PERMUTED = "_permuted"
"""Ends the name of a quantity in which what belongs to one sample is dealt out to others."""

NULL = "_null"
"""Ends the name of what a quantity would be for random weights of the same sizes."""


def null_values(record: xr.Dataset, name: str) -> xr.Dataset:
    """Return what a quantity of a record is to be read beside.

    Args:
        record: a record, as `Monitor.record` or `open_record` gives it.
        name: a quantity in it, with a value per step or image step.

    Returns:
        Those of the following that the record holds. `initial`: the quantity at step 0, before training.
        `shuffled`: the same measure on a probe in which every coordinate of the inputs is shuffled over the samples,
        which keeps each coordinate's distribution and nothing else. `permuted`: the same with what belongs to one
        sample (its push, its target) dealt out to others. `null`: the same for random weights of the same sizes.

    Raises:
        InvalidInput: if the record has no such quantity.

    >>> cosines = xr.DataArray([[0.5], [0.9]], dims=("step", "layer"), coords={"step": [0, 10]})
    >>> null_values(xr.Dataset({"feature_cosine": cosines}), "feature_cosine").initial.values
    array([0.5])
    """
    known = [str(key) for key, item in record.data_vars.items() if item.dims[:1] in (("step",), ("image_step",))]
    require(name in known, f"this record holds {', '.join(known)}", repr(name), "choose one of them")
    found = {word: record[name + ending] for word, ending in _ENDINGS.items() if name + ending in record}
    item = record[name]
    start = item.isel({item.dims[0]: record[item.dims[0]].values == 0})
    if start.sizes[item.dims[0]]:
        found["initial"] = start.isel({item.dims[0]: 0}, drop=True)
    return xr.Dataset(found)


_ENDINGS = {"shuffled": SHUFFLED, "permuted": PERMUTED, "null": NULL}
