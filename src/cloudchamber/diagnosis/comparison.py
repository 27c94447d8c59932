"""A comparison of runs: the table, and how it is shown in a terminal and in a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from textwrap import fill

import numpy as np
import xarray as xr

from cloudchamber.diagnosis.compared_numbers import LAYER, RUN, STEP, TEXTS

LINE, NAME, CELL = 110, 24, 40
_ABSENT = "–"
_LEGEND = f"{_ABSENT} not in the run's record · none: did not happen · nan, inf: measured, and no finite number"
_PHASES = ("last_step", "status", "first_phase_end", "loss_marker", "feature_peak", "stuck_since")
_LOSSES = ("final_probe_loss", "lowest_probe_loss", "constant_predictor_loss", "final_accuracy")
_TITLES = {
    "feature_cosine": ("feature cosine", "at initialization → largest → last", " → "),
    "gradient_cosine": ("gradient cosine", "at initialization → largest → last", " → "),
    "effective_width": ("effective width", "last, of that of random directions", " of "),
    "relative_distance": ("relative distance", "of the weights from their start, last", ""),
}


@dataclass(frozen=True)
class _Section:
    """One printed table; its first column names the rows."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Two or more runs side by side; prints well in a terminal and in a notebook.

    Attributes:
        table: over (run,) and (run, layer), with a `long_name` for each variable. Steps are updates applied, NaN where
            nothing of the kind happened. A layer has a row if any run has it.
        measured: for each number of `table`, whether the run's record holds it: it tells a NaN that was measured, or a
            step that did not come, from what is missing.
        recipes: for each field (dotted name) in which the recipes differ, its value by run; a run whose recipe does
            not have the field is left out there.
        without_recipe: the runs without a readable recipe, such as those of a user's own loop; not in `recipes`.
    """

    table: xr.Dataset
    measured: xr.Dataset
    recipes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    without_recipe: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of the runs, in order."""
        return tuple(map(str, self.table["run"].values))

    def __repr__(self) -> str:
        return f"<Comparison: {', '.join(self.runs)}>"

    def __str__(self) -> str:
        tables = [_text(section) for section in _sections(self)]
        return "\n\n".join([*tables, "\n".join(fill(note, LINE, break_on_hyphens=False) for note in _notes(self))])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{escape(note)}</p>" for note in _notes(self))
        return "".join(_html(section) for section in _sections(self)) + notes


def _sections(shown: Comparison) -> Iterator[_Section]:
    yield _run_section(shown, "Phases, in steps (updates applied)", _PHASES)
    yield _run_section(shown, "Loss and accuracy on the probe", _LOSSES)
    yield from (_layer_section(shown, quantity) for quantity in _TITLES if _present(shown, quantity))
    if shown.recipes:
        rows = [[name, *_settings(shown, values)] for name, values in shown.recipes.items()]
        yield _Section("Recipe fields that differ", ["field", *shown.runs], rows)


def _layer_section(shown: Comparison, quantity: str) -> _Section:
    """Return one row per layer and one column per run; a cell holds all numbers of the quantity."""
    words, meaning, between = _TITLES[quantity]
    numbers = np.array([_words(shown, name) for name in LAYER if quantity in name], dtype=object)
    cells = [[_joined(cell, between) for cell in layer] for layer in numbers.transpose(2, 1, 0).tolist()]
    rows = [[str(name), *row] for name, row in zip(shown.table["layer"].values, cells, strict=True)]
    return _Section(f"{words.capitalize()}: {meaning}", ["layer", *shown.runs], rows)


def _run_section(shown: Comparison, title: str, names: Sequence[str]) -> _Section:
    head = ["run", *(str(shown.table[name].attrs["long_name"]) for name in names)]
    return _Section(title, head, list(zip(shown.runs, *(_words(shown, name) for name in names), strict=True)))


def _present(shown: Comparison, quantity: str) -> bool:
    """Tell whether any run has measured a layer quantity; its null alone does not count."""
    return bool(shown.measured[f"final_{quantity}"].any())


def _words(shown: Comparison, name: str) -> np.ndarray:
    """Return a variable of the table as it is written: (run,) or (run, layer) words."""
    values = shown.table[name].values
    if name in TEXTS:
        return np.array([str(value) or _ABSENT for value in values], dtype=object)
    form, held = (RUN | LAYER)[name].form, shown.measured[name].values
    words = [_number(value, form) if there else _ABSENT for value, there in zip(values.flat, held.flat, strict=True)]
    return np.array(words, dtype=object).reshape(values.shape)


def _number(value: float, form: str) -> str:
    return "none" if form == STEP and math.isnan(value) else f"{value:{form}}"


def _joined(cells: Sequence[str], between: str) -> str:
    return between.join(cells) if set(cells) != {_ABSENT} else _ABSENT


def _settings(shown: Comparison, values: Mapping[str, object]) -> list[str]:
    return [str(values[run]) if run in values else _ABSENT for run in shown.runs]


def _notes(shown: Comparison) -> Iterator[str]:
    for run, status, reason in zip(
        shown.runs, *(shown.table[name].values for name in ("status", "reason")), strict=True
    ):
        if reason:
            yield f"{run}, {status}: {reason}."
    yield from _note_on_markers(shown)
    absent = [words for quantity, (words, *_) in _TITLES.items() if not _present(shown, quantity)]
    if absent:
        yield f"In none of these records: {', '.join(absent)}."
    if len(shown.runs) - len(shown.without_recipe) > 1 and not shown.recipes:
        yield "Recipes: no field differs."
    if shown.without_recipe:
        yield f"Without a recipe to compare: {', '.join(shown.without_recipe)}."
    yield _LEGEND


def _note_on_markers(shown: Comparison) -> Iterator[str]:
    layers = [str(name) for name in shown.table["marker_layer"].values]
    if len(set(layers)) > 1:
        each = (f"{layer or 'no layer'} ({run})" for layer, run in zip(layers, shown.runs, strict=True))
        yield f"The features' peak is that of {', '.join(each)}."
    elif layers[0]:
        yield f"The features' peak is that of {layers[0]}."


def _html(section: _Section) -> str:
    def row(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    rows = "".join(row("td", cells) for cells in section.rows)
    return f"<h4>{escape(section.title)}</h4><table>{row('th', section.head)}{rows}</table>"


def _text(section: _Section) -> str:
    """Write a table; columns that do not fit beside the others follow below, again behind the names of the rows."""
    key, *rest = zip(*section.rows, strict=True)
    bodies = [_short_names(key), *([_short(cell, CELL) for cell in column] for column in rest)]
    heads = [section.head[0], *_short_names(section.head[1:])]
    columns = [[head, *body] for head, body in zip(heads, bodies, strict=True)]
    return "\n\n".join([section.title + "\n" + _block(columns[0], *block) for block in _blocks(columns)])


def _blocks(columns: Sequence[list[str]]) -> list[list[list[str]]]:
    key, *rest = columns
    blocks: list[list[list[str]]] = [[]]
    for column in rest:
        if blocks[-1] and 2 + sum(2 + max(map(len, each)) for each in (key, *blocks[-1], column)) > LINE:
            blocks.append([])
        blocks[-1].append(column)
    return blocks


def _block(*columns: Sequence[str]) -> str:
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns]
    return "\n".join("  " + "  ".join(row).rstrip() for row in zip(*padded, strict=True))


def _short_names(names: Sequence[str]) -> list[str]:
    """Shorten names; if two then look the same, number them."""
    short = [_short(name, NAME) for name in names]
    unique = len(set(short)) == len(names)
    return short if unique else [f"{index} {name}" for index, name in enumerate(short, 1)]


def _short(words: str, most: int) -> str:
    """Put words on one line, the middle left out if they are long."""
    clean = "".join(letter if letter.isprintable() else " " for letter in words)
    half = (most - 1) // 2
    return clean if len(clean) <= most else f"{clean[:half]}…{clean[-half:]}"
