"""Features of single samples at a few steps around the end of the first phase: for heatmaps and embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from cloudchamber.measures import cosine_matrix
from cloudchamber.papers.cache import Run
from cloudchamber.papers.mlp2024.first_phase import end_of_phase
from cloudchamber.papers.replay import features_of, replay
from cloudchamber.training.session import Session

SHARES = (0.0, 0.5, 1.0, 1.5)
"""steps shown, as shares of the first phase; the last step of the run comes after them"""


def features(run: Run, *, layer: str, steps: Sequence[int], samples: int) -> xr.Dataset:
    """Return the features of a layer of the first samples of each class, (step, sample, neuron), with their classes."""
    found: list[np.ndarray] = []
    labels: list[int] = []

    def look(_: int, session: Session) -> None:
        inputs, targets = session.batches.dataset.probe(samples)
        found.append(features_of(session, inputs, layer).float().numpy())
        labels[:] = targets.tolist()

    replay(run, list(steps), look)
    dims = ("step", "sample", "neuron")
    return xr.Dataset({"feature": (dims, np.stack(found)), "label": ("sample", labels)}, coords={"step": list(steps)})


def around_phase(run: Run, layer: str) -> list[int]:
    """Return the steps to show: the start, the middle and the end of the first phase, after it, and the last step.

    Without a first phase that is over: as if it ended half-way.
    """
    last, end = int(run.record.step[-1]), end_of_phase(run, layer)
    stop = last // 2 if end is None else end
    return sorted({min(round(share * stop), last) for share in SHARES} | {last})


def measured_features(run: Run, layer: str) -> xr.Dataset:
    """Return `features` of as many samples as the probe has (500), at the steps to show."""
    samples = run.recipe.observe.probe_samples
    return run.measured(features, layer=layer, steps=around_phase(run, layer), samples=samples)


def cosines(found: xr.Dataset) -> np.ndarray:
    """Return the cosines of all pairs of samples at every step: (step, sample, sample)."""
    return np.stack([cosine_matrix(torch.from_numpy(values)).numpy() for values in found.feature.values])
