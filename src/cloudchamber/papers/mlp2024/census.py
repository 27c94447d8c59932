"""Figures 14 and 53: MLPs of growing depth on Census, six panels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Measured, Scale
from cloudchamber.papers.mlp2024 import six_panels
from cloudchamber.papers.mlp2024.first_phase import phases
from cloudchamber.papers.mlp2024.recipes import seeds, series
from cloudchamber.training import Recipe

LAYER = "linear3"
NETWORKS = {f"{depth} layers": (f"model.depth={depth}",) for depth in (6, 7, 8)}
SETTINGS = (
    "ReLU MLPs of 128 neurons a layer, SGD, lr 0.1, batch 1000, Xavier with γ = 0.3 (docs/mlp2024.md shows others); "
    "UCI Adult, 15000 training samples, as many of each class (unbalanced, the best constant output is a class's "
    "share, and no plateau is to be seen); the depths are our choice (the legend is lost). Similarities are of 500 "
    "training samples, losses of 2000. One seed at laptop."
)

EXPLANATION = (
    "Gradients within a class rise from 0.48 to 0.96 (7 layers) and stay there: with two classes the output gradients "
    "of a class are parallel whatever has been learned, and with none of five initializations do those of layer 3 end "
    "below 0.83 (docs/mlp2024.md). With PyTorch's own initialization, taken at first, the features of layer 5 start at "
    "0.997, because its biases make all samples alike, and only fall."
)


def claims(source: str) -> tuple[Claim, ...]:
    """Return what the paper says of such a figure."""
    return (
        *six_panels.claims(source, len(NETWORKS), seeds=1),
        Claim(
            "longer with depth",
            "The deeper network has the longer first phase.",
            "smallest ratio of the steps at which the loss leaves, of each depth to the next smaller one",
            "the paper's words (Appendix I.1); that 5 % is the least that counts is ours",
            source,
            at_least=1.05,
            seeds=1,
        ),
    )


def recipes(scale: Scale) -> dict[str, Recipe]:
    """Return the networks with each seed."""
    return series("adult", scale, NETWORKS, seeds(scale, laptop=1))


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure phases, similarities of the third layer, and how the phase grows with depth."""
    found = six_panels.measure(runs, LAYER)
    growth = [slowest_growth(of) for of in six_panels.grouped(runs).values()]
    why = {"longer with depth": "a network did not leave its plateau"}
    return replace(found, numbers={**found.numbers, "longer with depth": growth}, why=why)


def slowest_growth(runs: list[Run]) -> float:
    """Return the smallest ratio of the steps at which runs leave their plateaus, each to the one before it."""
    left = [phases(run).loss_marker for run in runs]
    steps = [np.nan if step is None else float(step) for step in left]
    return min(later / max(earlier, 1.0) for earlier, later in pairwise(steps)) if np.isfinite(steps).all() else np.nan
