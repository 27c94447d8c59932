"""Cosine images in little space: the upper triangle in one byte per pair, base64, within a fixed budget.

A byte is 0 where the cosine is no finite number, else 1 + round(127 (cosine + 1)): a resolution of 0.008.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from cloudchamber.plot.images import KINDS, image_steps, order
from cloudchamber.plot.reading import spread

BUDGET = 2_000_000
_SIDES = (128, 96, 64, 48, 32)
_ENOUGH_STEPS = 12
_NAMED_CLASSES = 20


@dataclass(frozen=True)
class Plan:
    """What of the images is shown: how many rows each, which layers, which steps (as indices)."""

    side: int
    layers: list[int]
    steps: list[int]


def payload(record: xr.Dataset, budget: int = BUDGET) -> dict[str, Any] | None:
    """Return the images of the record, ready for JSON; None if it has none."""
    kinds = [name for name in KINDS if name in record]
    steps = image_steps(record)
    if not kinds or not steps or not record.sizes.get("layer"):
        return None
    plan = planned(record.sizes["layer"], len(steps), budget)
    return {
        "layers": plan.layers,
        "steps": [steps[index] for index in plan.steps],
        "of": len(steps),
        "kinds": {name: _kind(record, name, plan) for name in kinds},
    }


def planned(layers: int, steps: int, budget: int) -> Plan:
    """Choose the largest images of which enough steps fit into the budget of bytes.

    >>> plan = planned(layers=9, steps=20, budget=2_000_000)
    >>> plan.side, len(plan.layers), len(plan.steps)
    (128, 9, 20)
    """
    wanted = min(steps, _ENOUGH_STEPS) * layers
    side = next((side for side in _SIDES if budget // _bytes(side) >= wanted), _SIDES[-1])
    fitting = budget // _bytes(side)
    shown = spread(layers, max(fitting // 2, 1)).tolist()
    return Plan(side, shown, spread(steps, max(fitting // len(shown), 1)).tolist())


def encoded(matrix: np.ndarray) -> str:
    """Return the upper triangle with its diagonal, row by row."""
    upper = matrix[np.triu_indices(len(matrix))]
    finite = np.isfinite(upper)
    codes = 1 + np.rint(127 * (np.clip(np.where(finite, upper, 0), -1, 1) + 1))
    return base64.b64encode(np.where(finite, codes, 0).astype(np.uint8).tobytes()).decode("ascii")


def _kind(record: xr.Dataset, name: str, plan: Plan) -> dict[str, Any]:
    rows = [_rows(record, name, layer, plan.side) for layer in plan.layers]
    data, orders = [], []
    for layer, chosen in zip(plan.layers, rows, strict=True):
        matrices = [_matrix(record, name, step, layer, chosen) for step in plan.steps]
        data.append([encoded(matrix) for matrix in matrices])
        orders.append([order(matrix).tolist() for matrix in matrices] if name == "neuron_cosine" else None)
    labels = [_labels(record, name, layer, chosen) for layer, chosen in zip(plan.layers, rows, strict=True)]
    of = [_available(record, name, layer) for layer in plan.layers]
    groups = _groups(record, rows[0]) if name == "sample_cosine" else {"edges": [], "groups": []}
    return {"labels": labels, "of": of, "data": data, "orders": orders, **groups}


def _rows(record: xr.Dataset, name: str, layer: int, most: int) -> np.ndarray:
    if name == "sample_cosine":
        known = np.argsort(_classes(record), kind="stable")
    else:
        known = np.flatnonzero(record["neuron_id"].values[layer] >= 0)
    return known[spread(len(known), most)]


def _matrix(record: xr.Dataset, name: str, step: int, layer: int, rows: np.ndarray) -> np.ndarray:
    return np.asarray(record[name].values[step, layer], dtype=float)[np.ix_(rows, rows)]


def _labels(record: xr.Dataset, name: str, layer: int, rows: np.ndarray) -> list[str]:
    if name == "neuron_cosine":
        return [f"neuron {index}" for index in record["neuron_id"].values[layer][rows]]
    groups = _classes(record)[rows]
    return [
        f"sample {row}" + (f" (class {group})" if group >= 0 else "") for row, group in zip(rows, groups, strict=True)
    ]


def _available(record: xr.Dataset, name: str, layer: int) -> int:
    return len(_rows(record, name, layer, record.sizes["sample" if name == "sample_cosine" else "neuron"]))


def _groups(record: xr.Dataset, rows: np.ndarray) -> dict[str, Any]:
    """Return where each class of samples but the first starts, and the classes' names unless they are too many."""
    classes = _classes(record)[rows]
    edges = (np.flatnonzero(np.diff(classes)) + 1).tolist()
    names = [str(classes[start]) for start in (0, *edges)] if edges and len(edges) < _NAMED_CLASSES else []
    return {"edges": edges, "groups": names}


def _classes(record: xr.Dataset) -> np.ndarray:
    if "sample_class" in record.coords:
        return record["sample_class"].values
    return np.full(record.sizes["sample"], -1)


def _bytes(side: int) -> int:
    return 4 * (side * (side + 1) // 2) // 3
