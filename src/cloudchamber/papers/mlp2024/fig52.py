"""Figure 52: the two terms of the assumption of Lemma 3, MNIST."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Exhibit, Measured
from cloudchamber.papers.mlp2024 import enhancement
from cloudchamber.papers.mlp2024.first_phase import reasons
from cloudchamber.papers.mlp2024.recipes import SETTINGS, by_seed
from cloudchamber.plot.colors import class_colors

AT_THE_END = 0.1
"""the part of the first phase that counts as its end"""
CLAIM = Claim(
    "first term",
    "The first term is much larger than the second.",
    "mean size of the first term over that of the second at the end of the first phase, smallest over layers 2–6",
    "the paper's ≫; that tenfold is much is ours",
    "mlp2024, Appendix E.4 and Figure 52",
    at_least=10.0,
)


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure both terms over the last tenth of each run's first phase; the first run is drawn."""
    found = [_at_the_end(shown) for shown in enhancement.over_runs(runs).values()]
    numbers = {
        "first term": [float((of.common_term / of.noise_term).min()) if of.layer.size else np.nan for of in found]
    }
    return Measured(numbers, found[0], reasons(numbers))


def draw(shown: xr.Dataset) -> Figure:
    """Draw both terms, a pair of bars per layer."""
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    places = np.arange(shown.sizes["layer"])
    terms = {"common_term": "first term", "noise_term": "second term"}
    for (name, label), color in zip(terms.items(), class_colors(2), strict=True):
        ax.plot(places, shown[name], "o", color=color, markersize=8, label=label)
    ax.set_xticks(places, [str(layer).replace("linear", "layer ") for layer in shown.layer.values])
    ax.set_yscale("log")
    ax.set_ylabel("mean size over samples, η = 1")
    ax.grid(axis="y", linewidth=0.4)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _at_the_end(shown: xr.Dataset) -> xr.Dataset:
    last = max(1, round(AT_THE_END * shown.sizes["step"]))
    return shown[["common_term", "noise_term"]].isel(step=slice(-last, None)).mean("step")


EXHIBIT = Exhibit(
    id="mlp2024/fig52",
    recipes=partial(by_seed, "mnist"),
    claims=(CLAIM,),
    measure=measure,
    draw=draw,
    settings=f"{SETTINGS} The last tenth of the first phase; C is that of all samples over the phase.",
)
