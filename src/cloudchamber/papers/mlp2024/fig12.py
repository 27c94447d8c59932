"""Figure 12: four MLPs on MNIST, six panels."""

from __future__ import annotations

from collections.abc import Mapping

from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.mlp2024 import six_panels
from cloudchamber.papers.mlp2024.fig11 import LAYER, NETWORKS
from cloudchamber.papers.mlp2024.recipes import SETTINGS, seeds, series
from cloudchamber.training import Recipe


def recipes(scale: Scale) -> dict[str, Recipe]:
    """Return the four networks with each seed."""
    return series("mnist", scale, NETWORKS, seeds(scale, laptop=1))


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure phases and similarities of the third layer."""
    return six_panels.measure(runs, LAYER)


EXHIBIT = Exhibit(
    id="mlp2024/fig12",
    recipes=recipes,
    claims=six_panels.claims("mlp2024, Appendix B.2 and Figure 12", len(NETWORKS), seeds=1),
    measure=measure,
    draw=six_panels.draw,
    settings=f"{SETTINGS} The legend is lost; the four MLPs are our choice. Losses and accuracies are of 2000 "
    "samples. At laptop one seed.",
)
