"""The one loop for one model: run a recipe into a folder, or go on with a folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
import xarray as xr

from cloudchamber._core.errors import DamagedFile, FileAccess, InvalidInput
from cloudchamber._core.files import make_folder, remove_temporaries, write_text
from cloudchamber._core.record import RecordBuffer
from cloudchamber._core.seeding import preserved_random_state
from cloudchamber._core.storage import JOURNAL_NAME, RECORD_NAME, Journal, save_record
from cloudchamber.monitor import Monitor
from cloudchamber.training.checkpoint import CHECKPOINT_NAME, Checkpoint
from cloudchamber.training.interrupt import Interrupt, interruptible
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.recipe_text import load_recipe, recipe_yaml
from cloudchamber.training.session import Session

RECIPE_NAME = "recipe.yaml"
ENVIRONMENT_NAME = "environment.json"

Status = Literal["finished", "interrupted", "diverged"]


class Callback(Protocol):
    """Is told what happens in a run; the live view is one."""

    def started(self, recipe: Recipe, step: int) -> None:
        """The run begins, or goes on after `step` updates."""
        ...

    def updated(self, step: int, loss: float) -> None:
        """Update `step` was applied; `loss` is that of its batch."""
        ...

    def observed(self, buffer: RecordBuffer) -> None:
        """An observation was added to `buffer`."""
        ...


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
    if (folder / RECIPE_NAME).exists():
        raise InvalidInput(
            f"a new run needs a folder of its own; got {folder}, which holds a run. "
            f"Remedy: choose another folder, or go on with this one: --resume {folder}."
        )
    with _threads(recipe.threads):
        session = Session.of(recipe)
        make_folder(folder)
        write_text(folder / RECIPE_NAME, recipe_yaml(recipe))
        return _train(session, folder, None, callbacks)


def resume(folder: Path | str, *, callbacks: Sequence[Callback] = ()) -> RunResult:
    """Go on with an interrupted run; its result is bit for bit that of a run that was never interrupted.

    Raises:
        FileAccess: if the folder holds no run.
        DamagedFile: if its checkpoint or journal is damaged.
    """
    folder = Path(folder)
    if not (folder / RECIPE_NAME).is_file():
        raise FileAccess(
            f"a run folder holds {RECIPE_NAME}; got {folder} without one. Remedy: check the path, or start a new run."
        )
    recipe = load_recipe(folder / RECIPE_NAME)
    make_folder(folder)
    for place in (folder, (folder / CHECKPOINT_NAME).parent):
        remove_temporaries(place)
    with _threads(recipe.threads or _threads_before(folder)):
        return _train(Session.of(recipe), folder, Checkpoint.load(folder), callbacks)


def _train(session: Session, folder: Path, checkpoint: Checkpoint | None, callbacks: Sequence[Callback]) -> RunResult:
    loop = _Loop(session, folder, Journal(folder / JOURNAL_NAME), callbacks)
    with ExitStack() as stack:
        stack.enter_context(preserved_random_state([torch.device(session.recipe.device)]))
        interrupt = stack.enter_context(interruptible())
        session.seed_training()
        monitor = stack.enter_context(session.monitor())
        step = loop.begin(monitor) if checkpoint is None else loop.go_on(monitor, checkpoint)
        status, step = loop.train(monitor, step, interrupt)
        record = monitor.record
    save_record(record, folder / RECORD_NAME)
    return RunResult(folder, status, step, record)


@dataclass
class _Loop:
    session: Session
    folder: Path
    journal: Journal
    callbacks: Sequence[Callback]

    def begin(self, monitor: Monitor) -> int:
        """Start the journal with the observation of step 0; the checkpoint after it makes the run resumable."""
        environment = json.dumps(monitor.buffer.frame.environment, indent=2) + "\n"
        write_text(self.folder / ENVIRONMENT_NAME, environment)
        self.journal.start(monitor.buffer.frame)
        self.journal.append(monitor.buffer.observations[0])
        Checkpoint.of(self.session, 0).save(self.folder)
        return self._started(monitor, 0)

    def go_on(self, monitor: Monitor, checkpoint: Checkpoint) -> int:
        """Take over journal and checkpoint; observations after the checkpoint are made again."""
        self.journal.truncate(checkpoint.step)
        buffer = self.journal.load()
        if buffer.last_step < checkpoint.step - self.session.recipe.observe.every:
            raise DamagedFile(
                f"{self.journal.path} must reach the checkpoint at step {checkpoint.step}; it ends at "
                f"{buffer.last_step}. Remedy: delete {CHECKPOINT_NAME} and resume: the run starts again from step 0."
            )
        monitor.continue_from(buffer)
        checkpoint.restore(self.session)
        return self._started(monitor, checkpoint.step)

    def train(self, monitor: Monitor, start: int, interrupt: Interrupt) -> tuple[Status, int]:
        """Apply the updates that are left; return how it ended and after how many updates."""
        recipe, step = self.session.recipe, start
        while step < recipe.steps:
            step += 1
            loss = self.session.update(step)
            diverged = not math.isfinite(loss)
            self._observe(monitor, step, loss, force=diverged or step == recipe.steps)
            if diverged:
                return "diverged", step
            if interrupt.asked or step % recipe.checkpoint_every == 0 or step == recipe.steps:
                Checkpoint.of(self.session, step).save(self.folder)
            if interrupt.asked and step < recipe.steps:
                return "interrupted", step
        return "finished", step

    def _observe(self, monitor: Monitor, step: int, loss: float, *, force: bool) -> None:
        for callback in self.callbacks:
            callback.updated(step, loss)
        observation = monitor.observe(step, train_loss=loss, epoch=self.session.epoch(step), force=force)
        if observation is not None:
            self.journal.append(observation)
            self._tell_observed(monitor)

    def _started(self, monitor: Monitor, step: int) -> int:
        for callback in self.callbacks:
            callback.started(self.session.recipe, step)
        self._tell_observed(monitor)
        return step

    def _tell_observed(self, monitor: Monitor) -> None:
        for callback in self.callbacks:
            callback.observed(monitor.buffer)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _threads_before(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / ENVIRONMENT_NAME).read_text(encoding="utf-8"))["threads"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
