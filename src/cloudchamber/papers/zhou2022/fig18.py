"""Figure 18: less oscillating data, on which networks condense on fewer lines than the multiplicity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.papers.zhou2022 import condensing_resnets, heatmaps
from cloudchamber.papers.zhou2022.condensing_resnets import Network
from cloudchamber.papers.zhou2022.heatmaps import COUNT, Panel
from cloudchamber.papers.zhou2022.nets import input_weights, loss_ratio, nets

_SOURCE = "zhou2022, Figure 18"
LOW, DIGITS, IMAGES = "x²tanh, sin(2x + 1)", "x²tanh, MNIST", "xtanh, CIFAR-100"
_CIFAR = Network("xtanh", 1e-6, 61, 1)
_EPOCH = 100
_SINES = {"name": "sines", "samples": 80, "dimension": 5, "amplitude": 3.5, "frequency": 2.0}


def studies(scale: Scale) -> dict[str, Study | Any]:
    """Return the three studies; MNIST with one seed, as its data are always the same."""
    small = scale == "smoke"
    low = nets(data=_SINES, activations=["x2tanh"], width=50, std=0.005, lr=1e-3, epochs=[_EPOCH],
               seeds=2 if small else 20)  # fmt: skip
    digits = {"name": "digits" if small else "mnist"}
    mnist = nets(data=digits, activations=["x2tanh"], width=30, std=0.001, lr=5e-5, epochs=[_EPOCH],
                 seeds=2 if small else 3)  # fmt: skip
    cifar = condensing_resnets.studies(scale, (_CIFAR,), "cifar100" if scale == "paper" else "cifar100_part")
    return {LOW: low, DIGITS: mnist, IMAGES: cifar["xtanh"]}


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Count the lines of the three networks."""
    panels = [_small(LOW, runs[LOW], 2, norm_cut=0.1), _small(DIGITS, runs[DIGITS], 1)]
    panels.append(condensing_resnets.panel(_CIFAR, runs[IMAGES], -1, IMAGES))
    found = heatmaps.numbers(panels)
    directions = heatmaps.counts(replace(panels[0], signed=True))[0].tolist()
    return Measured({**found, f"lines, {LOW}, directions": directions}, heatmaps.picture(_of_one_length(panels)))


def _small(name: str, run: StudyRun, lines: int, norm_cut: float = 0.0) -> Panel:
    note = f"epoch {_EPOCH}, loss {loss_ratio(run.result, _EPOCH).mean():.1%}"
    return Panel(name, input_weights(run.result, 1, _EPOCH), lines, norm_cut=norm_cut, note=note)


def _of_one_length(panels: list[Panel]) -> list[Panel]:
    """For the picture: as many seeds in each panel as the shortest has."""
    seeds = min(len(panel.weights) for panel in panels)
    return [replace(panel, weights=np.asarray(panel.weights[:seeds])) for panel in panels]


EXHIBIT = Exhibit(
    id="zhou2022/fig18",
    recipes=studies,
    claims=(
        *heatmaps.line_claims([(LOW, 2, False), (f"{LOW}, directions", 3, True)], _SOURCE),
        *heatmaps.line_claims([(DIGITS, 1, False)], _SOURCE, seeds=3),
        *heatmaps.line_claims([(IMAGES, 1, False)], _SOURCE, seeds=1),
    ),
    measure=measure,
    draw=heatmaps.draw,
    settings="(a) as Figure 3(c), with neurons below a tenth of the largest norm left out, as in the paper. (b) 60 000 "
    "images, pixels/255, full batch. (c) as Figure 2(d), on 10 000 images at laptop, 61 epochs of CIFAR-100. The "
    f"figure's count by threshold is of the first seed. {COUNT}",
    explanation="(a) as for Figure 3. (c) with a rate 99 times the paper's, for 240 updates instead of 61 epochs, no "
    "line has a tenth of the neurons. The networks of Figure 2 with xtanh do not condense with convolutions held as "
    "they start either.",
)
