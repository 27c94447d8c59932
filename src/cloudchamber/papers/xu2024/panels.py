"""What Figures 1 and 5 have in common: cases by panel, one study each; theory's line over the seeds' band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.papers.exhibit import Scale
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.papers.xu2024.alignment import trajectories
from cloudchamber.plot.colors import INK, class_colors

Cases = Mapping[str, Mapping[str, Any]]
"""By "panel: line" what sets a case apart."""
_SIZES: dict[Scale, dict[str, Any]] = {
    "smoke": {"width": 30, "seeds": 2, "steps": 100, "time": 0.5},
    "laptop": {"width": 1000, "seeds": 20, "steps": 4000, "time": 1.5},
    "paper": {"width": 1000, "seeds": 20, "steps": 4000, "time": 1.5},
}
"""Of the paper's own sizes only the 100 points are known: they are those of laptop, which shares its runs."""


def studies(cases: Cases, scale: Scale) -> dict[str, Study]:
    """Return a study for each case."""
    return {name: Study(trajectories, {**_SIZES[scale], **case}) for name, case in cases.items()}


def table(runs: Mapping[str, StudyRun]) -> xr.Dataset:
    """Return the mean, the 10 % and the 90 % quantile of ζ over the seeds, and theory's mean: (case, look)."""
    return xr.concat(
        [_band(run.result) for run in runs.values()], xr.Variable("case", np.array(list(runs), dtype=object))
    )


def deviation(found: xr.Dataset) -> list[float]:
    """Return the largest |ζ − theory's| of each seed."""
    return abs(found.alignment - found.theory).max("look").values.tolist()


def largest_deviation(runs: Mapping[str, StudyRun], names: Sequence[str]) -> list[float]:
    """Return, of each seed, the largest |ζ − theory's| over some cases."""
    return np.max([deviation(runs[name].result) for name in names], axis=0).tolist()


def change(found: xr.Dataset) -> list[float]:
    """Return ζ at the end less that at the start, of each seed."""
    return (found.alignment[:, -1] - found.alignment[:, 0]).values.tolist()


def smallest_step(found: xr.Dataset) -> list[float]:
    """Return the smallest change of ζ from look to look, of each seed."""
    return found.alignment.diff("look").min("look").values.tolist()


def largest_step(found: xr.Dataset) -> list[float]:
    """Return the largest change of ζ from look to look, of each seed."""
    return found.alignment.diff("look").max("look").values.tolist()


def draw(shown: xr.Dataset) -> Figure:
    """Draw a panel for each group of cases: theory's line, dots and a band of 80 % of the seeds."""
    from matplotlib import pyplot as plt

    groups: dict[str, list[str]] = {}
    for name in shown.case.values:
        groups.setdefault(str(name).split(": ")[0], []).append(str(name))
    figure, axes = plt.subplots(1, len(groups), figsize=(3.2 * len(groups), 3.2), layout="constrained", squeeze=False)
    for ax, (title, names) in zip(axes[0], groups.items(), strict=True):
        for name, color in zip(names, class_colors(len(names)), strict=True):
            _case(ax, shown.sel(case=name), color, name.split(": ")[1])
        ax.set_title(title, loc="left", fontsize="medium", color=INK)
        ax.set_xscale("function", functions=(np.sqrt, np.square))
        ax.set_xticks([0, 0.05, 0.25, 1])
        ax.set_xlabel("part of the updates")
        ax.legend(frameon=False, fontsize="x-small")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("layer alignment ζ (line: theory)")
    return figure


def _band(found: xr.Dataset) -> xr.Dataset:
    low, high = (found.alignment.quantile(part, "seed", keep_attrs=False).drop_vars("quantile") for part in (0.1, 0.9))
    means = {"alignment": found.alignment.mean("seed"), "theory": found.theory.mean("seed")}
    return xr.Dataset({**means, "low": low, "high": high}).drop_attrs()


def _case(ax: Axes, one: xr.Dataset, color: str, label: str) -> None:
    ax.fill_between(one.progress, one.low, one.high, color=color, alpha=0.2, linewidth=0)
    ax.plot(one.progress[::4], one.alignment[::4], "o", color=color, markersize=3, label=label)
    if bool(one.theory.notnull().all()):
        ax.plot(one.progress, one.theory, "-", color=color, linewidth=1)
