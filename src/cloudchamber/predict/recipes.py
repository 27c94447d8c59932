"""Predictions for recipes."""

from __future__ import annotations

from cloudchamber._core.errors import require
from cloudchamber.predict.forecast import predict
from cloudchamber.predict.prediction import Prediction
from cloudchamber.training import Recipe
from cloudchamber.training.session import Session
from cloudchamber.training.settings import own_settings


def predict_recipe(recipe: Recipe) -> Prediction:
    """Predict the run that a recipe describes: its model, probe, loss, optimizer, batches and steps.

    Raises:
        InvalidInput: if the recipe's parts do not fit together, or it has no steps.

    >>> predict_recipe(Recipe()).leaves_plateau
    'leaves'
    """
    require(recipe.steps >= 1, "a run that is predicted has steps", recipe.steps, "set `steps` to 1 or more")
    with own_settings(recipe, recipe.threads):
        session = Session.of(recipe)
        return predict(
            session.model,
            session.batches.dataset.probe(recipe.observe.probe_samples),
            loss=session.loss,
            optimizer=session.optimizer,
            steps=recipe.steps,
        )
