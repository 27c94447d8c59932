"""Cosine images of a record: which there are, and how samples and neurons are ordered to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from cloudchamber._core.errors import require
from cloudchamber.measures import heatmap_order
from cloudchamber.plot.reading import layer_names

_ALIKE = 0.3
KINDS = ("sample_cosine", "neuron_cosine")


@dataclass(frozen=True)
class Image:
    """A cosine matrix ready to be drawn.

    Attributes:
        values: (n, n), rows and columns in the order to be shown; NaN where it is no finite number.
        ids: (n,) which sample or neuron each row is.
        groups: (n,) the class of each row; -1 without classes and for neurons.
    """

    values: np.ndarray
    ids: np.ndarray
    groups: np.ndarray


def image_steps(record: xr.Dataset) -> list[int]:
    """Return the steps at which the record has cosine images."""
    return [int(step) for step in record["image_step"].values] if "image_step" in record.coords else []


def image(record: xr.Dataset, quantity: str, layer: str, step: int) -> Image:
    """Return one cosine matrix: samples by class, neurons by similarity, without the padding."""
    data = record[quantity].sel(image_step=step)
    index = layer_names(record).index(layer)
    matrix = np.asarray(data.values[index], dtype=np.float32)
    matrix = np.where(np.isfinite(matrix), matrix, np.nan)
    if quantity == "sample_cosine":
        return _samples(record, matrix)
    return _neurons(record["neuron_id"].values[index], matrix)


def order(matrix: np.ndarray) -> np.ndarray:
    """Return the order that puts similar rows side by side; rows without any number come last.

    >>> order(np.array([[1.0, np.nan], [np.nan, np.nan]])).tolist()
    [0, 1]
    """
    known = np.flatnonzero(np.isfinite(np.diagonal(matrix)))
    part = np.nan_to_num(matrix[np.ix_(known, known)])
    if len(known) > 2:
        known = known[np.asarray(heatmap_order(torch.from_numpy(part)))]
    return np.concatenate([known, np.setdiff1d(np.arange(len(matrix)), known)])


def require_step(record: xr.Dataset, step: int | None) -> int:
    """Return the image step asked for, the last one without it.

    Raises:
        InvalidInput: if there is none; the message names those that are.
    """
    steps = image_steps(record)
    require(bool(steps), "this record has cosine images at some step", "none", "observe with image steps")
    require(step is None or step in steps, f"this record has cosine images at steps {steps}", step, "choose one")
    return steps[-1] if step is None else int(step)


def most_condensed(record: xr.Dataset, step: int) -> str | None:
    """Return the layer before the output whose neurons are most alike, None if none are more so than by chance."""
    if "neuron_cosine" not in record:
        return None
    known = layer_names(record)
    names = known[:-1] or known
    scores = [_likeness(image(record, "neuron_cosine", name, step).values) for name in names]
    alike = [(score, name) for score, name in zip(scores, names, strict=True) if score > _ALIKE]
    return max(alike)[1] if alike else None


def _likeness(values: np.ndarray) -> float:
    pairs = np.abs(values[~np.eye(len(values), dtype=bool)])
    pairs = pairs[np.isfinite(pairs)]
    return float(pairs.mean()) if len(pairs) else float("nan")


def _samples(record: xr.Dataset, matrix: np.ndarray) -> Image:
    classes = record["sample_class"].values if "sample_class" in record.coords else np.full(len(matrix), -1)
    ids = np.argsort(classes, kind="stable")
    return Image(matrix[np.ix_(ids, ids)], ids, np.asarray(classes)[ids])


def _neurons(ids: np.ndarray, matrix: np.ndarray) -> Image:
    real = np.flatnonzero(ids >= 0)
    matrix = matrix[np.ix_(real, real)]
    turned = order(matrix)
    return Image(matrix[np.ix_(turned, turned)], ids[real][turned], np.full(len(real), -1))
