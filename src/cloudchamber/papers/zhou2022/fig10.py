"""Figure 10: six-layer networks without residual connections."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.zhou2022 import heatmaps, small
from cloudchamber.papers.zhou2022.heatmaps import COUNT
from cloudchamber.papers.zhou2022.small import ADAM, FIGURE_10

EXHIBIT = Exhibit(
    id="zhou2022/fig10",
    recipes=partial(small.studies, chosen=(FIGURE_10,)),
    claims=small.claims((FIGURE_10,), "zhou2022, Figure 10"),
    measure=partial(small.measure, chosen=(FIGURE_10,)),
    draw=partial(heatmaps.draw, columns=4),
    settings=f"3-18-18-18-18-18-1, learning rate 10⁻⁵; four heatmaps, as many epochs are given. {ADAM} {COUNT}",
    explanation="In half of the seeds the layers from the second on have not condensed by epoch 6800 (none of their "
    "neurons is on a line). With four times the rate (benchmarks/zhou2022_settings.py) neurons have grown 22 to 38 "
    "times instead of 5 to 9, and 69 to 76 % are on lines instead of 61 to 66 %, on 4.4, 1.5, 1.4 and 0.8 of them "
    "(mean of 20 seeds): more training alone does not give the paper's picture.",
)
