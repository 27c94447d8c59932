"""Rescue of a run folder: the run goes on from its checkpoint, with the remedy, in a new folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber._core.files import write_text
from cloudchamber._core.storage import JOURNAL_NAME, Journal, open_record
from cloudchamber.control.plan import Plan
from cloudchamber.control.remedy import PutPhaseNorm, Remedy, Setting
from cloudchamber.control.rescue import TRIAL_STEPS, rescue
from cloudchamber.interventions import Initialization, initialize
from cloudchamber.training import Callback, Recipe, RunResult, resume
from cloudchamber.training.checkpoint import CHECKPOINT_NAME, Checkpoint
from cloudchamber.training.loop import ENVIRONMENT_NAME, Saved
from cloudchamber.training.recipe_text import assigned, parse_recipe, recipe_yaml
from cloudchamber.training.run import RECIPE_NAME, new_folder, recipe_of
from cloudchamber.training.session import Session
from cloudchamber.training.settings import own_settings

PROVENANCE_NAME = "rescue.json"


@dataclass(frozen=True)
class RunRescue:
    """What came of the rescue of a run folder.

    Attributes:
        plan: what was proposed; its trials say why.
        result: the run that went on with it; None where there was no remedy to go on with.
    """

    plan: Plan
    result: RunResult | None


def rescue_run(
    folder: Path | str,
    out: Path | str,
    *,
    steps: int | None = None,
    trial_steps: int = TRIAL_STEPS,
    callbacks: Sequence[Callback] = (),
) -> RunRescue:
    """Free a run of a recipe: find the least invasive remedy, and go on with it from the checkpoint in a new folder.

    Remedies are tried on the run's own next batches. The new folder is a run folder like any other: `recipe.yaml` holds
    the changed settings, the checkpoint the rescued weights, the journal the observations until then; `rescue.json`
    says what was done, to which run, and what the trials said. The old folder stays as it is.

    Args:
        folder: of the run.
        out: a new folder; it is made only if there is a remedy.
        steps: updates after the checkpoint; None = as many as the run's recipe has.
        trial_steps: the most updates of a trial.
        callbacks: are told what happens.

    Returns:
        The plan, and how the new run ended.

    Raises:
        InvalidInput: if the run has no checkpoint, or `out` holds a run already.
        FileAccess: if the folder holds no run, or one cannot be read or written.
        DamagedFile: if its record, checkpoint or journal is damaged.
    """
    stuck = plan_for_run(folder, trial_steps=trial_steps)
    result = rescue_planned(stuck, out, steps=steps, callbacks=callbacks) if stuck.plan.remedies else None
    return RunRescue(stuck.plan, result)


def plan_for_run(folder: Path | str, *, trial_steps: int = TRIAL_STEPS) -> StuckRun:
    """Return a run as its checkpoint left it, with a plan; changes nothing. Arguments and errors as `rescue_run`."""
    return StuckRun.open(Path(folder), trial_steps)


def rescue_planned(
    stuck: StuckRun, out: Path | str, *, steps: int | None = None, callbacks: Sequence[Callback] = ()
) -> RunResult:
    """Go on with a plan that has remedies; arguments and errors as `rescue_run`."""
    stuck.write(Path(out), stuck.recipe.steps if steps is None else steps)
    return resume(out, callbacks=callbacks)


@dataclass(frozen=True)
class StuckRun:
    """A run as its checkpoint left it, with the plan for it.

    Attributes:
        folder: its folder.
        recipe: its recipe.
        saved: its checkpoint, and the observations until it.
        session: its parts, at the checkpoint.
        plan: what may free it.
    """

    folder: Path
    recipe: Recipe
    saved: Saved
    session: Session
    plan: Plan

    @classmethod
    def open(cls, folder: Path, trial_steps: int) -> StuckRun:
        """Read a run folder and try remedies; errors as `rescue_run`."""
        recipe, record = recipe_of(folder), open_record(folder)
        saved = Saved.load(folder)
        if saved is None:
            raise InvalidInput(
                f"a run is rescued from its checkpoint; got {folder} without {CHECKPOINT_NAME}. "
                f"Remedy: go on with it first: cloudchamber run --resume {folder}."
            )
        with own_settings(recipe, recipe.threads or saved.threads):
            session = Session.of(recipe)
            saved.checkpoint.restore(session)
            return cls(folder, recipe, saved, session, _plan(session, record, saved.checkpoint.step, trial_steps))

    def write(self, out: Path, steps: int) -> None:
        """Apply the plan and write the folder from which the rescued run goes on."""
        require(steps >= 1, "a rescued run goes on for a step or more", steps, "leave `steps` out")
        step = self.saved.checkpoint.step
        recipe = changed(self.recipe, self.plan.remedies, step + steps)
        with own_settings(recipe, recipe.threads or self.saved.threads):
            self.saved.checkpoint.restore(self.session)
            self.plan.apply()
            rescued = Session.of(recipe)
            with rescued.monitor as monitor:
                frame = monitor.buffer.frame
            rescued.model.load_state_dict(self.session.model.state_dict())
            rescued.optimizer.load_state_dict(self.session.optimizer.state_dict())
            new_folder(out)
            write_text(out / RECIPE_NAME, recipe_yaml(recipe))
            write_text(out / ENVIRONMENT_NAME, json.dumps(frame.environment, indent=2) + "\n")
            write_text(out / PROVENANCE_NAME, json.dumps(self._provenance(), indent=2, ensure_ascii=False) + "\n")
            journal = Journal(out / JOURNAL_NAME)
            journal.start(frame)
            for observation in self.saved.buffer.observations:
                journal.append(observation)
            _with_random_states(rescued, self.saved.checkpoint, step).save(out)

    def _provenance(self) -> dict[str, Any]:
        return {
            "run": str(self.folder),
            "step": self.saved.checkpoint.step,
            "reason": self.plan.reason,
            "steps": [{"name": remedy.name, "words": remedy.words} for remedy in self.plan.remedies],
            "trials": [str(trial) for trial in self.plan.trials],
        }


def _plan(session: Session, record: xr.Dataset, step: int, trial_steps: int) -> Plan:
    return rescue(
        session.model,
        session.optimizer,
        record,
        probe=session.batches.dataset.probe(session.recipe.observe.probe_samples),
        loss=session.loss,
        batches=lambda update: session.batches.of_step(step + update),
        trial_steps=trial_steps,
        seed=session.recipe.seed,
    )


def _with_random_states(session: Session, before: Checkpoint, step: int) -> Checkpoint:
    return Checkpoint(step, session.model.state_dict(), session.optimizer.state_dict(), before.random)


def initialization_of(recipe: Recipe) -> Initialization:
    """Return what the initialization of a recipe gives each layer of its model.

    Raises:
        InvalidInput: if the recipe's parts do not fit together.

    >>> initialization_of(Recipe()).regime
    'linear'
    """
    with own_settings(recipe, recipe.threads):
        return initialize(Session.of(recipe).model, recipe.initialization, recipe.seed, dry_run=True)


def changed(recipe: Recipe, remedies: Sequence[Remedy], steps: int) -> Recipe:
    """Return the recipe of a run that goes on with remedies, up to `steps` updates in all.

    Rescaled and redrawn weights are no settings: they are in the checkpoint alone.

    >>> norms = changed(Recipe(), [PutPhaseNorm(("linear1",))], 2000).norms
    >>> norms.name, norms.after
    ('phase_norm', ['linear1'])
    """
    values: dict[str, Any] = {"steps": steps}
    for remedy in remedies:
        if isinstance(remedy, PutPhaseNorm):
            values["norms"] = {"name": "phase_norm", "after": list(remedy.layers)}
        elif isinstance(remedy, Setting):
            values[f"optimizer.{remedy.key}"] = remedy.of_one_rate(getattr(recipe.optimizer, remedy.key))
    return parse_recipe(assigned(recipe.model_dump(mode="json"), values))
