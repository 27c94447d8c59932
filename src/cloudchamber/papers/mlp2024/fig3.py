"""Figure 3: the strength of common directions, CIFAR-10."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.mlp2024 import common_directions
from cloudchamber.papers.mlp2024.recipes import SETTINGS, by_seed

EXHIBIT = Exhibit(
    id="mlp2024/fig3",
    recipes=partial(by_seed, "cifar10"),
    claims=common_directions.claims("mlp2024, Section 3.1.1 and Figure 3"),
    measure=common_directions.measure,
    draw=common_directions.draw,
    settings=f"{SETTINGS} Layers 2–7 (the paper does not say which), the two classes with the highest accuracy at the "
    "end of the first phase, the updates of the first phase.",
    explanation="By quarters of the first phase (Table 1, seed 0), with directions of their own, s_1/s_2 is 12, 27, 14 "
    "and 5.6: ten and more until the loss begins to decrease; the last quarter makes the mean. From 5 % to "
    "15 % it is 3.2 (docs/mlp2024.md). On MNIST (Figure 50) the claims hold.",
)
