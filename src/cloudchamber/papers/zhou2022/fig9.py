"""Figure 9: test accuracy over training of ResNet-18-like networks from common and condensed initializations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cloudchamber.claims import Claim
from cloudchamber.papers.exhibit import Exhibit, Measured
from cloudchamber.papers.study import StudyRun
from cloudchamber.papers.zhou2022 import accuracies
from cloudchamber.papers.zhou2022.resnets import CONDENSED

_SOURCE = "zhou2022, Figure 9"


def _claim(name: str) -> Claim:
    return Claim(
        f"as good as common, {name}",
        "Networks with initialization in the condensed regime perform as those with common initializations.",
        f"mean final test accuracy from {name} less the lowest mean of a common initialization",
        "the paper's figure, in which curves of both kinds overlap; the 1 % of slack is ours",
        _SOURCE,
        at_least=-0.01,
        paper=(float(np.mean(accuracies.PAPER[name]) - min(np.mean(row) for row in _common())),),
        seeds=1,
    )


def _common() -> list[tuple[float, ...]]:
    return [row for name, row in accuracies.PAPER.items() if name not in CONDENSED]


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Compare each condensed initialization with the worst common one."""
    shown = accuracies.table(runs)
    means = shown.accuracy.isel(updates=-1).mean("trial")
    lowest = float(means.where(means.kind == "common", drop=True).min())
    numbers = {f"as good as common, {name}": [float(means.sel(initialization=name)) - lowest] for name in CONDENSED}
    return Measured(numbers, shown)


EXHIBIT = Exhibit(
    id="zhou2022/fig9",
    recipes=accuracies.studies,
    claims=tuple(_claim(name) for name in CONDENSED),
    measure=measure,
    draw=accuracies.draw,
    settings=accuracies.SETTINGS,
    explanation=accuracies.EXPLANATION,
)
