"""Figure 4: six-layer networks with residual connections."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.zhou2022 import heatmaps, small
from cloudchamber.papers.zhou2022.heatmaps import COUNT
from cloudchamber.papers.zhou2022.small import ADAM, FIGURE_4

EXHIBIT = Exhibit(
    id="zhou2022/fig4",
    recipes=partial(small.studies, chosen=(FIGURE_4,)),
    claims=small.claims((FIGURE_4,), "zhou2022, Figure 4"),
    measure=partial(small.measure, chosen=(FIGURE_4,)),
    draw=partial(heatmaps.draw, columns=5),
    settings="3-18-18-18-18-18-1; the learning rate is not legible: 4·10⁻⁵, the largest of 1, 4, 10 and 40·10⁻⁵ at "
    f"which four pilots (other seeds) stayed above 70 % of the first loss at epoch 1400. {ADAM} {COUNT}",
    explanation="Layers 1 and 2 have one line more or less in half of the seeds; in layer 4 neurons are on one "
    "line, but in some seeds spread by more than 18° around it at epoch 1400.",
)
