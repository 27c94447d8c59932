"""Figure 45: learning sticking of a 9-layer MLP, MNIST."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.mlp2024 import sticking
from cloudchamber.papers.mlp2024.recipes import SETTINGS

EXHIBIT = Exhibit(
    id="mlp2024/fig45",
    recipes=partial(sticking.recipes, data="mnist"),
    claims=sticking.claims("mlp2024, Appendix C and Figure 45"),
    measure=sticking.measure,
    draw=sticking.draw,
    settings=f"{SETTINGS} Here: Xavier normal with its variance times γ, as the paper says; run as long as the others. "
    "One seed at laptop.",
)
