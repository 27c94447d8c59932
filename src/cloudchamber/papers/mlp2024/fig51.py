"""Figure 51: the change of o in the first phase, MNIST."""

from __future__ import annotations

from functools import partial

from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.mlp2024 import pulling
from cloudchamber.papers.mlp2024.recipes import SETTINGS, by_seed

DATA = {"mnist": ("MNIST", 3)}

EXHIBIT = Exhibit(
    id="mlp2024/fig51",
    recipes=partial(by_seed, "mnist"),
    claims=pulling.claims("mlp2024, Appendix D and Figure 51", DATA),
    measure=partial(pulling.measure, data=DATA),
    draw=pulling.draw,
    settings=f"{SETTINGS} {pulling.SETTINGS}",
)
