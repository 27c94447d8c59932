"""Running an exhibit: its recipes through the cache, its measurements, its verdicts, its pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import matplotlib.pyplot as plt

from cloudchamber._core.schema import SCHEMA_VERSION
from cloudchamber.claims import Verdict, check
from cloudchamber.data import DigitsConfig, available
from cloudchamber.papers.cache import Run, RunCache
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.keys import content, recipe_key
from cloudchamber.papers.results import Result, Results, RunNote
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.training import Recipe

SMOKE_JUDGES_NOTHING = "smoke judges nothing: it proves that the code runs"


def run_exhibit(exhibit: Exhibit, scale: Scale, cache: RunCache, results: Results) -> Result:
    """Run an exhibit and keep its result.

    Runs that are in the cache are not made again; one that was interrupted goes on. At `smoke`, data that are not on
    this machine are replaced by digits, and the result says so.

    Args:
        exhibit: which.
        scale: "smoke", "laptop" or "paper".
        cache: of runs.
        results: where the result is kept.

    Raises:
        Interrupted: if a run was asked to stop; the same call goes on with it.
        FileAccess: if data are nowhere, or a folder cannot be written.
    """
    recipes, notes = _with_data(exhibit.recipes(scale), scale)
    runs = {
        name: cache.study(recipe) if isinstance(recipe, Study) else cache.run(recipe)
        for name, recipe in recipes.items()
    }
    start = time.monotonic()
    measured = exhibit.measure(runs)
    seconds = time.monotonic() - start
    result = Result(
        exhibit=exhibit.id,
        scale=scale,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        claims=exhibit.claims,
        verdicts=_verdicts(exhibit, measured, scale),
        runs={name: _note(run) for name, run in runs.items()},
        notes=notes,
        history=_history(results.load(exhibit.id, scale)),
    )
    arrays = measured.arrays.assign_attrs(schema_version=SCHEMA_VERSION)
    figure = exhibit.draw(arrays)
    results.save(result, arrays, figure)
    plt.close(figure)
    return result


def is_current(exhibit: Exhibit, scale: Scale, results: Results) -> bool:
    """Return whether there is a result of the claims and recipes as they are now."""
    result = results.load(exhibit.id, scale)
    if result is None or result.changed_claims(exhibit):
        return False
    return not result.changed_recipes(_with_data(exhibit.recipes(scale), scale)[0])


def _verdicts(exhibit: Exhibit, measured: Measured, scale: Scale) -> tuple[Verdict, ...]:
    found = tuple(
        check(claim, measured.numbers.get(claim.name), why=measured.why.get(claim.name, "")) for claim in exhibit.claims
    )
    if scale != "smoke":
        return found
    return tuple(replace(verdict, outcome="not decidable", reason=SMOKE_JUDGES_NOTHING) for verdict in found)


def _with_data(
    recipes: Mapping[str, Recipe | Study], scale: Scale
) -> tuple[dict[str, Recipe | Study], tuple[str, ...]]:
    """Replace data that are not at hand by digits, at `smoke` alone; the notes say what was replaced.

    A study chooses its data itself: at `smoke` by `data.available`.
    """
    if scale != "smoke":
        return dict(recipes), ()
    named = [recipe.data.name for recipe in recipes.values() if isinstance(recipe, Recipe)]
    absent = {name for name in named if not available(name)}
    digits = {"data": DigitsConfig()}
    replaced = {
        name: recipe.model_copy(update=digits) if isinstance(recipe, Recipe) and recipe.data.name in absent else recipe
        for name, recipe in recipes.items()
    }
    return replaced, tuple(f"digits instead of {name}, which is not on this machine" for name in sorted(absent))


def _note(run: Run | StudyRun) -> RunNote:
    what = run.study if isinstance(run, StudyRun) else run.recipe
    return RunNote(recipe_key(what), content(what), run.environment, round(run.seconds, 1))


def _history(before: Result | None) -> tuple[Mapping[str, object], ...]:
    return () if before is None else (*before.history, before.as_history())
