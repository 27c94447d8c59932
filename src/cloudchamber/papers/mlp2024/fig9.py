"""Figure 9: cosines of the features of samples over iterations, MNIST."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.mlp2024 import heatmaps
from cloudchamber.papers.mlp2024.recipes import SETTINGS, by_seed

EXHIBIT = Exhibit(
    id="mlp2024/fig9",
    recipes=partial(by_seed, "mnist"),
    claims=heatmaps.claims("mlp2024, Figure 9", 700.0),
    measure=heatmaps.measure,
    draw=heatmaps.draw,
    settings=f"{SETTINGS} 50 samples of each of ten classes; every fifth is drawn.",
)
