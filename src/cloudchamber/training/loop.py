"""The one loop for one model: updates, observations, checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from cloudchamber._core.errors import DamagedFile
from cloudchamber._core.files import write_text
from cloudchamber._core.record import RecordBuffer
from cloudchamber._core.storage import JOURNAL_NAME, Journal
from cloudchamber.training.checkpoint import CHECKPOINT_NAME, Checkpoint
from cloudchamber.training.interrupt import Interrupt
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.session import Session

ENVIRONMENT_NAME = "environment.json"

Status = Literal["finished", "interrupted", "diverged"]


@runtime_checkable
class Callback(Protocol):
    """Is told what happens in a run; the live view is one.

    One whose attribute `stop` becomes true ends the run after the update, as Ctrl-C does.
    """

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
class Saved:
    """What a run folder holds of a run that was interrupted: a checkpoint, and the observations until it."""

    checkpoint: Checkpoint
    buffer: RecordBuffer

    @classmethod
    def load(cls, folder: Path) -> Saved | None:
        """Read it; None if the run was interrupted before its first checkpoint.

        Raises:
            DamagedFile: if the checkpoint or the journal is damaged, or the journal is not there.
        """
        checkpoint = Checkpoint.load(folder)
        if checkpoint is None:
            return None
        path = folder / JOURNAL_NAME
        if not path.is_file():
            raise _no_observations(path, checkpoint.step, "no such file")
        buffer = Journal(path).load()
        until = [observation for observation in buffer.observations if observation.step <= checkpoint.step]
        return cls(checkpoint, RecordBuffer(buffer.frame, until))

    @property
    def threads(self) -> int | None:
        """The threads that the run had."""
        return self.buffer.frame.environment.get("threads")


def _no_observations(path: Path, step: int, got: str) -> DamagedFile:
    return DamagedFile(
        f"{path} must hold the observations until the checkpoint at step {step}; got: {got}. "
        f"Remedy: delete {path.parent / CHECKPOINT_NAME} and resume: the run then starts again from step 0."
    )


class Loop:
    """Trains a session whose monitor was entered, and keeps its folder up to date."""

    def __init__(self, session: Session, folder: Path, callbacks: Sequence[Callback]) -> None:
        self._session = session
        self._recipe = session.recipe
        self._monitor = session.monitor
        self._folder = folder
        self._journal = Journal(folder / JOURNAL_NAME)
        self._callbacks = callbacks

    def begin(self) -> int:
        """Start the journal with the observation of step 0; the checkpoint after it makes the run resumable."""
        frame = self._monitor.buffer.frame
        write_text(self._folder / ENVIRONMENT_NAME, json.dumps(frame.environment, indent=2) + "\n")
        self._journal.start(frame)
        self._journal.append(self._monitor.buffer.observations[0])
        self._save(0)
        return self._started(0)

    def go_on(self, saved: Saved) -> int:
        """Take over what was saved; observations after the checkpoint are made again."""
        step, last = saved.checkpoint.step, saved.buffer.last_step
        if last < self._last_observed(step):
            raise _no_observations(self._journal.path, step, f"it ends at step {last}")
        self._monitor.continue_from(saved.buffer)
        saved.checkpoint.restore(self._session)
        self._journal.truncate(step)
        return self._started(step)

    def train(self, step: int, interrupt: Interrupt) -> tuple[Status, int]:
        """Apply the updates after `step`; return how it ended and after how many updates."""
        while step < self._recipe.steps:
            step += 1
            loss = self._session.update(step)
            last, diverged = step == self._recipe.steps, not math.isfinite(loss)
            self._observe(step, loss, force=last or diverged)
            if diverged:
                return "diverged", step
            stop = interrupt.asked or any(getattr(callback, "stop", False) for callback in self._callbacks)
            if last or stop or step % self._recipe.checkpoint_every == 0:
                self._save(step)
            if stop and not last:
                return "interrupted", step
        return "finished", step

    def _save(self, step: int) -> None:
        Checkpoint.of(self._session, step).save(self._folder)

    def _last_observed(self, step: int) -> int:
        if step == self._recipe.steps:
            return step
        return next(earlier for earlier in range(step, -1, -1) if self._monitor.observes(earlier))

    def _observe(self, step: int, loss: float, *, force: bool) -> None:
        for callback in self._callbacks:
            callback.updated(step, loss)
        epoch = self._session.batches.epochs(step)
        observation = self._monitor.observe(step, train_loss=loss, epoch=epoch, force=force)
        if observation is not None:
            self._journal.append(observation)
            self._tell_observed()

    def _started(self, step: int) -> int:
        for callback in self._callbacks:
            callback.started(self._recipe, step)
        self._tell_observed()
        return step

    def _tell_observed(self) -> None:
        for callback in self._callbacks:
            callback.observed(self._monitor.buffer)
