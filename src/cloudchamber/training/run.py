"""Run a recipe into a folder, or go on with a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from cloudchamber._core.errors import FileAccess, InvalidInput
from cloudchamber._core.files import make_folder, remove_temporaries, write_text
from cloudchamber._core.storage import JOURNAL_NAME, RECORD_NAME, save_record
from cloudchamber.training.checkpoint import CHECKPOINT_NAME
from cloudchamber.training.interrupt import interruptible
from cloudchamber.training.loop import Callback, Loop, Saved, Status
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.recipe_text import load_recipe, recipe_yaml
from cloudchamber.training.session import Session
from cloudchamber.training.settings import own_settings

RECIPE_NAME = "recipe.yaml"


@dataclass(frozen=True)
class RunResult:
    """How a run ended: its folder, status, updates applied and record."""

    folder: Path
    status: Status
    step: int
    record: xr.Dataset


def run(recipe: Recipe, folder: Path | str, *, callbacks: Sequence[Callback] = ()) -> RunResult:
    """Train the recipe's model into a new folder, observing it on the way.

    The folder then holds `recipe.yaml`, `environment.json`, `journal.sqlite`, `checkpoint/` and `record.nc`. A run
    can be killed at any instant and resumed to the bit-identical result; Ctrl-C ends it cleanly.

    Args:
        recipe: what to run.
        folder: where; must not hold a run yet.
        callbacks: are told what happens.

    Raises:
        InvalidInput: if the folder holds a run already, or the recipe's parts do not fit together.
        FileAccess: if the folder cannot be written.
    """
    folder = Path(folder)
    with own_settings(recipe, recipe.threads):
        session = Session.of(recipe)
        new_folder(folder)
        write_text(folder / RECIPE_NAME, recipe_yaml(recipe))
        return _train(session, folder, None, callbacks)


def resume(folder: Path | str, *, callbacks: Sequence[Callback] = ()) -> RunResult:
    """Go on with an interrupted run; its result is bit for bit that of a run that was never interrupted.

    Raises:
        InvalidInput: if the folder's recipe was changed.
        FileAccess: if the folder holds no run, or cannot be written.
        DamagedFile: if its checkpoint or journal is damaged.
    """
    folder = Path(folder)
    recipe = recipe_of(folder)
    _clean(make_folder(folder))
    saved = Saved.load(folder)
    with own_settings(recipe, recipe.threads or (saved.threads if saved else None)):
        return _train(Session.of(recipe), folder, saved, callbacks)


def recipe_of(folder: Path) -> Recipe:
    """Return the recipe of a run folder.

    Raises:
        FileAccess: if the folder holds no run.
        InvalidRecipe: if its recipe was damaged.
    """
    if not (folder / RECIPE_NAME).is_file():
        raise FileAccess(
            f"a run folder holds {RECIPE_NAME}; got {folder} without one. Remedy: check the path, or start a new run."
        )
    return load_recipe(folder / RECIPE_NAME)


def new_folder(folder: Path) -> None:
    """Make a folder for a new run.

    Raises:
        InvalidInput: if it holds a run already.
        FileAccess: if it cannot be made.
    """
    make_folder(folder)
    held = [name for name in (RECIPE_NAME, JOURNAL_NAME, CHECKPOINT_NAME) if (folder / name).exists()]
    if held:
        raise InvalidInput(
            f"a new run needs a folder without one; got {folder}, which holds {', '.join(held)}. "
            f"Remedy: choose another folder, or go on with this one: --resume {folder}."
        )
    _clean(folder)


def _clean(folder: Path) -> None:
    for place in (folder, (folder / CHECKPOINT_NAME).parent):
        remove_temporaries(place)


def _train(session: Session, folder: Path, saved: Saved | None, callbacks: Sequence[Callback]) -> RunResult:
    loop = Loop(session, folder, callbacks)
    with interruptible() as interrupt:
        session.seed_training()
        with session.monitor:
            step = loop.begin() if saved is None else loop.go_on(saved)
            status, step = loop.train(step, interrupt)
            record = session.monitor.record
        save_record(record, folder / RECORD_NAME)
    return RunResult(folder, status, step, record)
