"""overview2025, Figure 8: dropout condenses two-layer networks that start from no small initialization."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.overview2025 import dropout_runs as shared
from cloudchamber.papers.overview2025.dropout_runs import COLORS, DROPOUT, NONE, REGULARIZER, SHOWN
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.plot.colors import INK

SOURCE = "overview2025, Section 6.3 and Figure 8"
CASES = {name: (name, "adam") for name in ("tanh", "relu")}
_COUNT = "effective orientations"
_HALF = "the paper's words; that half is what counts is ours"


def recipes(scale: Scale) -> dict[str, Study]:
    """Return a study for each activation and seed."""
    return shared.studies(scale, CASES)


def _claims(name: str) -> tuple[Claim, ...]:
    return (
        Claim(
            f"{name}: dropout condenses",
            "Dropout induces condensation, even without small initialization.",
            f"{_COUNT} at the end with dropout, over those without, both from γ = 0.2",
            _HALF,
            SOURCE,
            at_most=0.5,
        ),
        Claim(
            f"{name}: without dropout there is none",
            "Without dropout, networks do not condense from that initialization.",
            f"{_COUNT} without dropout at the end, over those at the start, γ = 0.2",
            _HALF,
            SOURCE,
            at_least=0.5,
        ),
        Claim(
            f"{name}: the regularizer condenses too",
            "It is dropout's explicit regularizer R₁ that does it.",
            f"{_COUNT} at the end with R₁ in place of dropout, over those with neither, both from γ = 0.2",
            "Zhang and Xu (2024), which the paper cites; that half is what counts is ours",
            SOURCE,
            at_most=0.5,
        ),
        Claim(
            f"{name}: what condensed still fits",
            "The loss of what dropout condensed is small.",
            "loss at the end with dropout, γ = 0.2, over that of the zero function",
            "ours: a network that is zero would count as condensed",
            SOURCE,
            at_most=0.05,
        ),
    )


CLAIMS = tuple(claim for name in CASES for claim in _claims(name))


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Compare effective orientations at the end."""
    numbers: dict[str, list[float]] = {}
    for name in CASES:
        for key in ("dropout condenses", "without dropout there is none", "the regularizer condenses too"):
            numbers[f"{name}: {key}"] = [_ratio(found, key) for found in shared.results(runs, name)]
        numbers[f"{name}: what condensed still fits"] = [
            float(found.loss.sel(way=DROPOUT)[-1] / found.loss_of_zero) for found in shared.results(runs, name)
        ]
    return Measured(numbers, _arrays(runs))


def _ratio(found: xr.Dataset, key: str) -> float:
    start, end = found.orientations[:, 0], found.orientations[:, -1]
    if key == "without dropout there is none":
        return float(end.sel(way=NONE) / start.sel(way=NONE))
    way = DROPOUT if key == "dropout condenses" else REGULARIZER
    return float(end.sel(way=way) / end.sel(way=NONE))


def _arrays(runs: Mapping[str, StudyRun]) -> xr.Dataset:
    first = [shared.results(runs, name)[0].parameters.sel(way=list(SHOWN)) for name in CASES]
    return shared.curves(runs, list(CASES)).assign(parameters=xr.concat(first, "case").astype(np.float32).drop_attrs())


def draw(shown: xr.Dataset) -> Figure:
    """Draw amplitude over orientation of the first seed, start in grey; and effective orientations over steps."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(CASES), 5, figsize=(14, 5.4), layout="constrained")
    for row, name in zip(axes, CASES, strict=True):
        signed = name == "relu"
        for ax, way, color in zip(row, SHOWN, COLORS, strict=False):
            one = shown.sel(case=name)
            shared.cloud(ax, one.parameters.sel(way=way).values, signed=signed, color=color)
            count = float(one.orientations.sel(way=way).isel(seed=0, step=-1))
            ax.set_title(f"{name}: {way}\n{count:.1f} effective orientations", fontsize="small", loc="left", color=INK)
        row[0].set_ylabel("|a|‖(w, b)‖, of the largest\n(grey: at the start)")
        shared.lines(row[-1], shown.orientations.sel(case=name))
        row[-1].set_yscale("log")
        row[-1].set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
        row[-1].minorticks_off()
        row[-1].set_title(f"{name}: over training, every seed", fontsize="small", loc="left", color=INK)
        row[-1].set_ylabel("effective orientations")
    for ax in axes[-1][:-1]:
        ax.set_xlabel("orientation, degrees")
    axes[-1][-1].set_xlabel("step")
    figure.legend(*axes[0][-1].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def text(shown: xr.Dataset) -> str:
    """Return effective orientations and loss at the end, medians of the seeds, a row per case and way."""
    last = shown[["orientations", "loss"]].isel(step=-1).median("seed")
    head = f"{'at the end, median of seeds':28}{'effective orientations':>24}{'loss / zero’s':>16}"
    rows = [
        f"{f'{case}: {way}':28}{float(one.orientations):24.1f}{float(one.loss):16.2g}"
        for case in CASES
        for way in shown.way.values
        for one in [last.sel(case=case, way=way)]
    ]
    return "\n".join([head, *rows])


EXHIBIT = Exhibit(
    id="overview2025/fig8",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=draw,
    table=text,
    settings="Two-layer networks Σ a σ(w x + b), all parameters N(0, 1/m^γ), a variance, the paper's γ = 0.2; keep "
    "probability 0.9, a mask for every sample and neuron; targets tanh(x − 6) + tanh(x + 6) and ½ σ(−x − 1/3) + "
    "½ σ(x − 1/3); learning rate 0.001 as in the captions (the text has 0.0001). The optimizer, samples and number of "
    "steps are lost: Adam on all of 20 samples even in ±10 (tanh) and ±2 (ReLU), mean squared error with ½, chosen by "
    "pilots of one seed; Figure 9 has gradient descent. The small initialization is γ = 2. Laptop: width 200, 40 000 "
    "steps, every kind at γ = 0.2, 1 and 2; paper: the paper's width 1000, 60 000 steps, the four ways that are drawn. "
    "Effective orientations: 1/Σ p_j p_k over pairs within 5°, p_j a neuron's share of Σ |a|‖(w, b)‖; lines for tanh, "
    "directions for ReLU. R₁ = (1 − p)/(2np) Σ (a σ)².",
    explanation="The regularizer alone does what dropout does, and leaves a smaller loss: what is left with dropout is "
    "its noise. Dropout and a small start together are too much for tanh in 40 000 steps: from γ = 2 the loss with "
    "dropout is 6 % of the zero function's, with R₁ 13 % and on a single orientation (table); networks with neither "
    "fit.",
)
