"""Figure 16: the evolution of Figure 4."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from cloudchamber.papers.exhibit import Exhibit, Measured
from cloudchamber.papers.study import StudyRun
from cloudchamber.papers.zhou2022 import evolution, small
from cloudchamber.papers.zhou2022.heatmaps import COUNT
from cloudchamber.papers.zhou2022.small import ADAM, FIGURE_4

_LAYERS = tuple(enumerate(FIGURE_4.shown, start=1))


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Measure the heatmaps of each layer over the epochs."""
    run = runs[FIGURE_4.name]
    rows = {
        FIGURE_4.panel_name(layer): [
            small.panel(FIGURE_4, run, layer, epoch, f"{FIGURE_4.panel_name(layer)}, epoch {epoch}")
            for epoch in (*FIGURE_4.between, last)
        ]
        for layer, last in _LAYERS
    }
    return evolution.measure(rows)


EXHIBIT = Exhibit(
    id="zhou2022/fig16",
    recipes=partial(small.studies, chosen=(FIGURE_4,)),
    claims=evolution.claims([FIGURE_4.panel_name(layer) for layer, _ in _LAYERS], "zhou2022, Figure 16"),
    measure=measure,
    draw=evolution.draw,
    settings=f"As Figure 4; the epochs before are not legible: 0, 200, 400, 600. {ADAM} {COUNT}",
    explanation="Layer 1, x²tanh: neurons on three to five lines hardly raise the mean |cos|, while 91 % of them are "
    "on lines at the end, 21 % at the start.",
)
