"""Figures 44 to 49: learning sticking, and a larger variance of the initial weights as its cure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Measured, Scale
from cloudchamber.papers.mlp2024 import six_panels
from cloudchamber.papers.mlp2024.evaluation import CURVES
from cloudchamber.papers.mlp2024.recipes import DataName, seeds, series, shortened
from cloudchamber.training import Recipe

STUCK, FREE = "γ = 0.1", "γ = 1"
NETWORKS = {
    name: ("initialization.name=xavier_normal", f"initialization.variance_scale={scale}")
    for name, scale in ((FREE, 1.0), (STUCK, 0.1))
}
LAPTOP_STEPS: dict[DataName, dict[str, int]] = {"cifar10": {FREE: 1000}}
"""with γ = 1 the loss leaves early there"""
LAYER = "linear3"
draw = partial(six_panels.draw, quantities=CURVES)


def claims(source: str) -> tuple[Claim, ...]:
    """Return what the paper says of such a figure."""
    return (
        Claim(
            "stuck",
            "With γ = 0.1 the loss minimization gets stuck.",
            "lowest loss of the whole run over that of the best constant output, γ = 0.1",
            "the paper's words; sticking is docs/diagnosis.md's 1 %",
            source,
            at_least=0.99,
            seeds=1,
        ),
        Claim(
            "freed",
            "With γ = 1 the problem is solved.",
            "lowest loss of the whole run over that of the best constant output, γ = 1",
            "the paper's words; leaving is docs/diagnosis.md's 15 %",
            source,
            at_most=0.85,
            seeds=1,
        ),
    )


def recipes(scale: Scale, data: DataName) -> dict[str, Recipe]:
    """Return the 9-layer MLP with both variances and each seed."""
    return series(data, scale, shortened(NETWORKS, scale, LAPTOP_STEPS.get(data, {})), seeds(scale, laptop=1))


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure how low the loss gets."""
    of_network = {name: [run for key, run in runs.items() if key.startswith(f"{name},")] for name in NETWORKS}
    numbers = {
        "stuck": [lowest_loss(run) for run in of_network[STUCK]],
        "freed": [lowest_loss(run) for run in of_network[FREE]],
    }
    shown = {name: of[0] for name, of in of_network.items()}
    return Measured(numbers, six_panels.panels(shown, LAYER))


def lowest_loss(run: Run) -> float:
    """Return the lowest loss of a run over that of the best constant output; NaN if it diverged."""
    losses = run.record.probe_loss.values / float(run.record.constant_predictor_loss)
    return float(losses.min()) if np.isfinite(losses).all() else np.nan
