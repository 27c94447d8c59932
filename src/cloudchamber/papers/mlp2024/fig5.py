"""Figure 5: the change of o in the first phase, CIFAR-10 and Tiny ImageNet."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.mlp2024 import pulling
from cloudchamber.papers.mlp2024.fig4 import DATA, recipes
from cloudchamber.papers.mlp2024.recipes import SETTINGS

EXHIBIT = Exhibit(
    id="mlp2024/fig5",
    recipes=recipes,
    claims=pulling.claims("mlp2024, Lemma 3 and Figure 5", DATA),
    measure=partial(pulling.measure, data=DATA),
    draw=pulling.draw,
    settings=f"{SETTINGS} {pulling.SETTINGS}",
    explanation="All that was run holds. Tiny ImageNet is left to the scale paper (8000 steps).",
)
