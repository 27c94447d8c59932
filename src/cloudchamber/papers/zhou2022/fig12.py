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
    explanation="softplus: not trained far enough at the printed rate (neurons have grown 3 to 5 times). With four "
    "times the rate (benchmarks/zhou2022_settings.py) layers 1 to 3 are on one line in 20 of 20 seeds, at 96 % of the "
    "loss; layer 4, where the signal comes last, has 2.2 lines. xtanh, x²tanh: not for want of training; with four "
    "times the rate layer 1 has lines with 20 and 46 % of the neurons, and the loss is below 70 %.",
)
