"""Figure 7: the losses of Figures 2 to 4."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.papers.zhou2022 import condensing_resnets, losses, small
from cloudchamber.papers.zhou2022.small import FIGURE_3, FIGURE_4

_SOURCE = "zhou2022, Figure 7"
_MEAN_OF = 10


def studies(scale: Scale) -> dict[str, Study]:
    """Return the studies of Figures 2, 3 and 4."""
    resnets = {f"resnet, {name}": one for name, one in condensing_resnets.studies(scale).items()}
    return {**resnets, **small.studies(scale, (*FIGURE_3, FIGURE_4))}


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Measure the losses at the epochs shown."""
    resnets = [_resnet(name, run) for name, run in runs.items() if name.startswith("resnet")]
    parts = [*resnets, *losses.curves(FIGURE_3, runs, "fig3"), *losses.curves((FIGURE_4,), runs, "fig4")]
    numbers = {
        "initial stage, Figure 2": [min(_last_lowest(part) for part in resnets)],
        "initial stage, Figure 3": losses.lowest_ratios(FIGURE_3, runs),
        "initial stage, Figure 4": losses.lowest_ratios((FIGURE_4,), runs),
    }
    return Measured(numbers, xr.concat(parts, "curve"))


def _last_lowest(part: xr.Dataset) -> float:
    means = part["mean"].values[0]
    return float(means[np.isfinite(means)][-_MEAN_OF:].min())


def _resnet(name: str, run: StudyRun) -> xr.Dataset:
    """The loss of a ResNet, as the mean of ten batches; NaN before there are as many."""
    loss = run.result.loss.values
    means = np.convolve(loss, np.ones(_MEAN_OF) / _MEAN_OF, "same") if len(loss) > 2 * _MEAN_OF else loss
    means[: _MEAN_OF // 2], means[len(means) - _MEAN_OF // 2 :] = means[_MEAN_OF // 2], means[-_MEAN_OF // 2 - 1]
    updates = np.arange(1, len(loss) + 1)
    return losses.curve(f"fig2, {name}", updates, means[None] / loss[0], [len(loss)], len(loss))


EXHIBIT = Exhibit(
    id="zhou2022/fig7",
    recipes=studies,
    claims=(
        losses.claim("Figure 2", _SOURCE, 1),
        losses.claim("Figure 3", _SOURCE, 20),
        losses.claim("Figure 4", _SOURCE, 20),
    ),
    measure=measure,
    draw=losses.draw,
    settings="The networks of Figures 2 to 4; losses of ResNets are means of ten batches, over the first batch's.",
)
