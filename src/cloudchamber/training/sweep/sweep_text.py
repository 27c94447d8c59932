"""Sweeps as text: YAML files, and errors that name what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from cloudchamber._core.errors import InvalidInput, InvalidRecipe
from cloudchamber.training.recipe_text import as_yaml, assigned, parse_overrides, read_mapping
from cloudchamber.training.sweep.sweep import Sweep


def load_sweep(path: Path | str, overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep, and override fields of its recipe.

    Args:
        path: a YAML file; `recipe` in it is a part of a recipe, or the path of one, from the file's folder.
        overrides: "field=value" for the recipe, as `load_recipe` takes them.

    Raises:
        FileAccess: if a file cannot be read.
        InvalidRecipe: if something in it is unknown or not allowed, or an override sets a field of an axis.
    """
    path = Path(path)
    sweep = parse_sweep(read_mapping(path, "a sweep"), folder=path.parent)
    values = parse_overrides(overrides)
    taken = sorted(set(values) & set(sweep.fields))
    if taken:
        raise InvalidRecipe(f"an override sets what no axis sets; got {', '.join(taken)}. Remedy: change the axis.")
    return sweep.model_copy(update={"recipe": assigned(sweep.recipe, values)}) if values else sweep


def parse_sweep(raw: Mapping[Any, Any], folder: Path | str = ".") -> Sweep:
    """Validate a nested mapping as a sweep.

    Args:
        raw: as in a file. Arrays and ranges are taken for lists.
        folder: where the path of a recipe begins.

    Raises:
        FileAccess: if the recipe is a file that cannot be read.
        InvalidRecipe: naming what is wrong.

    >>> parse_sweep({"axes": {"seed": {"range": 2}, "optimizer.lr": [0.1, 0.01]}, "results": ["probe_loss"]}).results
    {'probe_loss': 'final'}
    """
    try:
        return Sweep.model_validate(_written_out(dict(_plain(raw)), Path(folder)))
    except ValidationError as error:
        problems = ". ".join(_problem(dict(item)) for item in error.errors())
        raise InvalidRecipe(problems if "Remedy: " in problems else f"{problems}. Remedy: mend the sweep.") from error


def sweep_yaml(sweep: Sweep) -> str:
    """Return the sweep as YAML, with its recipe in it; `load_sweep` reads it back to an equal one."""
    return as_yaml(sweep.model_dump(mode="json", exclude_defaults=True))


def _written_out(raw: dict[Any, Any], folder: Path) -> dict[Any, Any]:
    """Turn what is short for people into what it is short for."""
    if isinstance(raw.get("recipe"), str):
        raw["recipe"] = read_mapping(folder / raw["recipe"], "a recipe")
    if isinstance(raw.get("axes"), dict):
        raw["axes"] = {name: _axis(axis) for name, axis in raw["axes"].items()}
    if isinstance(raw.get("results"), list):
        raw["results"] = dict.fromkeys(raw["results"], "final")
    return {name: value for name, value in raw.items() if value is not None}


def _axis(axis: Any) -> Any:
    if isinstance(axis, list):
        return {"values": axis}
    if isinstance(axis, dict) and isinstance(axis.get("zip"), dict):
        return {**axis, "zip": {name: _axis(inner) for name, inner in axis["zip"].items()}}
    return axis


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple | range):
        return [_plain(inner) for inner in value]
    return value


def _problem(item: Mapping[str, Any]) -> str:
    place = ".".join(map(str, item["loc"])) or "the sweep"
    if item["type"] == "value_error":
        error = item["ctx"]["error"]
        return str(error) if isinstance(error, InvalidInput) else f"{place}: {error}"
    if item["type"] == "extra_forbidden":
        return f"{place} is not a field of a sweep"
    return f"{place} {item['msg'].replace('Input should be', 'must be')}; got {item['input']!r}"
