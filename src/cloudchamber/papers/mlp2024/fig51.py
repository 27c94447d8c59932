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
    explanation="Not every sample from the start: in the first tenth of the phase o is positive for 89 to 95 % of the "
    "samples, by layer (seed 0), in the last tenth for 97 to 99 %. The common direction is that of the whole phase, "
    "and the features have to grow alike before they agree with it.",
)
