"""Figures 6 and 57: the training accuracy of each class at the end of the first phase."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Measured
from cloudchamber.papers.mlp2024.evaluation import class_accuracies
from cloudchamber.papers.mlp2024.first_phase import ended_phase, reasons
from cloudchamber.plot.colors import ACCENT, INK

FAR, NEAR = 3.0, 1.5
"""times chance: what is far above it, and what is near it"""

Data = Mapping[str, tuple[str, int]]
"""By the data's name in recipes: its title, and the seeds that its claims take."""


def claims(source: str, data: Data) -> tuple[Claim, ...]:
    """Return what the paper says of such a figure."""
    return tuple(claim for title, seeds in data.values() for claim in _claims(source, title, seeds))


def measure(runs: Mapping[str, Run], data: Data) -> Measured:
    """Measure the accuracies at the end of each run's first phase; the first run of each data set is drawn."""
    found = {name: _accuracies(run) for name, run in runs.items()}
    numbers: dict[str, list[float]] = {}
    for prefix, (title, _) in data.items():
        of = [values for name, values in found.items() if name.startswith(prefix)]
        numbers[f"learned classes, {title}"] = [_far(values) for values in of]
        numbers[f"the others, {title}"] = [_others(values) for values in of]
    return Measured(numbers, _table(found, data), reasons(numbers))


def draw(table: xr.Dataset) -> Figure:
    """Draw a bar per class, a panel per data set, with chance."""
    from matplotlib import pyplot as plt

    count = table.sizes["data"]
    figure, axes = plt.subplots(1, count, figsize=(4.6 * count, 3.4), layout="constrained", squeeze=False)
    for title, ax in zip(table.data.values, axes[0], strict=True):
        one = table.sel(data=title).dropna("label")
        ax.bar(one.label, one.accuracy, color=ACCENT)
        ax.axhline(1 / max(one.sizes["label"], 1), color=INK, linestyle=":", label="chance")
        step = f"iteration {int(one.step)}" if np.isfinite(one.step) else "no first phase that is over"
        ax.set_title(f"{title}, {step}", loc="left", fontsize="medium", color=INK)
        if one.sizes["label"] <= 10:
            ax.set_xticks(one.label, one.name.values, rotation=60, ha="right", fontsize="small")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize="small")
    axes[0][0].set_ylabel("training accuracy")
    return figure


def _claims(source: str, title: str, seeds: int) -> tuple[Claim, Claim]:
    learned = Claim(
        f"learned classes, {title}",
        "Only one or two categories have much higher accuracies than random guessing at the end of the first phase.",
        "classes with a training accuracy above three times chance",
        "the paper's one or two; that three times chance is much higher is ours",
        source,
        at_least=1.0,
        at_most=2.0,
        paper=(1.0, 2.0),
        seeds=seeds,
    )
    others = Claim(
        f"the others, {title}",
        "The MLP only learned features of a single or two categories.",
        "mean training accuracy of all classes but the best two, over chance",
        "the paper's words; that 1.5 times chance is near it is ours",
        source,
        at_most=NEAR,
        seeds=seeds,
    )
    return learned, others


def _accuracies(run: Run) -> xr.Dataset | None:
    phase = ended_phase(run)
    if phase is None:
        return None
    return run.measured(class_accuracies, step=phase.until).assign(step=float(phase.until))


def _far(found: xr.Dataset | None) -> float:
    if found is None:
        return np.nan
    return float((found.accuracy > FAR / found.sizes["label"]).sum())


def _others(found: xr.Dataset | None) -> float:
    if found is None:
        return np.nan
    return float(np.sort(found.accuracy.values)[:-2].mean() * found.sizes["label"])


def _table(found: Mapping[str, xr.Dataset | None], data: Data) -> xr.Dataset:
    shown: dict[str, xr.Dataset] = {}
    for prefix, (title, _) in data.items():
        of = [values for name, values in found.items() if name.startswith(prefix)]
        if of:
            known = _empty() if of[0] is None else of[0]
            shown[title] = known.assign_coords(label=np.arange(known.sizes["label"]))
    return xr.concat(list(shown.values()), xr.Variable("data", np.array(list(shown), dtype=object)), join="outer")


def _empty() -> xr.Dataset:
    nothing = np.array([], dtype=object)
    return xr.Dataset({"accuracy": ("label", np.array([])), "name": ("label", nothing), "step": np.nan})
