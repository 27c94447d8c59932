"""The numbers at the head of a report: each beside what it has to be compared with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from cloudchamber.diagnosis import find_phases
from cloudchamber.plot import reading
from cloudchamber.plot.curves import mean_over_classes
from cloudchamber.reporting.markup import Markup, element
from cloudchamber.reporting.words import number, title


class Fact(NamedTuple):
    """A number with its name and its comparison."""

    name: str
    value: str
    beside: str


def facts(record: xr.Dataset) -> list[Fact]:
    """Return the facts that the record holds."""
    return [*_steps(record), *_loss(record), *_accuracy(record), *_phases(record), *_layers(record)]


def strip(record: xr.Dataset) -> Markup:
    """Return the facts as a description list."""
    items = [
        element("div", element("dt", fact.name), element("dd", fact.value, element("small", fact.beside)))
        for fact in facts(record)
    ]
    return element("dl", *items, class_="facts")


def _steps(record: xr.Dataset) -> Iterator[Fact]:
    steps = record["step"].values if "step" in record.coords else []
    if len(steps):
        yield Fact("Steps", number(float(steps[-1])), f"{len(steps)} observed")


def _loss(record: xr.Dataset) -> Iterator[Fact]:
    name = next((name for name in ("probe_loss", "train_loss") if name in record), None)
    steps = reading.curve(record, name).steps if name else []
    if name is None or not len(steps):
        return
    best = "constant_predictor_loss"
    beside = f"best constant output {number(float(record[best]), 4)}" if best in record else f"at step {steps[-1]}"
    yield Fact(title(name), number(float(record[name].sel(step=steps[-1])), 4), beside)


def _accuracy(record: xr.Dataset) -> Iterator[Fact]:
    if "class_accuracy" not in record or not record.sizes["class"]:
        return
    means = mean_over_classes(reading.curve(record, "class_accuracy").values)
    if len(means) and np.isfinite(means[-1]):
        yield Fact("Accuracy", f"{means[-1]:.1%}".replace("%", " %"), f"chance {1 / record.sizes['class']:.0%}")


def _phases(record: xr.Dataset) -> Iterator[Fact]:
    for phase in find_phases(record):
        beside = "steps, shaded below" if phase.stop is not None else "steps, not over at the end"
        yield Fact(title(phase.name), f"{number(phase.start)}–{number(phase.until)}", beside)


def _layers(record: xr.Dataset) -> Iterator[Fact]:
    if "coverage" in record.coords:
        rows = [str(row) for row in record["coverage"].values]
        yield Fact("Modules", f"{rows.count('measured')} of {len(rows)}", "measured")
