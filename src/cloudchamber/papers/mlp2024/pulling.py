"""Figures 5 and 51: o = cos(ΔV, F)·cos(V, ΔF) over the first phase."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import rankdata

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Measured
from cloudchamber.papers.mlp2024 import enhancement
from cloudchamber.papers.mlp2024.first_phase import reasons

SETTINGS = (
    "ΔV is that of the sample alone and ΔF = −Ḟ, as in Lemma 3; C is that of all samples over the phase; about 100 "
    "steps of the phase, layers 2–6, the batch of each step."
)
SHORTLY_BEFORE = 0.9


def claims(source: str, data: Mapping[str, tuple[str, int]]) -> tuple[Claim, ...]:
    """Return what the paper says of such a figure, for data sets by their titles and seeds."""
    return tuple(claim for title, seeds in data.values() for claim in _claims(source, title, seeds))


def measure(runs: Mapping[str, Run], data: Mapping[str, tuple[str, int]]) -> Measured:
    """Measure o in every run; the first one of each data set is drawn."""
    found = enhancement.over_runs(runs)
    numbers: dict[str, list[float]] = {}
    for name, (title, _) in data.items():
        of = [shown for run, shown in found.items() if run.startswith(name)]
        numbers[f"positive, {title}"] = [_smallest(shown.enhancement) for shown in of]
        numbers[f"every sample, {title}"] = [_smallest(shown.enhancement_positive) for shown in of]
        numbers[f"rising, {title}"] = [_trend(shown.enhancement) for shown in of]
    return Measured(numbers, enhancement.drawn(found, data), reasons(numbers))


def draw(shown: xr.Dataset) -> Figure:
    """Draw o over iterations."""
    return enhancement.draw(shown, {"enhancement": "o"})


def _claims(source: str, title: str, seeds: int) -> tuple[Claim, ...]:
    return (
        Claim(
            f"positive, {title}",
            "o is positive.",
            "o, mean over samples and the first phase, smallest over layers 2–6",
            "the paper's words; that 0.01 is the least that counts is ours",
            source,
            at_least=0.01,
            seeds=seeds,
        ),
        Claim(
            f"every sample, {title}",
            "For each sample o is always positive.",
            "share of samples and steps with o > 0, smallest over layers 2–6",
            "the paper says always; that 95 % is always is ours",
            source,
            at_least=0.95,
            paper=(1.0,),
            seeds=seeds,
        ),
        Claim(
            f"rising, {title}",
            "o usually keeps increasing before the very end of the first phase.",
            "rank correlation of o with the iteration over the first 90 % of the phase, median over layers 2–6",
            "the paper's words; the bound and the 90 % are ours",
            source,
            at_least=0.5,
            seeds=seeds,
        ),
    )


def _smallest(values: xr.DataArray) -> float:
    return float(values.mean("step").min()) if values.sizes["step"] else np.nan


def _trend(values: xr.DataArray) -> float:
    """Median over the layers of Spearman's correlation with the step, shortly before the end left out."""
    early = values.isel(step=slice(0, int(SHORTLY_BEFORE * values.sizes["step"])))
    if early.sizes["step"] < 3:
        return np.nan
    order = xr.apply_ufunc(rankdata, early, kwargs={"axis": 0})
    return float(xr.corr(order, xr.DataArray(np.arange(len(order)), dims="step"), "step").median("layer"))
