"""The phase of the network that a recipe describes."""

from __future__ import annotations

from cloudchamber._core.errors import require
from cloudchamber.predict.phases.network import TRIED_STEPS, phase
from cloudchamber.predict.phases.report import PhaseReport
from cloudchamber.training import Recipe
from cloudchamber.training.session import Session
from cloudchamber.training.settings import own_settings


def phase_recipe(recipe: Recipe, *, tried: int = TRIED_STEPS) -> PhaseReport:
    """Return the phase of a recipe's network, by its data, loss, optimizer, batches and steps.

    Args:
        recipe: what would be run.
        tried: updates of a copy at most.

    Raises:
        InvalidInput: if the recipe's parts do not fit together, or it has no steps.

    >>> from cloudchamber.training import load_recipe
    >>> phase_recipe(load_recipe(overrides=["model.depth=2", "optimizer.lr=1e-5", "steps=20"])).name
    'frozen'
    """
    require(recipe.steps >= 1, "a run whose phase is asked for has steps", recipe.steps, "set `steps` to 1 or more")
    with own_settings(recipe, recipe.threads):
        session = Session.of(recipe)
        return phase(
            session.model,
            session.batches.dataset.probe(recipe.observe.probe_samples),
            loss=session.loss,
            optimizer=session.optimizer,
            steps=recipe.steps,
            batches=session.batches.of_step,
            tried=tried,
        )
