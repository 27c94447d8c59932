"""The tables of a report: per layer, per module, and how to read each quantity."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import xarray as xr

from cloudchamber._core.citations import PAPERS
from cloudchamber.plot import reading
from cloudchamber.reporting.markup import Markup, element, joined, table
from cloudchamber.reporting.words import count, number, title

_FROM_TO = ("feature_cosine", "gradient_cosine")
_MOST_OPEN = 24
_COORDS = {"layer_type": "type", "width": "neurons", "fan_in": "inputs", "activation": "activation"}


def layer_table(record: xr.Dataset) -> Markup:
    """Return one row per layer: its shape, and the last value of each quantity beside its reference."""
    names = reading.layer_names(record)
    if not names:
        return element("p", "No layer was observed in this run.", class_="missing")
    known = [name for name in _COORDS if name in record.coords]
    quantities = _ordered(reading.layer_quantities(record))
    head = ["layer", *(_COORDS[name] for name in known), *(_column(record, name) for name in quantities)]
    columns = [[_cell(value) for value in record[name].values] for name in known]
    columns += [_quantity_column(record, name) for name in quantities]
    rows = [[element("code", name), *(column[index] for column in columns)] for index, name in enumerate(names)]
    return table(head, rows, caption="Every layer at its last measurement", class_="layers")


def coverage_table(record: xr.Dataset) -> Markup:
    """Return one row per module that holds weights: measured, or skipped and why."""
    if "coverage" not in record.coords or not record.sizes["module"]:
        return element("p", "This record does not say which modules the model has.", class_="missing")
    columns = (record[name].values for name in ("module", "module_type", "coverage"))
    rows = [
        [element("code", module or "(the model itself)"), kind, _covered(str(words))]
        for module, kind, words in zip(*columns, strict=True)
    ]
    shown = table(["module", "type", "measured?"], rows, caption="What was measured", class_="coverage")
    measured = sum(str(words) == "measured" for words in record["coverage"].values)
    summary = f"{measured} of {count(len(rows), 'module with weights is', 'modules with weights are')} measured"
    return element("details", element("summary", summary), shown, open=len(rows) <= _MOST_OPEN)


def guide(record: xr.Dataset) -> Markup:
    """Return how to read each quantity of the record: its words, symbol, range and source."""
    names = [str(name) for name in record.data_vars if name != "valid"]
    if not names:
        return element("p", "This record holds no quantity.", class_="missing")
    head = ["quantity", "what it is", "symbol", "range", "source"]
    rows = [[title(name), *_meaning(record[name])] for name in sorted(names)]
    return table(head, rows, caption="How to read each quantity", class_="guide")


def environment_table(record: xr.Dataset) -> Markup:
    """Return the environment, one row per entry."""
    text = str(record.attrs.get("environment", ""))
    try:
        entries = json.loads(text)
    except json.JSONDecodeError:
        entries = None
    if not isinstance(entries, dict) or not entries:
        return element("p", text or "The environment was not recorded.", class_="missing")
    rows = [
        [name, element("code", value if isinstance(value, str) else json.dumps(value))]
        for name, value in entries.items()
    ]
    return table(["what", "value"], rows, caption="Environment", class_="environment")


def _ordered(names: Sequence[str]) -> list[str]:
    first = ("effective_width", "effective_rank", "relative_distance", *_FROM_TO)
    return [name for name in first if name in names] + [name for name in names if name not in first]


def _column(record: xr.Dataset, name: str) -> Markup:
    return element("abbr", title(name).lower(), title_=reading.label(record[name]))


def _quantity_column(record: xr.Dataset, name: str) -> list[object]:
    found, against = reading.curve(record, name), reading.reference(record, name)
    null = f"{name}_null" in record
    compared = null or name in _FROM_TO
    shown = partial(number, decimals=3 if _is_cosine(record[name]) else None)
    lasts = [_last(found, index) for index in range(record.sizes["layer"])]
    if not compared:
        return [shown(last) for last in lasts]
    cells = [_against(last, float(value), null, shown) for last, value in zip(lasts, against.values, strict=True)]
    shuffled = reading.shuffled(record, name)
    if shuffled is None:
        return [*cells]
    return [_beside(cell, value, shown) for cell, value in zip(cells, shuffled.values[-1], strict=True)]


def _last(found: reading.Curve, index: int) -> float | None:
    """Return the last measurement of a layer, NaN if that was no finite number, None if it never was measured."""
    known = np.flatnonzero(np.isfinite(found.values[:, index]) | found.broken[:, index])
    return float(found.values[known[-1], index]) if len(known) else None


def _is_cosine(data: xr.DataArray) -> bool:
    return _bounds(data) == (-1, 1)


def _against(last: float | None, against: float, null: bool, shown: Callable[[float], str]) -> Markup:
    if last is None:
        return element("span", "–", class_="dim")
    words = f"of {shown(against)}" if null else f"from {shown(against)}"
    meter = _meter(last / against) if null and against > 0 and math.isfinite(last) else Markup()
    return joined([element("span", shown(last)), " ", element("small", words if math.isfinite(against) else ""), meter])


def _beside(cell: Markup, shuffled: float, shown: Callable[[float], str]) -> Markup:
    return (
        joined([cell, " ", element("small", f"({shown(float(shuffled))} shuffled)")]) if np.isfinite(shuffled) else cell
    )


def _meter(share: float) -> Markup:
    return element("span", element("i", style=f"width:{100 * min(share, 1):.0f}%"), class_="meter", aria_hidden="true")


def _cell(value: object) -> str:
    return number(float(value)) if isinstance(value, (float, int, np.number)) else str(value)


def _covered(words: str) -> Markup:
    return element("span", words, class_="measured" if words == "measured" else "skipped")


def _meaning(data: xr.DataArray) -> list[object]:
    papers = str(data.attrs.get("source", ""))
    key, _, section = papers.partition(", ")
    source = ", ".join(part for part in (PAPERS[key].name if key in PAPERS else key, section) if part)
    return [reading.label(data), _symbol(str(data.attrs.get("symbol", ""))), _range(data), source or "–"]


def _symbol(text: str) -> Markup:
    parts = re.split(r"_(\w+)", text)
    return element("i", *(element("sub", part) if place % 2 else part for place, part in enumerate(parts)))


def _bounds(data: xr.DataArray) -> tuple[float, float]:
    bounds = np.asarray(data.attrs.get("range", ()), dtype=float).ravel().tolist()
    return (bounds[0], bounds[1]) if len(bounds) == 2 else (-math.inf, math.inf)


def _range(data: xr.DataArray) -> str:
    bounds = _bounds(data)
    if not any(math.isfinite(bound) for bound in bounds):
        return "any number"
    low, high = (number(bound) if math.isfinite(bound) else "" for bound in bounds)
    return f"{low} to {high}" if low and high else (f"{low} or more" if low else f"{high} or less")
