"""Figure 55: feature cosines of MLPs with and without centering (norm₁)."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.mlp2024 import centering, fig11, lines
from cloudchamber.papers.mlp2024.first_phase import NOT_AT_THIS_SCALE
from cloudchamber.papers.mlp2024.recipes import SETTINGS, DataName, seeds, series, shortened
from cloudchamber.training import Recipe

DATA: dict[DataName, str] = {"cifar10": "CIFAR-10", "mnist": "MNIST", "tiny_imagenet_50": "Tiny ImageNet"}
DEPTHS = {"7 layers": ("model.depth=7",), "9 layers": ()}
CENTERED = "centered"
LAPTOP_STEPS = 1000
_SOURCE = "mlp2024, Appendix I.2 and Figure 55"


def recipes(scale: Scale) -> dict[str, Recipe]:
    """Return MLPs of both depths with and without norm₁; Tiny ImageNet at paper alone."""
    found: dict[str, Recipe] = {}
    for data, title in DATA.items():
        chosen = seeds(scale, laptop=0, paper=1) if data == "tiny_imagenet_50" else seeds(scale, laptop=1)
        cut = shortened(_networks(title), scale, _steps(data, title))
        found |= series(data, scale, cut, chosen)
    return found


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure the feature cosine of layer 3 of each data set's networks."""
    numbers: dict[str, list[float]] = {}
    for title in DATA.values():
        normed = lines.by_seed(runs, lambda name, of=title: name.startswith(of) and name.endswith(CENTERED))
        plain = lines.by_seed(runs, lambda name, of=title: name.startswith(of) and not name.endswith(CENTERED))
        numbers |= centering.numbers(normed, plain, f", {title}")
    why = dict.fromkeys(numbers, NOT_AT_THIS_SCALE)
    return Measured(numbers, lines.curves(lines.of_seed(runs), centering.LAYER), why)


def draw(shown: xr.Dataset) -> Figure:
    """Draw the feature cosine, a panel per data set."""
    names = shown.network.values.tolist()
    panels = [
        lines.Panel(
            f"{title}, feature cosine of layer 3",
            "feature_cosine",
            [name for name in names if name.startswith(title)],
            logarithmic=True,
            dashed=[f"{title}: 9 layers, {CENTERED}"],
        )
        for title in DATA.values()
    ]
    panels = [panel for panel in panels if panel.networks]
    return lines.draw(shown, panels, columns=len(panels))


def _networks(title: str) -> dict[str, tuple[str, ...]]:
    norm = ("norms.name=centering_norm", centering.IN_BATCHES)
    return {
        f"{title}: {name}{label}": (*own, *more)
        for name, own in DEPTHS.items()
        for label, more in (("", ()), (f", {CENTERED}", norm))
    }


def _steps(data: DataName, title: str) -> dict[str, int]:
    """At laptop: 1000 for centered networks; those without norm as in Figures 11 and 12, which share them."""
    shared = {f"{title}: 7 layers": fig11.LAPTOP_STEPS["7 layers, 512 wide"]} if data == "cifar10" else {}
    return {f"{title}: {name}, {CENTERED}": LAPTOP_STEPS for name in DEPTHS} | shared


EXHIBIT = Exhibit(
    id="mlp2024/fig55",
    recipes=recipes,
    claims=tuple(
        claim
        for title in DATA.values()
        for claim in centering.claims(_SOURCE, "centering", f", {title}", 1, ", worst of 7 and 9 layers")
    ),
    measure=measure,
    draw=draw,
    settings=f"{SETTINGS} norm₁ stands after each linear layer but the last; features are observed after it and its "
    "ReLU, normalized by the 500 samples themselves. At laptop centered networks are trained for 1000 steps; one seed.",
    explanation="As in Figure 7: centered features start at a cosine of 1/π and stay; nothing is left to fall. "
    "Observed by running averages they fall while these settle (docs/mlp2024.md).",
)
