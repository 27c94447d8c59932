"""Figure 14: the evolution of Figure 2."""

from __future__ import annotations

from collections.abc import Mapping

from cloudchamber.papers.exhibit import Exhibit, Measured
from cloudchamber.papers.study import StudyRun
from cloudchamber.papers.zhou2022 import condensing_resnets, evolution
from cloudchamber.papers.zhou2022.condensing_resnets import NETWORKS, Network


def _row(one: Network, run: StudyRun) -> evolution.Row:
    steps = run.result.snapshot.values.tolist()
    return [
        condensing_resnets.panel(one, run, place, f"{one.activation}, update {step}")
        for place, step in enumerate(steps)
    ]


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Measure the heatmaps of each network over its updates."""
    return evolution.measure({one.activation: _row(one, runs[one.activation]) for one in NETWORKS})


EXHIBIT = Exhibit(
    id="zhou2022/fig14",
    recipes=condensing_resnets.studies,
    claims=evolution.claims([one.activation for one in NETWORKS], "zhou2022, Figure 14", seeds=1),
    measure=measure,
    draw=evolution.draw,
    settings=f"{condensing_resnets.SETTINGS} The epochs between are not legible: shown are 0, 1/8, 3/8, 5/8 and all.",
    explanation="xtanh: see Figure 2; at update 90 24 % of the neurons are on two lines, at the end 12 % on one.",
)
