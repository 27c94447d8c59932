"""Figure 44: learning sticking of a 9-layer MLP, CIFAR-10."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.mlp2024 import sticking
from cloudchamber.papers.mlp2024.recipes import SETTINGS

EXHIBIT = Exhibit(
    id="mlp2024/fig44",
    recipes=partial(sticking.recipes, data="cifar10"),
    claims=sticking.claims("mlp2024, Appendix C and Figure 44"),
    measure=sticking.measure,
    draw=sticking.draw,
    settings=f"{SETTINGS} Here: Xavier normal with its variance times γ, as the paper says; run as long as the others, "
    "with γ = 1 at laptop for 1000 steps. One seed at laptop.",
)
