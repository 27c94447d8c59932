"""One curve per run: a quantity of two or more records on the same Axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from cloudchamber._core.errors import require
from cloudchamber.diagnosis import find_phases, named_records
from cloudchamber.plot import marks, reading
from cloudchamber.plot.colors import MUTED, class_colors, depth_colors
from cloudchamber.plot.curves import STEP, mean_over_classes

NAMED = 10
_KINDS = (("step",), ("step", "layer"), ("step", "class"))


@dataclass(frozen=True)
class _Line:
    """One run's curve, the level it is compared with (NaN if there is none), and what that level is."""

    curve: reading.Curve
    level: float
    words: str


def compare(
    records: Mapping[str, xr.Dataset] | Sequence[xr.Dataset],
    quantity: str = "probe_loss",
    *,
    layer: str | None = None,
    ax: Axes | None = None,
    phases: bool = True,
) -> Axes:
    """Draw one line per run, beside what it is compared with (dotted), and where its first phase ends (dashed).

    That is the isotropic null where the record has one, else the run's value at initialization. Of class quantities the
    mean over the classes is drawn. Runs that do not have the quantity, or the layer, are named in the legend.

    Args:
        records: two or more records by name, or in a sequence ("run 1", "run 2", …).
        quantity: any quantity with one value per step; per step and layer; or per step and class.
        layer: the layer of a layer quantity; the middle one of the hidden layers that all these runs have without it.
        ax: where to draw; a new figure without it.
        phases: whether the ends of the first phases are marked.

    Returns:
        The Axes.

    Raises:
        InvalidInput: if there are fewer than two records, no record has the quantity or the layer, a layer is asked for
            where there is none, or the runs have no layer in common to choose.

    >>> from matplotlib.figure import Figure
    >>> record = xr.Dataset({"probe_loss": ("step", [2.3, 1.1])}, coords={"step": [0, 10]})
    >>> ax = compare({"slow": record, "fast": record / 2}, ax=Figure().add_subplot())
    >>> [str(line.get_label()) for line in ax.lines if line.get_linestyle() == "-"]
    ['slow', 'fast']
    """
    runs = named_records(records)
    layer = _chosen_layer(_holding(runs, quantity), quantity, layer)
    ax = marks.axes_or_new(ax)
    colors = class_colors(len(runs)) if len(runs) <= NAMED else depth_colors(len(runs))
    lines = {name: _line(record, quantity, layer) for name, record in runs.items()}
    for (name, line), color in zip(lines.items(), colors, strict=True):
        _draw(ax, line, color, _shown(name, hidden=len(runs) > NAMED))
    if len(runs) > NAMED:
        marks.strip(ax, [_shown(name) for name in runs], colors)
    ends = [_mark_end(ax, record, color) for record, color in zip(runs.values(), colors, strict=True) if phases]
    _explain(ax, lines, marked=any(ends))
    return _finished(ax, runs, quantity, layer)


def _holding(runs: Mapping[str, xr.Dataset], quantity: str) -> list[xr.Dataset]:
    """Return the records that have the quantity, all in the form (dimensions) of the first of them."""
    known = {str(name) for record in runs.values() for name, item in record.data_vars.items() if item.dims in _KINDS}
    require(
        quantity in known,
        f"these records can draw {', '.join(sorted(known)) or 'nothing'} here",
        repr(quantity),
        "choose one of them" if known else "observe it: name its measure when the run starts",
    )
    return [record for record in runs.values() if quantity in record and record[quantity].dims in _KINDS]


def _chosen_layer(records: Sequence[xr.Dataset], quantity: str, layer: str | None) -> str | None:
    if not any("layer" in record[quantity].dims for record in records):
        require(layer is None, f"{quantity} is no quantity of a layer", repr(layer), "leave `layer` out")
        return None
    names = [reading.layer_names(record) for record in records]
    every = list(dict.fromkeys(name for known in names for name in known))
    shared = [name for name in every if all(name in known for known in names)]
    rule = f"{quantity} is drawn of a layer among {', '.join(every) or 'none'}"
    if layer is not None:
        require(layer in every, rule, repr(layer), "choose one of them")
        return layer
    require(bool(shared), rule, "no layer that all the runs have", "name one with layer=")
    hidden = [name for name in shared if name != names[0][-1]] or shared
    return hidden[len(hidden) // 2]


def _line(record: xr.Dataset, quantity: str, layer: str | None) -> _Line | None:
    """Read what is drawn of a run; None if its record does not have it, or it was never measured."""
    if quantity not in record or record[quantity].dims not in _KINDS:
        return None
    if layer is None or "layer" not in record[quantity].dims:
        return _line_of_run(record, quantity)
    if layer not in reading.layer_names(record):
        return None
    names = [name for name in (quantity, f"{quantity}_null", "valid") if name in record]
    one = record[names].sel(layer=[layer])
    found, against = reading.curve(one, quantity), reading.reference(one, quantity)
    curve = reading.Curve(found.steps, found.values[:, 0], found.broken[:, 0])
    return _Line(curve, float(against.values[0]), against.label) if len(found.steps) else None


def _line_of_run(record: xr.Dataset, quantity: str) -> _Line | None:
    found = reading.curve(record, quantity)
    if not len(found.steps):
        return None
    values = found.values if found.values.ndim == 1 else mean_over_classes(found.values)
    start = int(found.steps[0])
    words = "at initialization" if start == 0 else f"at step {start}"
    return _Line(reading.Curve(found.steps, values, reading.any_column(found.broken)), float(values[0]), words)


def _draw(ax: Axes, line: _Line | None, color: str, name: str) -> None:
    if line is None:
        return
    steps, style = line.curve.steps, {"linewidth": 1.8, "markersize": 4}
    ax.plot(steps, line.curve.values, color=color, marker=marks.marker(len(steps)), label=name, **style)
    if np.isfinite(line.level):
        ax.axhline(line.level, color=color, linestyle=":", linewidth=0.9, alpha=0.7, zorder=1)


def _mark_end(ax: Axes, record: xr.Dataset, color: str) -> bool:
    """Mark where the first phase of a run ends, if it does."""
    first = find_phases(record).named("first phase")
    if first is None or first.stop is None:
        return False
    ax.axvline(first.stop, color=color, linestyle="--", linewidth=1, alpha=0.7, zorder=1, gid=first.name)
    return True


def _explain(ax: Axes, lines: Mapping[str, _Line | None], *, marked: bool) -> None:
    """Put into the legend what dotted and dashed lines are, and which runs are not there."""
    levels = {line.words: None for line in lines.values() if line is not None and np.isfinite(line.level)}
    if levels:
        ax.plot([], [], color=MUTED, linestyle=":", label=" or ".join(levels))
    if marked:
        ax.plot([], [], color=MUTED, linestyle="--", label="end of the first phase")
    absent = [_shown(name) for name, line in lines.items() if line is None]
    if absent:
        ax.plot([], [], linestyle="", label=f"not measured: {', '.join(absent)}")
    if len(absent) == len(lines):
        marks.say(ax, "Measured in none of these runs.")
    broken = [line.curve.broken_steps for line in lines.values() if line is not None]
    marks.mark_broken(ax, np.unique(np.concatenate([np.empty(0, dtype=int), *broken])))


def _finished(ax: Axes, runs: Mapping[str, xr.Dataset], quantity: str, layer: str | None) -> Axes:
    data = next(record[quantity] for record in runs.values() if quantity in record)
    title = quantity.replace("_", " ").capitalize() + (f" of {layer}" if layer else "")
    words = reading.label(data) + (", mean over classes" if "class" in data.dims else "")
    marks.tidy(ax, title, STEP, words)
    marks.legend(ax)
    return ax


def _shown(name: str, *, hidden: bool = False) -> str:
    """Return a run's name as matplotlib shows it as it is: a dollar sign would begin a formula, "_" hide the line."""
    words = name.replace("$", r"\$")
    return f"_{words}" if hidden else f" {words}" if words.startswith("_") else words
