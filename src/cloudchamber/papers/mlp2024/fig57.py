"""Figure 57: accuracy of each class at the end of the first phase, three data sets."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit, Scale
from cloudchamber.papers.mlp2024 import fig6, learned_classes
from cloudchamber.papers.mlp2024.recipes import SETTINGS, by_seed
from cloudchamber.training import Recipe

DATA = {**fig6.DATA, "tiny_imagenet_50": ("Tiny ImageNet", 1)}


def recipes(scale: Scale) -> dict[str, Recipe]:
    """Return the 9-layer MLPs on the three data sets; Tiny ImageNet at paper alone."""
    return fig6.recipes(scale) | by_seed("tiny_imagenet_50", scale, laptop=0, paper=1)


EXHIBIT = Exhibit(
    id="mlp2024/fig57",
    recipes=recipes,
    claims=learned_classes.claims("mlp2024, Appendix J and Figure 57", DATA),
    measure=partial(learned_classes.measure, data=DATA),
    draw=learned_classes.draw,
    settings=f"{SETTINGS} Accuracies are of all training samples, not augmented.",
)
