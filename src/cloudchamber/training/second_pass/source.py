"""What is known of a run before its second pass: the recipe, and what its record says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from cloudchamber._core.errors import FileAccess, InvalidInput, require
from cloudchamber._core.storage import open_record
from cloudchamber.diagnosis import Phase, find_phases
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.recipe_text import load_recipe
from cloudchamber.training.run import RECIPE_NAME

BEST_CLASSES = 2


@dataclass(frozen=True)
class Past:
    """A recipe that was run into a folder, or was not run.

    Attributes:
        recipe: the recipe.
        folder: the run folder, None without one.
        record: its record, None without one.
        threads: the threads that the run had, None if unknown.
    """

    recipe: Recipe
    folder: Path | None = None
    record: xr.Dataset | None = None
    threads: int | None = None

    @classmethod
    def of(cls, source: Path | str | Recipe) -> Past:
        """Read a run folder, or take a recipe as it is.

        Raises:
            FileAccess: if the folder holds no run.
        """
        if isinstance(source, Recipe):
            return cls(source)
        folder = Path(source)
        if not (folder / RECIPE_NAME).is_file():
            raise FileAccess(
                f"a run folder holds {RECIPE_NAME}; got {folder} without one. Remedy: check the path, or pass a recipe."
            )
        record = open_record(folder)
        threads = json.loads(record.attrs["environment"]).get("threads")
        return cls(load_recipe(folder / RECIPE_NAME), folder, record, threads)

    @property
    def losses(self) -> dict[int, float]:
        """The loss of the batch at each step that the record holds."""
        if self.record is None or "train_loss" not in self.record:
            return {}
        valid = self.record["valid"].sel(quantity="train_loss").values.any(axis=1)
        steps, losses = (np.asarray(self.record[name].values)[valid].tolist() for name in ("step", "train_loss"))
        return dict(zip(steps, losses, strict=True))

    def phase(self, start: int | None, stop: int | None) -> tuple[int, int]:
        """Return start and end of the phase: as asked, else as found in the record.

        Raises:
            InvalidInput: if there is none, or it does not lie within the run.
        """
        found = self._first_phase() if stop is None else None
        last = stop if found is None else found.stop
        first = start if start is not None else 0 if found is None else found.start
        if last is None:
            raise _no_end("a phase that is not over")
        require(
            0 <= first < last <= self.recipe.steps,
            f"a phase has updates, and lies within the {self.recipe.steps} steps of the recipe",
            f"steps {first} to {last}",
            "pass start_step < end_step",
        )
        return first, last

    def best_classes(self, step: int) -> list[int]:
        """Return the classes with the highest accuracy at the last observation up to `step`; none if not measured."""
        if self.record is None or "class_accuracy" not in self.record:
            return []
        accuracy = np.asarray(self.record["class_accuracy"].sel(step=slice(None, step)).values)
        measured = accuracy[~np.isnan(accuracy).all(axis=1)]
        return [] if not len(measured) else sorted(np.argsort(-measured[-1], kind="stable")[:BEST_CLASSES].tolist())

    def _first_phase(self) -> Phase:
        if self.record is None:
            raise _no_end("a recipe without a record")
        phases = find_phases(self.record)
        found = phases.named("first phase")
        if found is None:
            raise _no_end(f"a record with the status {phases.status!r}")
        return found


def _no_end(received: str) -> InvalidInput:
    return InvalidInput(
        f"the end of the first phase is in the record, or given; got {received}. "
        "Remedy: pass end_step=, the number of its last update."
    )
