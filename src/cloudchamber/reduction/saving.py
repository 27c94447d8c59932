"""A merged network on disk: its weights, and the plan that rebuilds it from the original class. No code is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from math import isnan, nan
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from cloudchamber._core.errors import DamagedFile, FileAccess, InvalidInput
from cloudchamber._core.files import atomic_path, make_folder, write_text
from cloudchamber.anatomy.channels import Axis, Part, Reader, Space, Tensors
from cloudchamber.reduction.change import Change, Fold
from cloudchamber.reduction.heads import HeadChange, host_from_json, host_to_json
from cloudchamber.reduction.heads.blocks import HeadGroups
from cloudchamber.reduction.outputs import Difference
from cloudchamber.reduction.plan import AnyChange, LayerPlan, Plan, Summary

WEIGHTS, FOLDS, PLAN = "weights.safetensors", "plan.safetensors", "plan.json"
VERSION = 2
_SAID = ("name", "unit", "before", "after", "merged", "constant", "copies", "distance", "how")
_BOUNDS = ("bound", "changed", "bound_for_every_input")
"""NaN where nothing is known, which is null in JSON."""


def save_merged(model: nn.Module, summary: Summary, folder: Path | str) -> Path:
    """Write a merged network into a folder: its weights and its plan, as safetensors and JSON.

    Args:
        model: the narrow network of `merge_neurons`, perhaps trained further.
        summary: the summary that came with it.
        folder: is made if it is not there; files of the same names are replaced, each whole.

    Returns:
        The folder.

    Raises:
        FileAccess: if it cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> from cloudchamber.reduction import merge_neurons
    >>> small, summary = merge_neurons(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), torch.randn(50, 2))
    >>> with TemporaryDirectory() as folder:
    ...     sorted(path.name for path in save_merged(small, summary, folder).iterdir())
    ['plan.json', 'plan.safetensors', 'weights.safetensors']
    """
    place = make_folder(folder)
    with atomic_path(place / WEIGHTS) as temporary:
        save_model(model, str(temporary))
    with atomic_path(place / FOLDS) as temporary:
        save_file(_folds(summary.plan), temporary)
    write_text(place / PLAN, json.dumps(_to_json(summary), indent=1) + "\n")
    return place


def load_plan(folder: Path | str) -> Plan:
    """Read the plan of a folder, to print it or to replay it.

    Raises:
        FileAccess: if there is none.
        DamagedFile: if it cannot be understood.
    """
    return load_summary(folder).plan


def load_summary(folder: Path | str) -> Summary:
    """Read what merging came to.

    Raises:
        FileAccess: if there is none.
        DamagedFile: if it cannot be understood.
    """
    place = Path(folder)
    for name in (PLAN, FOLDS):
        if not (place / name).is_file():
            raise FileAccess(f"a merged network's folder holds {name}; got {place} without it. Remedy: check the path.")
    try:
        return _from_json(json.loads((place / PLAN).read_text(encoding="utf-8")), load_file(place / FOLDS))
    except Exception as error:  # the bytes of a damaged file can make the readers raise anything
        raise _damage(place / PLAN, error) from error


def load_merged(folder: Path | str, make: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    """Rebuild a merged network from its folder and the class (or function) that made the original.

    Args:
        folder: where `save_merged` wrote it.
        make: makes a network of the original's widths; its weights do not matter.
        args: for `make`.
        kwargs: for `make`.

    Raises:
        FileAccess: if the folder holds no merged network.
        DamagedFile: if its files cannot be understood.
        InvalidInput: if what `make` makes is not the original's architecture.

    >>> from tempfile import TemporaryDirectory
    >>> from cloudchamber.reduction import merge_neurons
    >>> def make(width): return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1))
    >>> small, summary = merge_neurons(make(3), torch.randn(50, 2))
    >>> with TemporaryDirectory() as folder:
    ...     _ = save_merged(small, summary, folder)
    ...     torch.equal(load_merged(folder, make, width=3)[0].weight, small[0].weight)
    True
    """
    plan = load_plan(folder)
    model = make(*args, **kwargs)
    for layer in plan.layers:
        layer.change.apply(model)
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise FileAccess(f"a merged network's folder holds {WEIGHTS}; got {folder} without it. Remedy: check the path.")
    try:
        load_model(model, path)
    except RuntimeError as error:  # keys or shapes that do not fit
        raise InvalidInput(
            f"`make` makes the network that was merged; got another: {' '.join(str(error).split())[:300]}. "
            "Remedy: pass the original class and its arguments."
        ) from error
    except Exception as error:
        raise _damage(path, error) from error
    return model


def _damage(path: Path, error: Exception) -> DamagedFile:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return DamagedFile(f"{path} must be a merged network's; got: {reason}. Remedy: merge and save it again.")


def _folds(plan: Plan) -> dict[str, Tensor]:
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


def _to_json(summary: Summary) -> dict[str, Any]:
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


def _from_json(held: dict[str, Any], folds: dict[str, Tensor]) -> Summary:
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
