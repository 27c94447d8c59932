"""Figure 11: four MLPs on CIFAR-10, six panels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.mlp2024 import six_panels
from cloudchamber.papers.mlp2024.first_phase import NOT_OVER, end_of_phase
from cloudchamber.papers.mlp2024.recipes import SETTINGS, seeds, series, shortened
from cloudchamber.training import Recipe

LAYER = "linear3"
MAIN = "9 layers, 512 wide"
NETWORKS = {
    MAIN: (),
    "7 layers, 512 wide": ("model.depth=7",),
    "9 layers, 256 wide": ("model.width=256",),
    "7 layers, 256 wide": ("model.depth=7", "model.width=256"),
}
SHALLOW = tuple(name for name in NETWORKS if name.startswith("7"))
LAPTOP_STEPS = dict.fromkeys(SHALLOW, 1500)
CLAIMS = (
    *six_panels.claims("mlp2024, Figure 11", len(NETWORKS), seeds=1),
    Claim(
        "end",
        "Until the 1300th iteration both similarities grow; there the diversity of the 9-layer MLP is lowest.",
        "step at which the first phase of the 9-layer MLP of 512 neurons is over",
        "the paper's number within 30 %, which is ours",
        "mlp2024, Appendix B and Figure 11",
        at_least=910.0,
        at_most=1690.0,
        paper=(1300.0,),
        over="mean of seeds",
        seeds=1,
    ),
)


def recipes(scale: Scale) -> dict[str, Recipe]:
    """Return the four networks with each seed."""
    return series("cifar10", scale, shortened(NETWORKS, scale, LAPTOP_STEPS), seeds(scale, laptop=1))


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure phases and similarities of the third layer."""
    found = six_panels.measure(runs, LAYER)
    ends = [end_of_phase(run, LAYER) for name, run in runs.items() if name.startswith(MAIN)]
    numbers = {**found.numbers, "end": [float("nan") if end is None else float(end) for end in ends]}
    return replace(found, numbers=numbers, why={"end": NOT_OVER})


EXHIBIT = Exhibit(
    id="mlp2024/fig11",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=six_panels.draw,
    settings=f"{SETTINGS} The legend is lost; the four MLPs are our choice. Losses and accuracies are of 2000 "
    "samples. At laptop one seed; those of 7 layers, which leave early, are trained for 1500 steps.",
)
