"""A run in words: numbers as people read them, the verdict, and what the recipe says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import xarray as xr
import yaml

from cloudchamber._core.finding import Findings

SEVERITY = {"problem": "Problem", "notice": "Notice", "good": "Good", "unknown": "Cannot tell"}
_COUNTED = {
    "problem": ("problem", "problems"),
    "notice": ("notice", "notices"),
    "good": ("good sign", "good signs"),
    "unknown": ("question that the record cannot answer", "questions that the record cannot answer"),
}


def number(value: float | None, digits: int = 3, *, decimals: int | None = None) -> str:
    """Return a number as people read it, in so many digits or decimals; what is not finite says so.

    >>> number(0.12345), number(512.0), number(float("nan")), number(float("-inf")), number(None)
    ('0.123', '512', 'not a number', '−infinite', '–')
    """
    if value is None:
        return "–"
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else "−infinite"
    if decimals is not None:
        return _minus(f"{value:.{decimals}f}")
    if float(value).is_integer() and abs(value) < 1e9:
        text = f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.0f}"
        return _minus(text).replace(",", "\u202f")
    return _minus(f"{value:.{digits}g}")


def count(amount: int, one: str, many: str) -> str:
    """Return an amount with its noun.

    >>> count(1, "step", "steps"), count(2000, "step", "steps")
    ('1 step', '2000 steps')
    """
    return f"{number(float(amount))} {one if amount == 1 else many}"


def title(name: str) -> str:
    """Return a quantity's or phase's name as a heading.

    >>> title("feature_cosine")
    'Feature cosine'
    """
    return name.replace("_", " ").capitalize()


def verdict(findings: Findings) -> str:
    """Return the report's one-line verdict: the worst finding, in its own words."""
    return findings[0].title if len(findings) else "The diagnosis has nothing to say about this record."


def tally(findings: Findings) -> str:
    """Return how many findings there are of each severity, worst first."""
    counts = Counter(finding.severity for finding in findings)
    parts = [count(counts[name], *words) for name, words in _COUNTED.items() if counts[name]]
    return ", ".join(parts) if parts else "No findings"


def parsed(recipe: str) -> dict[str, Any]:
    """Return a recipe's fields, empty if it is no YAML mapping.

    >>> parsed("steps: 3"), parsed("# the loop was the user's own"), parsed("[")
    ({'steps': 3}, {}, {})
    """
    try:
        fields = yaml.safe_load(recipe)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def run_in_words(record: xr.Dataset) -> str:
    """Return what was run, from the recipe where it can be read and from the record otherwise."""
    recipe = parsed(str(record.attrs.get("recipe", "")))
    model = _model(recipe) or count(record.sizes.get("layer", 0), "observed layer", "observed layers")
    data = _name(recipe.get("data"))
    opening = f"{model} on {data}" if data else model
    sentences = [opening[:1].upper() + opening[1:], _optimizer(recipe), _initialization(recipe), _observed(record)]
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _model(recipe: Mapping[str, Any]) -> str:
    model = recipe.get("model")
    if not isinstance(model, dict):
        return _name(model)
    name = {"mlp": "MLP"}.get(str(model.get("name")), _name(model))
    depth = f"{model['depth']}-layer " if "depth" in model else ""
    width = f", {model['width']} neurons wide" if "width" in model else ""
    activation = f" with {model['activation']}" if "activation" in model else ""
    return f"{depth}{name}{width}{activation}," if width or activation else f"{depth}{name}"


def _optimizer(recipe: Mapping[str, Any]) -> str:
    optimizer = recipe.get("optimizer")
    if not isinstance(optimizer, dict):
        return ""
    shown = {"lr": "learning rate", "momentum": "momentum", "weight_decay": "weight decay"}
    parts = [f"{words} {optimizer[key]}" for key, words in shown.items() if optimizer.get(key)]
    if recipe.get("batch_size"):
        parts.append(f"batches of {recipe['batch_size']}")
    if recipe.get("loss"):
        parts.append(f"loss {_name(recipe['loss'])}")
    return ", ".join([f"Trained with {_name(optimizer).upper()}", *parts])


def _initialization(recipe: Mapping[str, Any]) -> str:
    start = recipe.get("initialization")
    if not isinstance(start, dict) or not start.get("name"):
        return ""
    shown = {"variance_scale": "variance scale", "std": "standard deviation"}
    parts = [f"{words} {start[key]}" for key, words in shown.items() if key in start]
    return ", ".join([f"Initialized with {_name(start)}", *parts])


def _observed(record: xr.Dataset) -> str:
    steps = record["step"].values if "step" in record.coords else []
    if not len(steps):
        return "Nothing was observed"
    if len(steps) == 1:
        return f"Observed once, at step {int(steps[0])}"
    return f"Observed {len(steps)} times, from step {int(steps[0])} to step {int(steps[-1])}"


def _name(value: Any) -> str:
    name = value.get("name", "") if isinstance(value, dict) else value
    return "" if name is None else str(name).replace("_", " ")


def _minus(text: str) -> str:
    return text.replace("-", "−")
