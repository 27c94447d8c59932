"""The cells of a sweep: every combination of the values on its axes, each a recipe of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloudchamber._core.errors import InvalidRecipe
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.recipe_text import assigned, parse_recipe
from cloudchamber.training.sweep.axes import Setting
from cloudchamber.training.sweep.sweep import Sweep


@dataclass(frozen=True)
class Cell:
    """One combination.

    Attributes:
        settings: what it sets, by field of the recipe.
        places: its place on each axis, by the name of the axis; an axis whose condition is not met is not there.
    """

    settings: Setting = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return in_words(self.settings)


def in_words(settings: Mapping[str, Any]) -> str:
    """Return what a cell sets as "optimizer.lr=0.1, seed=3"."""
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "the recipe itself"


def cells_of(sweep: Sweep) -> list[Cell]:
    """Return the cells in the order of a nested loop over the axes; the last axis changes fastest.

    Raises:
        InvalidRecipe: if a condition is to be read off a combination that is no recipe.
    """
    cells = [Cell()]
    for name, axis in sweep.axes.items():
        settings = axis.settings(name)
        cells = [longer for cell in cells for longer in _along(sweep, name, settings, cell)]
    return cells


def _along(sweep: Sweep, name: str, settings: Sequence[Setting], cell: Cell) -> Iterator[Cell]:
    if not all(_holds(sweep, cell, field, wanted) for field, wanted in (sweep.axes[name].when or {}).items()):
        yield cell
        return
    for place, setting in enumerate(settings):
        yield Cell({**cell.settings, **setting}, {**cell.places, name: place})


def _holds(sweep: Sweep, cell: Cell, field: str, wanted: Any) -> bool:
    value: Any = cell.settings[field] if field in cell.settings else recipe_of(sweep, cell)
    if field not in cell.settings:
        for part in field.split("."):
            value = getattr(value, part, None)
    return value in wanted if isinstance(wanted, list) else value == wanted


def recipe_of(sweep: Sweep, cell: Cell) -> Recipe:
    """Return the recipe of a cell.

    Raises:
        InvalidRecipe: if the cell's values do not make a recipe.
    """
    return recipe_with(sweep.recipe, cell.settings)


def recipe_with(raw: Mapping[str, Any], settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe that is a part of one with some fields set.

    Raises:
        InvalidRecipe: naming the cell.
    """
    try:
        return parse_recipe(assigned(raw, settings))
    except InvalidRecipe as error:
        raise InvalidRecipe(f"cell {in_words(settings)}: {error}") from error
