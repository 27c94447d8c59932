"""Figure 15: the evolution of Figure 3."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from cloudchamber.papers.exhibit import Exhibit, Measured
from cloudchamber.papers.study import StudyRun
from cloudchamber.papers.zhou2022 import evolution, small
from cloudchamber.papers.zhou2022.heatmaps import COUNT
from cloudchamber.papers.zhou2022.small import ADAM, FIGURE_3


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Measure the heatmaps of each network over the epochs."""
    rows = {
        net.name: [small.panel(net, runs[net.name], 1, epoch, f"{net.name}, epoch {epoch}") for epoch in net.epochs]
        for net in FIGURE_3
    }
    return evolution.measure(rows)


EXHIBIT = Exhibit(
    id="zhou2022/fig15",
    recipes=partial(small.studies, chosen=FIGURE_3),
    claims=evolution.claims([net.name for net in FIGURE_3], "zhou2022, Figure 15"),
    measure=measure,
    draw=evolution.draw,
    settings=f"As Figure 3; the epochs before are not legible: 0, 10, 30, 60. {ADAM} {COUNT}",
    explanation="xtanh, x²tanh: neurons on several lines hardly raise the mean |cos| (0.18 and 0.20), while 85 and 83 "
    "% of them are on lines at the end, none at the start.",
)
