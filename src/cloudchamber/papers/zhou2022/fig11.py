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
    "starts with a deviation of 0.005: the rates or epochs that the text has kept cannot show "
    "condensation, and the order in which we read them may be wrong.",
)
