"""Figure 11: three-layer networks."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.zhou2022 import heatmaps, small
from cloudchamber.papers.zhou2022.heatmaps import COUNT
from cloudchamber.papers.zhou2022.small import ADAM, FIGURE_11

EXHIBIT = Exhibit(
    id="zhou2022/fig11",
    recipes=partial(small.studies, chosen=FIGURE_11),
    claims=small.claims(FIGURE_11, "zhou2022, Figure 11"),
    measure=partial(small.measure, chosen=FIGURE_11),
    draw=partial(heatmaps.draw, columns=6, sensitivity=False),
    settings="5-50-50-1. Six activations, of which the paper's text has lost the names: taken are the five of Figure 3 "
    "and silu as a sixth of multiplicity 1, and the rates in the order given, 10⁻⁴ (tanh, silu, xtanh, "
    "x²tanh), 10⁻⁵ (sigmoid), 1.4·10⁻⁵ (softplus); neurons of x²tanh below a tenth of the largest norm are "
    f"left out (the paper: below 0.1). {ADAM} {COUNT}",
    explanation="sigmoid and softplus: 700 updates of Adam at 10⁻⁵ move an entry by at most about 0.007, where it "
    "starts with a deviation of 0.005; neurons grow 2 to 3 times. With four times the rate "
    "(benchmarks/zhou2022_settings.py) they are on one line in 19 and 17 of 20 seeds (sigmoid, layers 1 and 2), 16 "
    "and 15 (softplus), at 98 and 97 % of the loss: the printed rates, or the order in which we read them, are too "
    "small. silu, xtanh, x²tanh: not for want of training. With four times the rate silu and xtanh have 3.8 and 1.9 "
    "lines in layer 1, which hold fewer neurons, 67 and 25 %.",
)
