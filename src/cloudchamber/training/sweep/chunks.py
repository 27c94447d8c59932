"""Work cut into chunks: each is computed once, committed whole to a ledger, and never computed again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from cloudchamber._core.errors import InvalidInput

Cell = Mapping[str, Any]
Arrays = Mapping[str, np.ndarray]
Work = Callable[[Mapping[str, Any], Sequence[Cell]], Arrays]
"""Computes the cells of one chunk from what they share: `work(task, cells)` returns arrays (cells, ...) by name.

A function of the top level of a module, so that other processes find it; of its arguments alone, so that a resumed
sweep is bit-identical. It must take any part of a chunk's cells: a chunk that fails is tried again cell by cell.
"""


@dataclass(frozen=True)
class Chunk:
    """Cells that are computed together, a function of the sweep alone.

    Attributes:
        task: what the cells share; JSON.
        cells: one mapping of JSON values per cell.
        cost: expected time relative to other chunks, for the progress bar alone; not part of the key.

    >>> chunk = Chunk({"width": 10}, ({"seed": 0}, {"seed": 1}))
    >>> chunk.key == Chunk({"width": 10}, ({"seed": 0}, {"seed": 1}), cost=3.0).key
    True
    """

    task: Mapping[str, Any]
    cells: tuple[Cell, ...]
    cost: float = field(default=1.0, compare=False)

    @cached_property
    def key(self) -> str:
        """The hash of the content: the same task and cells have the same key, in every process.

        Raises:
            InvalidInput: if the task or a cell is not made of finite JSON values.
        """
        return hashlib.sha256(_canonical([self.task, self.cells]).encode()).hexdigest()

    def parts(self) -> tuple[Chunk, ...]:
        """Return a chunk per cell."""
        return tuple(Chunk(self.task, (cell,), self.cost / len(self.cells)) for cell in self.cells)


def _canonical(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"the task and cells of a chunk are finite JSON values; got {value!r} ({error}). "
            "Remedy: turn arrays into lists, and names into strings."
        ) from error


@dataclass(frozen=True)
class Outcome:
    """What came of a chunk.

    Attributes:
        arrays: by name, each with a row per cell; NaN (or "" for text) in the rows of cells that failed, and empty if
            all did.
        errors: per cell, None or what it raised ("ValueError: ...").
        environment: where it was computed: versions and threads.
        seconds: how long that took.
    """

    arrays: Arrays
    errors: tuple[str | None, ...]
    environment: Mapping[str, Any] = field(default_factory=dict, compare=False)
    seconds: float = field(default=0.0, compare=False)

    @property
    def failed(self) -> int:
        """How many cells failed."""
        return sum(error is not None for error in self.errors)
