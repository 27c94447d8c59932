"""Figure 13: five-layer networks with residual connections."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.zhou2022 import heatmaps, small
from cloudchamber.papers.zhou2022.heatmaps import COUNT
from cloudchamber.papers.zhou2022.small import ADAM, FIGURE_13

EXHIBIT = Exhibit(
    id="zhou2022/fig13",
    recipes=partial(small.studies, chosen=FIGURE_13),
    claims=small.claims(FIGURE_13, "zhou2022, Figure 13"),
    measure=partial(small.measure, chosen=FIGURE_13),
    draw=partial(heatmaps.draw, columns=4, sensitivity=False),
    settings="5-18-18-18-18-1. The caption sums three sines over five inputs: taken is one for each input. Rates and "
    "epochs of sigmoid and softplus are not legible: those of the list at which the upper layers of four "
    f"pilots (other seeds) condense above 70 % of the first loss, 10⁻⁴ until 3000 and 5·10⁻⁵ until 3000. {ADAM} "
    f"{COUNT}",
    explanation="sigmoid: trained too far at the rate that we read. With a quarter of it "
    "(benchmarks/zhou2022_settings.py) layers 1 to 3 are on one line in 18, 19 and 13 of 20 seeds, at 98 % of the "
    "loss; 3, 6 and 2 at the rate itself. softplus, tanh (layer 1): 2.1 and 3.2 lines with a quarter of the rate, 2.9 "
    "and 3.4 with four times; no rate tried gives one. xtanh, x²tanh: 4.3 and 3.9 lines in layer 1 with four times "
    "the rate, and the first at 51 % of the loss.",
)
