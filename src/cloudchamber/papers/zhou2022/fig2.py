"""Figure 2: condensation of the first fully connected layer of ResNet-18-like networks on CIFAR-10."""

from __future__ import annotations

from collections.abc import Mapping

from cloudchamber.papers.exhibit import Exhibit, Measured
from cloudchamber.papers.study import StudyRun
from cloudchamber.papers.zhou2022 import condensing_resnets, heatmaps
from cloudchamber.papers.zhou2022.condensing_resnets import NETWORKS

_SOURCE = "zhou2022, Figure 2"


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Count the lines of each network at its last update."""
    panels = [condensing_resnets.panel(one, runs[one.activation], -1) for one in NETWORKS]
    return Measured(heatmaps.numbers(panels), heatmaps.picture(panels))


EXHIBIT = Exhibit(
    id="zhou2022/fig2",
    recipes=condensing_resnets.studies,
    claims=(
        *heatmaps.line_claims([(one.activation, one.lines, one.signed) for one in NETWORKS], _SOURCE, seeds=1),
        heatmaps.condensed_claim(_SOURCE, seeds=1),
    ),
    measure=measure,
    draw=heatmaps.draw,
    settings=condensing_resnets.SETTINGS,
    explanation="The rate is multiplied by 30 to 100 so that 240 updates go as far as the paper's. softplus: the two "
    "directions are less than 26° apart, parts of one (|cos| > 0.9: one, with all neurons): its neurons have grown "
    "4.9 times where tanh's have 7.7 times, and are still turning. With four times the rate (convolutions as they "
    "start) they are all on one direction at update 120. xtanh: 12 % of the neurons are on a line, and that is not "
    "because convolutions change: with those held as they start none is, though neurons have grown 168 times "
    "(benchmarks/zhou2022_settings.py).",
)
