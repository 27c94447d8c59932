"""Figure 7: effects of batch norm and of the initialization's variance."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.mlp2024 import centering, lines
from cloudchamber.papers.mlp2024.census import slowest_growth
from cloudchamber.papers.mlp2024.recipes import SETTINGS, seeds, series, shortened
from cloudchamber.papers.mlp2024.sticking import FREE
from cloudchamber.papers.mlp2024.sticking import LAPTOP_STEPS as LAPTOP_VARIANCES
from cloudchamber.papers.mlp2024.sticking import NETWORKS as VARIANCES
from cloudchamber.training import Recipe

PLAIN, NORMED, HALF = "γ = 0.25", "with batch norm", "γ = 0.5"
NETWORKS = {
    PLAIN: (),
    NORMED: ("norms.name=batch_norm", centering.IN_BATCHES),
    HALF: ("initialization.variance_scale=0.5",),
    FREE: VARIANCES[FREE],
}
LAPTOP_STEPS = {NORMED: 1000, HALF: 1000, **LAPTOP_VARIANCES["cifar10"]}
_SOURCE = "mlp2024, Section 3.3 and Figure 7"
CLAIMS = (
    *centering.claims(f"{_SOURCE}(a)", "batch norm", seeds=1),
    Claim(
        "shorter with variance",
        "An initialization with a large variance alleviates condensation: the first phase is shorter.",
        "smallest ratio of the steps at which the loss leaves, of γ = 0.5 to 1 and of 0.25 to 0.5",
        "the paper's words; that 5 % is the least that counts is ours",
        f"{_SOURCE}(b)",
        at_least=1.05,
        seeds=1,
    ),
)
PANELS = (
    lines.Panel("feature cosine of layer 3", "feature_cosine", (PLAIN, NORMED), logarithmic=True),
    lines.Panel("loss of 500 training samples", "loss", (PLAIN, HALF, FREE), ends=True),
)


def recipes(scale: Scale) -> dict[str, Recipe]:
    """Return the 9-layer MLP, with batch norm, and with other variances, with each seed."""
    return series("cifar10", scale, shortened(NETWORKS, scale, LAPTOP_STEPS), seeds(scale, laptop=1))


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure the feature cosine with and without batch norm, and when the loss leaves with each variance."""
    plain, normed, half, free = (lines.by_seed(runs, name.__eq__) for name in NETWORKS)
    growths = [slowest_growth([a, b, c]) for (a,), (b,), (c,) in zip(free, half, plain, strict=True)]
    numbers = {**centering.numbers(normed, plain), "shorter with variance": growths}
    why = {"shorter with variance": "a network did not leave its plateau"}
    return Measured(numbers, lines.curves(lines.of_seed(runs), centering.LAYER), why)


def draw(shown: xr.Dataset) -> Figure:
    """Draw (a) the feature cosine, (b) the loss."""
    return lines.draw(shown, PANELS)


EXHIBIT = Exhibit(
    id="mlp2024/fig7",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=draw,
    settings=f"{SETTINGS} Here L = 9. Batch norm stands after each linear layer but the last; features are observed "
    "after it and its ReLU, normalized by the 500 samples themselves. (b): γ times the variance of Xavier normal. At "
    "laptop the networks with batch norm and with γ = 0.5 and 1 are trained for 1000 steps; one seed.",
    explanation="With batch norm the cosine starts at 1/π, that of two rectified independent Gaussians, and stays: "
    "nothing is left to fall. Observed by running averages, which begin at 0 and 1, it does fall while these settle "
    "(docs/mlp2024.md), and this may be what the paper's figure shows.",
)
