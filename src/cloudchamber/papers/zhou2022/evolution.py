"""Evolutions: the heatmaps of a figure over the epochs before, one row for each network or layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.measures import cosine_matrix
from cloudchamber.papers.exhibit import Measured
from cloudchamber.papers.zhou2022 import heatmaps
from cloudchamber.papers.zhou2022.heatmaps import Panel

Row = Sequence[Panel]
"""One network or layer at rising epochs, the last one that of the figure itself."""


def claims(names: Sequence[str], source: str, seeds: int = 20) -> tuple[Claim, ...]:
    """Return what the paper shows in such a figure: condensation grows until the epoch of the figure itself."""
    return tuple(claim for name in names for claim in (_growth(name, source, seeds), _coverage(name, source, seeds)))


def _growth(name: str, source: str, seeds: int) -> Claim:
    return Claim(
        f"growth, {name}",
        f"Condensation grows over the epochs shown ({name}).",
        "mean |cos| of two neurons' input weights in the last heatmap less that in the first",
        "the paper's figure; that 0.2 is the least that counts is ours",
        source,
        at_least=0.2,
        over="mean of seeds",
        seeds=seeds,
    )


def _coverage(name: str, source: str, seeds: int) -> Claim:
    return Claim(
        f"more on lines, {name}",
        f"Condensation grows over the epochs shown ({name}).",
        "share of the neurons on the lines that are counted, in the last heatmap less that in the first",
        "the paper's figure; ours, added after the first run of Figures 15 and 16: neurons on several lines have no "
        "larger mean |cos| than random ones; that 0.5 is the least that counts is ours",
        source,
        at_least=0.5,
        over="mean of seeds",
        seeds=seeds,
    )


def measure(rows: Mapping[str, Row]) -> Measured:
    """Measure how much the neurons of each row have aligned, and what is drawn."""
    aligned = {name: np.array([alignment(panel) for panel in row]) for name, row in rows.items()}
    numbers = {f"growth, {name}": (values[-1] - values[0]).tolist() for name, values in aligned.items()}
    for name, row in rows.items():
        covered = [heatmaps.counts(panel)[1] for panel in (row[0], row[-1])]
        numbers[f"more on lines, {name}"] = (covered[1] - covered[0]).tolist()
    shown = heatmaps.picture([panel for row in rows.values() for panel in row])
    means = np.concatenate([values.mean(1) for values in aligned.values()])
    shown = shown.assign(alignment=("panel", means)).assign_attrs(columns=len(next(iter(rows.values()))))
    return Measured(numbers, shown.drop_vars(["mean_count", "random_count"]))


def alignment(panel: Panel) -> list[float]:
    """Return, for every seed, the mean |cos| of two neurons' input weights: 1 on one line."""
    return [_alignment(torch.from_numpy(weight), panel.norm_cut) for weight in panel.weights]


def _alignment(weight: torch.Tensor, norm_cut: float) -> float:
    sizes = weight.norm(dim=1)
    matrix = cosine_matrix(weight[sizes >= norm_cut * sizes.max()]).abs()
    return float(matrix[~torch.eye(len(matrix), dtype=torch.bool)].mean())


def draw(shown: xr.Dataset) -> Figure:
    """Draw a row of heatmaps for each network or layer."""
    return heatmaps.draw(shown, columns=int(shown.attrs["columns"]), sensitivity=False)
