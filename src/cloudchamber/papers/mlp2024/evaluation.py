"""Losses and accuracies on training and test data, which the record of a run does not hold."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from cloudchamber.data import DigitsConfig, SinesConfig, load_data
from cloudchamber.papers.cache import Run
from cloudchamber.papers.replay import loss_and_accuracy, outputs_of, replay
from cloudchamber.training.session import Session

EVERY, PER_PROBE = 50, 4
CURVES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


def curves(run: Run, *, every: int, samples: int) -> xr.Dataset:
    """Return losses and accuracies at multiples of `every` steps, on about `samples` training and test samples each.

    They are equally many of each class, and not augmented. Of data without a test part, that part's are NaN.
    """
    data = run.recipe.data
    tested = None
    if not isinstance(data, DigitsConfig | SinesConfig):
        tested = load_data(data, run.recipe.seed, "test").probe(samples)
    found: dict[int, tuple[float, ...]] = {}

    def look(step: int, session: Session) -> None:
        trained = loss_and_accuracy(session, *session.batches.dataset.probe(samples))
        test = (np.nan, np.nan) if tested is None else loss_and_accuracy(session, *tested)
        found[step] = (trained[0], test[0], trained[1], test[1])

    replay(run, range(0, int(run.record.step[-1]) + 1, every), look)
    columns = np.array(list(found.values())).T
    variables = {name: ("step", values) for name, values in zip(CURVES, columns, strict=True)}
    return xr.Dataset(variables, coords={"step": list(found)})


def measured_curves(run: Run) -> xr.Dataset:
    """Return `curves` every 50 steps, of four times as many samples as the probe has (2000)."""
    return run.measured(curves, every=EVERY, samples=PER_PROBE * run.recipe.observe.probe_samples)


def class_accuracies(run: Run, *, step: int) -> xr.Dataset:
    """Return the accuracy of each class over all training samples after `step` updates, and what the classes are."""
    accuracy: list[float] = []
    names: list[str] = []

    def look(_: int, session: Session) -> None:
        data = session.batches.dataset
        right = outputs_of(session.model, data.inputs).argmax(1) == data.targets
        counts = torch.bincount(data.targets, minlength=data.classes)
        accuracy.extend((torch.bincount(data.targets[right], minlength=data.classes) / counts).tolist())
        names.extend(data.class_names or [str(label) for label in range(data.classes)])

    replay(run, [step], look)
    return xr.Dataset({"accuracy": ("label", accuracy), "name": ("label", np.array(names, dtype=object))})
