"""Figure 3: the kernels and the channel outputs of a one-layer CNN on MNIST condense, the outputs more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.overview2025.channel_blocks import KINDS, STRENGTH, color_bar, heatmaps
from cloudchamber.papers.overview2025.one_convolution import trained_cnn
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.plot.colors import ACCENT, ALARM, INK

SOURCE = "overview2025, Section 4.2 and Figure 3"
MAIN, COMMON = "3×3, tanh", "3×3, tanh, common start"
NETWORKS: Mapping[str, dict[str, Any]] = {
    MAIN: {"kernel": 3, "act": "tanh", "exponent": 2.0},
    "3×3, relu": {"kernel": 3, "act": "relu", "exponent": 2.0},
    "5×5, tanh": {"kernel": 5, "act": "tanh", "exponent": 2.0},
    COMMON: {"kernel": 3, "act": "tanh", "exponent": 0.5},
}
OTHERS = [name for name in NETWORKS if name not in (MAIN, COMMON)]
_TRAINING: dict[str, Any] = {"channels": 32, "lr": 1e-3, "batch_size": 100, "looked_at": 100}
SIZES: Mapping[Scale, dict[str, Any]] = {
    "smoke": _TRAINING | {"data": "digits", "samples": None, "epochs": 1, "channels": 8, "looked_at": 20},
    "laptop": _TRAINING | {"data": "mnist", "samples": 2000, "epochs": 60},
    "paper": _TRAINING | {"data": "mnist", "samples": None, "epochs": 60},
}


def recipes(scale: Scale) -> dict[str, Study]:
    """Return a study of each network and seed."""
    seeds, networks = (1, (MAIN, COMMON)) if scale == "smoke" else (3, tuple(NETWORKS))
    return {
        f"{name}, seed {seed}": Study(trained_cnn, {**SIZES[scale], **NETWORKS[name], "seed": seed})
        for name in networks
        for seed in range(seeds)
    }


def _claim(name: str, statement: str, quantity: str, basis: str, **bounds: Any) -> Claim:
    return Claim(name, statement, quantity, f"the paper's figure; {basis}", SOURCE, **bounds, seeds=3)


CLAIMS = (
    _claim(
        "no clusters at first",
        "At initialization there is no clustering between the vectors.",
        "block strength of the kernels at the start over that of shuffled kernels",
        "that 1.1 is none is ours",
        at_most=1.1,
    ),
    _claim(
        "kernels",
        "After training blocks appear among the kernels.",
        "block strength of the kernels at the end over that of shuffled kernels",
        "that twice as much counts is ours",
        at_least=2.0,
    ),
    _claim(
        "outputs",
        "After training blocks appear among the outputs of the channels.",
        "block strength of the outputs at the end over that of shuffled kernels' outputs",
        "that half as much again counts is ours",
        at_least=1.5,
    ),
    _claim(
        "outputs more than kernels",
        "The blocks of the outputs are more pronounced than those of the weights.",
        "block strength of the outputs less that of the kernels, at the end",
        "that 0.02 is the least that counts is ours",
        at_least=0.02,
    ),
    _claim(
        "one line",
        "The vectors converge in two opposite directions.",
        "share of the kernels on the most crowded line, |cos| > 0.9, at the end",
        "that half of them are the least that counts is ours",
        at_least=0.5,
    ),
    _claim(
        "opposite",
        "The vectors converge in two opposite directions.",
        "share of the kernels on that line that point the rarer way",
        "that a fifth is the least that counts is ours",
        at_least=0.2,
    ),
    _claim(
        "other networks",
        "The same with other choices of what the paper does not say.",
        "smallest block strength of the kernels at the end over that of shuffled ones: ReLU, and kernels of 5×5",
        "that half as much again counts is ours",
        at_least=1.5,
    ),
    _claim(
        "control",
        "From common initial weights, the linear regime, nothing condenses.",
        "block strength of the kernels at the end over that of shuffled ones, deviation m^-1/2",
        "the paper says so of the regimes in Section 5; the bound is ours",
        at_most=1.1,
    ),
)


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Take strengths over their nulls."""
    table = _table(runs)
    ratio = table.strength / table.null
    kernels, main = ratio.sel(kind="kernels"), table.sel(network=MAIN, moment="end")
    others = [name for name in OTHERS if name in table.network]
    numbers = {
        "no clusters at first": kernels.sel(network=MAIN, moment="start"),
        "kernels": kernels.sel(network=MAIN, moment="end"),
        "outputs": ratio.sel(network=MAIN, moment="end", kind="outputs"),
        "outputs more than kernels": main.strength.sel(kind="outputs") - main.strength.sel(kind="kernels"),
        "one line": main.on_line,
        "opposite": main.rarer_sign,
        "control": kernels.sel(network=COMMON, moment="end"),
    }
    if others:
        numbers["other networks"] = kernels.sel(network=others, moment="end").min("network")
    arrays = table.drop_vars("cosine").assign(cosine=table.cosine.sel(network=MAIN).isel(seed=0, drop=True))
    first = next(iter(runs.values())).result
    curves = first[["loss", "accuracy"]].drop_attrs()
    return Measured({name: values.values.tolist() for name, values in numbers.items()}, xr.merge([arrays, curves]))


def _table(runs: Mapping[str, StudyRun]) -> xr.Dataset:
    """Return strengths and cosines by (network, seed)."""
    networks: dict[str, list[xr.Dataset]] = {}
    for name, run in runs.items():
        one = run.result.drop_attrs()
        kept = one.drop_dims(("update", "epoch")).assign(epochs=one.sizes["epoch"] - 1, right=one.accuracy[-1])
        networks.setdefault(name.rpartition(", seed")[0], []).append(kept)
    parts = [xr.concat(of, "seed") for of in networks.values()]
    return xr.concat(parts, "network").assign_coords(network=list(networks))


def draw(shown: xr.Dataset) -> Figure:
    """Draw loss and accuracy, heatmaps at the start and at the end, and strengths of all networks and seeds."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(14, 6.4), layout="constrained")
    for ax, name, words in ((axes[0, 0], "loss", "update"), (axes[1, 0], "accuracy", "epoch")):
        values = shown[name].values
        ax.plot(np.arange(len(values)) + (name == "loss"), values, color=ACCENT, lw=1)
        ax.set_xlabel(words)
        ax.set_ylabel(f"training {name}")
        ax.set_yscale("log" if name == "loss" else "linear")
    for row, moment in enumerate(("start", "end")):
        panels = {f"{kind}, {moment}": shown.sel(kind=kind, moment=moment) for kind in KINDS}
        one = {title: panel.sel(network=MAIN).isel(seed=0) for title, panel in panels.items()}
        heatmaps(list(axes[row, 1:3]), one)
    color_bar(figure, axes[:, 1:3].ravel().tolist())
    for row, kind in enumerate(KINDS):
        _strengths(axes[row, 3], shown.sel(kind=kind), kind)
    return figure


def _strengths(ax: Axes, shown: xr.Dataset, kind: str) -> None:
    places = np.arange(shown.sizes["network"])
    shuffled, end = shown.null.sel(moment="end"), shown.strength.sel(moment="end")
    for values, color, mark, label in (
        (shuffled, INK, "x", "shuffled"),
        (shown.strength.sel(moment="start"), ALARM, "o", "start"),
        (end, ACCENT, "s", "end"),
    ):
        for seed in range(shown.sizes["seed"]):
            ax.plot(places, values.isel(seed=seed), mark, color=color, alpha=0.7, label=None if seed else label)
    ax.set_xticks(places, [str(name).replace(", ", "\n") for name in shown.network.values], fontsize="x-small")
    ax.set_xlim(-0.5, len(places) - 0.5)
    ax.set_ylim(0, 1)
    ax.set_ylabel(f"block strength, {kind}")
    ax.legend(frameon=False, fontsize="x-small")


EXHIBIT = Exhibit(
    id="overview2025/fig3",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=draw,
    settings="A convolution of 32 channels and a linear output, cross entropy, until all training images are right. "
    "Left open by the paper and chosen by pilots with 1000 images, which looked at both block strengths: Adam with lr "
    "0.001, batches of 100, kernels of 3×3, tanh, all parameters from N(0, 1/m^4); beside it ReLU, kernels of 5×5, and "
    "a common start, N(0, 1/m). Laptop trains on 2000 images of MNIST, paper on all 60 000. Outputs are those of the "
    f"convolution before the activation, for 100 training and 100 test images. {STRENGTH}",
)
