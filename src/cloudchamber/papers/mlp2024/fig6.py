"""Figure 6: accuracy of each class at the end of the first phase, CIFAR-10 and MNIST."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit, Scale
from cloudchamber.papers.mlp2024 import learned_classes
from cloudchamber.papers.mlp2024.recipes import SETTINGS, by_seed
from cloudchamber.training import Recipe

DATA = {"cifar10": ("CIFAR-10", 3), "mnist": ("MNIST", 3)}


def recipes(scale: Scale) -> dict[str, Recipe]:
    """Return the 9-layer MLPs on both data sets."""
    return by_seed("cifar10", scale) | by_seed("mnist", scale)


EXHIBIT = Exhibit(
    id="mlp2024/fig6",
    recipes=recipes,
    claims=learned_classes.claims("mlp2024, Section 3.2.2 and Figure 6", DATA),
    measure=partial(learned_classes.measure, data=DATA),
    draw=learned_classes.draw,
    settings=f"{SETTINGS} Accuracies are of all training samples, not augmented.",
    explanation="CIFAR-10: two classes, with one seed three; the others lie below chance. MNIST: the loss does not "
    "wait for one or two classes to be learned. With γ = 1, 0.8 and 0.7 (seed 0) 4 or 5 classes are "
    "beyond three times chance where the loss begins to decrease, 9 or 10 where the features are most "
    "alike (docs/mlp2024.md): its classes leave the plateau nearly together.",
)
