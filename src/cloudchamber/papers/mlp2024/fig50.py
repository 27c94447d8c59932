"""Figure 50: the strength of common directions, MNIST and Tiny ImageNet."""

from __future__ import annotations

from collections.abc import Mapping

from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.mlp2024 import common_directions
from cloudchamber.papers.mlp2024.first_phase import reasons
from cloudchamber.papers.mlp2024.recipes import SETTINGS, by_seed
from cloudchamber.training import Recipe

_SOURCE = "mlp2024, Appendix D and Figure 50"
DATA = {"mnist": ", MNIST", "tiny_imagenet_50": ", Tiny ImageNet"}


def recipes(scale: Scale) -> dict[str, Recipe]:
    """Return the 9-layer MLPs on both data sets; Tiny ImageNet at paper alone."""
    return by_seed("mnist", scale) | by_seed("tiny_imagenet_50", scale, laptop=0, paper=1)


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure the strengths over the first phase of every run."""
    table = common_directions.strengths(runs)
    numbers: dict[str, list[float]] = {}
    for data, label in DATA.items():
        numbers |= common_directions.numbers(table.sel(run=[name for name in runs if name.startswith(data)]), label)
    return Measured(numbers, table, reasons(numbers))


EXHIBIT = Exhibit(
    id="mlp2024/fig50",
    recipes=recipes,
    claims=(
        *common_directions.claims(_SOURCE, label=DATA["mnist"]),
        *common_directions.claims(_SOURCE, seeds=1, label=DATA["tiny_imagenet_50"]),
    ),
    measure=measure,
    draw=common_directions.draw,
    settings=f"{SETTINGS} Layers 2–7 (the paper does not say which), the two classes with the highest accuracy at the "
    "end of the first phase, the updates of the first phase.",
)
