"""Figure 12: five-layer networks."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.zhou2022 import heatmaps, small
from cloudchamber.papers.zhou2022.heatmaps import COUNT
from cloudchamber.papers.zhou2022.small import ADAM, FIGURE_12

EXHIBIT = Exhibit(
    id="zhou2022/fig12",
    recipes=partial(small.studies, chosen=FIGURE_12),
    claims=small.claims(FIGURE_12, "zhou2022, Figure 12"),
    measure=partial(small.measure, chosen=FIGURE_12),
    draw=partial(heatmaps.draw, columns=4, sensitivity=False),
    settings=f"5-18-18-18-18-1. The caption sums three sines over five inputs: taken is one for each input. {ADAM} "
    f"{COUNT}",
)
