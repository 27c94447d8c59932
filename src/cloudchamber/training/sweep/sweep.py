"""A sweep: a recipe plus axes, as one validated, serialisable value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from cloudchamber._core.config import Config
from cloudchamber._core.errors import require
from cloudchamber._core.registry import quantities
from cloudchamber.training.recipe_text import known_fields
from cloudchamber.training.sweep.axes import Axis

Keep = Literal["final", "all", "max", "min"]
"""What is kept of a quantity's values over the steps of a run: the last one, each, the largest, the smallest."""

CELL = "cell"
"""The dimension of a sweep whose axes do not form a grid."""
_TAKEN = frozenset({CELL, "member", "status", "updates"})


class Sweep(Config):
    """A recipe plus axes; every combination of their values is a cell, which is one run.

    >>> sweep = Sweep(recipe={"steps": 100}, axes={"optimizer.lr": Axis(values=[0.1, 0.01]), "seed": Axis(range=3)})
    >>> sweep.fields
    ['optimizer.lr', 'seed']
    """

    recipe: dict[str, Any] = Field(default_factory=dict)
    """any part of a recipe; the rest has its default"""
    axes: dict[str, Axis] = Field(default_factory=dict)
    """by name, which is a field of the recipe (optimizer.lr), or any name for an axis that says its field"""
    results: dict[str, Keep] | None = None
    """quantities of the record that are measured and kept, and what of their values; null = what the recipe measures
    at every observation, the final values"""
    cells_per_chunk: PositiveInt | None = None
    """cells that are trained together and committed together; null = as many as a minute or so takes, at most 128"""

    @model_validator(mode="after")
    def _fields_exist(self) -> Sweep:
        for name, axis in self.axes.items():
            for field in [*axis.fields(name), *(axis.when or {})]:
                _require_known(field, known_fields(), f"axis {name} must name a field of a recipe")
        for name in self.results or {}:
            _require_known(name, [item.name for item in quantities()], "results must be quantities of a record")
        return self

    @model_validator(mode="after")
    def _names_are_free(self) -> Sweep:
        taken = _TAKEN | {name for item in quantities() for name in (item.name, *item.dims)}
        clashes = sorted(taken & set(self.axes))
        require(not clashes, "an axis must not be called as what a record holds", ", ".join(clashes), "rename it")
        return self

    @model_validator(mode="after")
    def _axes_fit_together(self) -> Sweep:
        twice = [field for field, count in Counter(self.fields).items() if count > 1]
        require(not twice, "a field must be on one axis", ", ".join(twice), "zip the axes, or drop one")
        before: set[str] = set()
        for name, axis in self.axes.items():
            late = (set(axis.when or {}) & set(self.fields)) - before
            rule = f"the condition of axis {name} must be on axes before it"
            require(not late, rule, ", ".join(sorted(late)), "change the order of the axes")
            before |= set(axis.fields(name))
        return self

    @property
    def fields(self) -> list[str]:
        """The fields of the recipe that the axes set."""
        return [field for name, axis in self.axes.items() for field in axis.fields(name)]

    @property
    def is_grid(self) -> bool:
        """Whether every axis is there in every cell."""
        return not any(axis.when for axis in self.axes.values())

    @property
    def sizes(self) -> dict[str, int]:
        """How many positions each axis has."""
        return {name: len(axis.settings(name)) for name, axis in self.axes.items()}


def _require_known(name: str, known: Iterable[str], rule: str) -> None:
    known = list(known)
    near = get_close_matches(name, known, n=3, cutoff=0.5) or [each for each in known if each.endswith(f".{name}")]
    remedy = f"choose {' or '.join(near)}" if near else f"choose from {', '.join(known)}"
    require(name in known, rule, name, remedy)
