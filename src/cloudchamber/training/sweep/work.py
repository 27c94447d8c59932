"""What is computed of a chunk of a sweep: its cells trained as one ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import xarray as xr

from cloudchamber.training.ensemble.recipes import run_ensemble
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.sweep.cells import recipe_with
from cloudchamber.training.sweep.chunks import Cell
from cloudchamber.training.sweep.kept import kept_arrays, results_of, watching

DIVERGED, FINISHED = "diverged", "finished"


def train_cells(task: Mapping[str, Any], cells: Sequence[Cell]) -> dict[str, np.ndarray]:
    """Train the cells of a chunk and return what is kept of each.

    Args:
        task: "recipe" (a part of one) and "results" of the sweep.
        cells: what each sets, by field of the recipe.

    Returns:
        `status`, `updates`, and what `kept_arrays` returns; a row per cell.
    """
    recipes = [recipe_with(task["recipe"], cell) for cell in cells]
    results = results_of(recipes[0], task["results"])
    return _trained([watching(recipe, results) for recipe in recipes], results)


def _trained(recipes: Sequence[Recipe], results: Mapping[str, Any]) -> dict[str, np.ndarray]:
    ensemble = run_ensemble(recipes, losses_every=max(recipes[0].steps, 1))
    updates = ensemble.stopped_at.numpy()
    status = np.array([DIVERGED if reason == "not_finite" else FINISHED for reason in ensemble.reasons])
    return {"status": status, "updates": updates, **kept_arrays(cast(xr.Dataset, ensemble.record), updates, results)}
