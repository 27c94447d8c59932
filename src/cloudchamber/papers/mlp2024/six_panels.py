"""The paper's six panels: losses, accuracies and both similarities of several networks, the first phase shaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Measured
from cloudchamber.papers.mlp2024.evaluation import CURVES, measured_curves
from cloudchamber.papers.mlp2024.first_phase import end_of_phase
from cloudchamber.plot.colors import INK, class_colors, phase_color

COSINES = ("feature_cosine", "gradient_cosine")
TITLES = {
    "train_loss": "training loss",
    "test_loss": "test loss",
    "train_accuracy": "training accuracy",
    "test_accuracy": "test accuracy",
    "feature_cosine": "features of different classes",
    "gradient_cosine": "gradients within a class",
}
LEAST = 0.05


def claims(source: str, networks: int, seeds: int = 3) -> tuple[Claim, ...]:
    """Return what the paper says of every such figure: a first phase in each network, similarities up, then down."""
    return (
        Claim(
            "first phase",
            "Each network has a first phase: the loss hardly falls, then fast.",
            f"networks, of {networks}, with a first phase that is over by the end of the run",
            "the paper's words; what counts as a first phase is docs/diagnosis.md",
            source,
            at_least=float(networks),
            paper=(float(networks),),
            seeds=seeds,
        ),
        *(
            Claim(
                kind,
                f"The similarity of {kind} keeps growing in the first phase and falls after it.",
                f"the smaller of rise and fall of {name}, smallest over the networks",
                "the paper's words; that 0.05 is the least that counts is ours",
                source,
                at_least=LEAST,
                seeds=seeds,
            )
            for kind, name in zip(("features", "gradients"), COSINES, strict=True)
        ),
    )


def measure(runs: Mapping[str, Run], layer: str) -> Measured:
    """Measure runs named "network, seed k"; curves on test data are those of the first seed."""
    by_seed = grouped(runs)
    numbers = {
        "first phase": [float(sum(end_of_phase(run, layer) is not None for run in of)) for of in by_seed.values()],
        "features": [min(rise_and_fall(run, "feature_cosine", layer) for run in of) for of in by_seed.values()],
        "gradients": [min(rise_and_fall(run, "gradient_cosine", layer) for run in of) for of in by_seed.values()],
    }
    first = next(iter(by_seed))
    shown = {name.rpartition(", ")[0]: run for name, run in runs.items() if name.endswith(first)}
    return Measured(numbers, panels(shown, layer))


def grouped(runs: Mapping[str, Run]) -> dict[str, list[Run]]:
    """Return the runs of each seed."""
    seeds = dict.fromkeys(name.rpartition(", ")[2] for name in runs)
    return {seed: [run for name, run in runs.items() if name.rpartition(", ")[2] == seed] for seed in seeds}


def rise_and_fall(run: Run, quantity: str, layer: str) -> float:
    """Return the smaller of a similarity's rise from initialization to its top, and its fall from there to the end.

    The top is the highest value up to twice the length of the first phase; −inf without a first phase that is over.
    """
    top = top_of_phase(run, quantity, layer)
    curve = run.record[quantity].sel(layer=layer)
    return min(top - float(curve[0]), top - float(curve[-1]))


def top_of_phase(run: Run, quantity: str, layer: str) -> float:
    """Return the highest value of a similarity up to twice the length of the first phase.

    −inf without a first phase that is over.
    """
    stop = end_of_phase(run, layer)
    if stop is None:
        return -math.inf
    return float(run.record[quantity].sel(layer=layer, step=slice(None, 2 * stop)).max())


def panels(runs: Mapping[str, Run], layer: str) -> xr.Dataset:
    """Return the curves of the six panels: (network, step) of the record and (network, tested_step) of the losses."""
    records = [run.record[list(COSINES)].sel(layer=layer).drop_vars("layer") for run in runs.values()]
    tested = [measured_curves(run).rename(step="tested_step") for run in runs.values()]
    networks = xr.Variable("network", np.array(list(runs), dtype=object))
    curves = xr.concat(
        [xr.merge([a.reset_coords(drop=True), b]) for a, b in zip(records, tested, strict=True)], networks, join="outer"
    )
    stops = [end_of_phase(run, layer) for run in runs.values()]
    curves["first_phase_end"] = "network", [np.nan if stop is None else float(stop) for stop in stops]
    return curves.assign_attrs(layer=layer).astype("float32")


def draw(curves: xr.Dataset, quantities: Sequence[str] = (*CURVES, *COSINES)) -> Figure:
    """Draw panels in two rows; the first phase of the first network is shaded, the ends of the others are marked."""
    from matplotlib import pyplot as plt

    columns = len(quantities) // 2
    figure, axes = plt.subplots(2, columns, figsize=(3.7 * columns, 5.6), layout="constrained", sharex=True)
    names = [str(name) for name in curves.network.values]
    for letter, quantity, ax in zip("abcdef"[: axes.size], quantities, axes.flat, strict=True):
        steps = curves["tested_step" if quantity in CURVES else "step"].values
        for name, color in zip(names, class_colors(len(names)), strict=True):
            ax.plot(steps, curves[quantity].sel(network=name).values, color=color, linewidth=1.4, label=name)
        _shade(ax, curves.first_phase_end.values.tolist(), class_colors(len(names)))
        title = TITLES[quantity] + (f" ({curves.attrs['layer']})" if quantity in COSINES else "")
        ax.set_title(f"({letter}) {title}", loc="left", fontsize="medium", color=INK)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[1]:
        ax.set_xlabel("iteration")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def _shade(ax: Axes, ends: Sequence[float], colors: Sequence[str]) -> None:
    if np.isfinite(ends[0]):
        ax.axvspan(0, ends[0], color=phase_color("first phase"), alpha=0.12, linewidth=0)
    for end, color in zip(ends, colors, strict=True):
        if np.isfinite(end):
            ax.axvline(end, color=color, linewidth=0.8, linestyle=":")
