"""The cache of runs: the same recipe is run once, whichever exhibits ask for it, and goes on after an interruption."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from cloudchamber._core.errors import DamagedFile, InvalidRecipe
from cloudchamber._core.files import cache_folder, make_folder, write_text
from cloudchamber._core.schema import SCHEMA_VERSION
from cloudchamber._core.storage import open_record, save_record
from cloudchamber.papers.keys import measurement_key, recipe_key
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.training import Callback, Recipe, resume, run
from cloudchamber.training.run import RECIPE_NAME, RunResult

RUNS_VARIABLE = "CLOUDCHAMBER_RUNS"
FINISHED_NAME = "finished.json"
_log = logging.getLogger("cloudchamber")


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop; its folder can be gone on with."""


@dataclass(frozen=True)
class Run:
    """A run that is over, in its folder of the cache.

    Attributes:
        recipe: what was run.
        folder: where.
        seconds: how long it took, as far as it was not killed.
    """

    recipe: Recipe
    folder: Path
    seconds: float

    @cached_property
    def record(self) -> xr.Dataset:
        """Its record, in memory."""
        return open_record(self.folder)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, device and threads that it ran with."""
        return json.loads(self.record.attrs["environment"])

    def measured(self, measure: Callable[..., xr.Dataset], **settings: Any) -> xr.Dataset:
        """Return `measure(run, **settings)`, computed once and kept beside the run.

        Args:
            measure: a function; its code is part of the key, that of what it calls is not.
            settings: whatever JSON can hold.

        >>> Run.measured.__name__
        'measured'
        """
        path = self.folder / "measured" / f"{measure.__name__}-{measurement_key(measure, settings)}.nc"
        if path.is_file():
            try:
                return open_record(path)
            except DamagedFile as error:
                _log.warning("%s is measured again: %s", path, error)
        found = measure(self, **settings)
        save_record(found.assign_attrs(schema_version=SCHEMA_VERSION), path)
        return open_record(path)


@dataclass(frozen=True)
class RunCache:
    """Runs by the content of their recipes, and studies by theirs.

    Attributes:
        folder: where they are kept.
        callbacks: are told what happens in a run.
    """

    folder: Path
    callbacks: Sequence[Callback] = ()

    @classmethod
    def of_user(cls, callbacks: Sequence[Callback] = ()) -> RunCache:
        """Return the cache in `$CLOUDCHAMBER_RUNS`, by default `runs` in the user's cache."""
        named = os.environ.get(RUNS_VARIABLE)
        return cls(Path(named).expanduser() if named else cache_folder() / "runs", callbacks)

    def run(self, recipe: Recipe) -> Run:
        """Return the run of a recipe: from the cache, gone on with, or started.

        Raises:
            Interrupted: if it was asked to stop.
            InvalidRecipe: if the recipe's parts do not fit together.
            FileAccess: if the folder cannot be written, or the data are nowhere.
        """
        folder = self.folder / recipe_key(recipe)
        with _alone(folder):
            return Run(recipe, folder, _finish(folder, lambda: self._train(recipe, folder)))

    def study(self, study: Study) -> StudyRun:
        """Return the result of a study: from the cache, gone on with where it keeps what is done, or started.

        Raises:
            Interrupted: if it was asked to stop.
            FileAccess: if the folder cannot be written, or the data are nowhere.
        """
        folder = self.folder / recipe_key(study)
        with _alone(folder):
            make_folder(folder)
            return StudyRun(study, folder, _finish(folder, lambda: study.run(folder)))

    def _train(self, recipe: Recipe, folder: Path) -> None:
        result = self._go(recipe, folder)
        if result.status == "interrupted":
            raise Interrupted(f"interrupted after step {result.step} of {recipe.steps}")

    def _go(self, recipe: Recipe, folder: Path) -> RunResult:
        if (folder / RECIPE_NAME).is_file():
            try:
                return resume(folder, callbacks=self.callbacks)
            except (DamagedFile, InvalidRecipe) as error:
                _log.warning("%s is run anew: %s", folder, error)
                shutil.rmtree(folder)
        return run(recipe, folder, callbacks=self.callbacks)


def _finish(folder: Path, work: Callable[[], None]) -> float:
    """Do the work of a folder unless it is finished, and return how long it took, interruptions left out."""
    finished, spent = folder / FINISHED_NAME, folder / "spent.json"
    if not finished.is_file():
        before = json.loads(spent.read_text())["seconds"] if spent.is_file() else 0.0
        start = time.monotonic()
        try:
            work()
        finally:
            seconds = before + time.monotonic() - start
            if folder.is_dir():
                write_text(spent, json.dumps({"seconds": seconds}))
        write_text(finished, json.dumps({"seconds": seconds}))
    return json.loads(finished.read_text())["seconds"]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process works in a folder; the lock of a killed process is gone with it."""
    make_folder(folder.parent)
    with closing(sqlite3.connect(folder.with_suffix(".lock"), isolation_level=None)) as lock:
        if not _locked(lock, seconds=0):
            _log.warning("another process works in %s; waiting for it", folder)
            while not _locked(lock, seconds=60):
                pass
        yield


def _locked(lock: sqlite3.Connection, *, seconds: int) -> bool:
    lock.execute(f"PRAGMA busy_timeout = {1000 * seconds}")
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True
