"""A plan as JSON and tensors, and back."""

from __future__ import annotations

from dataclasses import asdict
from math import isnan, nan
from typing import Any

import torch
from torch import Tensor

from cloudchamber.anatomy.channels import Axis, Part, Reader, Space, Tensors
from cloudchamber.reduction.change import Change, Fold
from cloudchamber.reduction.heads import HeadChange, host_from_json, host_to_json
from cloudchamber.reduction.heads.blocks import HeadGroups
from cloudchamber.reduction.outputs import Difference
from cloudchamber.reduction.plan import LayerPlan, Plan, Summary
from cloudchamber.reduction.running import AnyChange

VERSION = 2
_SAID = ("name", "unit", "before", "after", "merged", "constant", "copies", "distance", "how")
_BOUNDS = ("bound", "changed", "bound_for_every_input")
"""NaN where nothing is known, which is null in JSON."""


def folds_of(plan: Plan) -> dict[str, Tensor]:
    """Per layer and reader what a consumer makes of the channels: a factor each, or the matrix of those not kept."""
    held: dict[str, Tensor] = {}
    for number, layer in enumerate(plan.layers):
        change = layer.change
        if isinstance(change, HeadChange):
            continue
        for place, fold in enumerate(change.folds.values()):
            name, dense = f"{number}.{place}", fold.how == "least squares"
            stored = fold.matrix[_removed(change)] if dense else fold.matrix.sum(1)
            held[f"{name}.matrix"] = stored.contiguous()
            held[f"{name}.shift"] = fold.shift.contiguous()
    return held


def _removed(change: Change) -> Tensor:
    removed = torch.ones(change.space.size, dtype=torch.bool)
    removed[change.origin] = False
    return removed


def _change_to_json(change: AnyChange) -> dict[str, Any]:
    if isinstance(change, HeadChange):
        groups = change.groups
        widths = {"queries": groups.queries, "values": groups.values}
        return {"host": host_to_json(change.host), "heads": change.before, "kept": groups.kept.tolist(), **widths}
    return {
        "origin": change.origin.tolist(),
        "ways": {key: fold.how for key, fold in change.folds.items()},
        "space": {**asdict(change.space), "functions": sorted(change.space.functions)},
    }


def to_json(summary: Summary) -> dict[str, Any]:
    """Return all of a summary that is not in `folds_of` as what JSON can hold."""
    plan = summary.plan
    layers = [
        {
            **{name: getattr(layer, name) for name in _SAID},
            **{name: None if isnan(getattr(layer, name)) else getattr(layer, name) for name in _BOUNDS},
            "labels": layer.labels.tolist(),
            **_change_to_json(layer.change),
        }
        for layer in plan.layers
    ]
    said = {name: getattr(plan, name) for name in ("kept", "skipped", "tolerance", "examples")}
    numbers = {"expected": asdict(plan.expected), "error": asdict(summary.error), "fine_tuned": summary.fine_tuned}
    return {"version": VERSION, **said, **numbers, "parameters": summary.parameters, "layers": layers}


def from_json(held: dict[str, Any], folds: dict[str, Tensor]) -> Summary:
    """Undo `to_json` and `folds_of`; raises what the reading of something else raises."""
    if held["version"] != VERSION:
        raise ValueError(f"version {held['version']}, not {VERSION}")
    layers = tuple(_layer(number, each, folds) for number, each in enumerate(held["layers"]))
    pairs = {name: tuple((first, second) for first, second in held[name]) for name in ("kept", "skipped")}
    before, after = held["parameters"]
    expected, (fitted, held_out) = Difference(**held["expected"]), held["examples"]
    plan = Plan(
        layers, pairs["kept"], pairs["skipped"], held["tolerance"], expected, (fitted, held_out), (before, after)
    )
    return Summary(plan, Difference(**held["error"]), (before, after), held["fine_tuned"])


def _layer(number: int, held: dict[str, Any], folds: dict[str, Tensor]) -> LayerPlan:
    labels = torch.tensor(held["labels"])
    change = _heads(held, labels) if "host" in held else _neurons(number, held, labels, folds)
    said: dict[str, Any] = {name: held[name] for name in _SAID}
    said |= {name: nan if held[name] is None else held[name] for name in _BOUNDS}
    return LayerPlan(**said, labels=labels, change=change)


def _heads(held: dict[str, Any], labels: Tensor) -> HeadChange:
    heads, queries, values = held["heads"]
    groups = HeadGroups(labels, torch.tensor(held["kept"]), held["queries"], held["values"])
    return HeadChange(host_from_json(held["host"]), (heads, queries, values), groups)


def _neurons(number: int, held: dict[str, Any], labels: Tensor, folds: dict[str, Tensor]) -> Change:
    origin = torch.tensor(held["origin"])
    change = Change(_space(held["space"]), origin, {})
    for place, (key, how) in enumerate(held["ways"].items()):
        matrix = torch.zeros(len(labels), len(origin), dtype=torch.float64)
        stored = folds[f"{number}.{place}.matrix"]
        if how == "least squares":
            matrix[origin, torch.arange(len(origin))] = 1.0
            matrix[_removed(change)] = stored
        else:
            member = labels >= 0
            matrix[member, labels[member]] = stored[member]
        change.folds[key] = Fold(matrix, folds[f"{number}.{place}.shift"], how)
    return change


def _space(held: dict[str, Any]) -> Space:
    parts = {
        key: Part(part["module"], part["layer_type"], _tensors(part["tensors"]), tuple(map(tuple, part["sizes"])))
        for key, part in held["parts"].items()
    }
    readers = {
        key: Reader(**{**reader, "axis": Axis(**reader["axis"]), "weights": _tensors(reader["weights"])})
        for key, reader in held["readers"].items()
    }
    return Space(**{**held, "parts": parts, "readers": readers, "functions": set(held["functions"])})


def _tensors(held: list[dict[str, Any]]) -> tuple[Tensors, ...]:
    return tuple(Tensors(each["name"], Axis(**each["axis"]), each["kind"]) for each in held)
