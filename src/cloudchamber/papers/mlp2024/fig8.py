"""Figure 8: cosines of the features of samples over iterations, CIFAR-10."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.mlp2024 import heatmaps
from cloudchamber.papers.mlp2024.recipes import SETTINGS, by_seed

EXHIBIT = Exhibit(
    id="mlp2024/fig8",
    recipes=partial(by_seed, "cifar10"),
    claims=heatmaps.claims("mlp2024, Figure 8", 1000.0),
    measure=heatmaps.measure,
    draw=heatmaps.draw,
    settings=f"{SETTINGS} 50 samples of each of ten classes ('fifty samples from ten categories' may mean 50 in all); "
    "every fifth is drawn.",
)
