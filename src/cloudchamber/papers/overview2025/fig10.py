"""overview2025, Figure 10: how a transformer learns composite functions, over the rate of its initialization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import rankdata

from cloudchamber.claims import Claim
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.overview2025.transformer import PARTS, learned
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.plot.colors import INK, MUTED, class_colors, cosine_colors

SOURCE = "overview2025, Section 7.2 and Figure 10"
LEARNS, GENERALIZES = 0.9, 0.2
"""Accuracies from which on something is learned, and up to which there is no generalization."""
SYMMETRIC = 0.8
PATTERNS = {
    1: "(i) remembers",
    2: "(ii) seen compositions",
    3: "(iii) the same, symmetric",
    4: "(iv) all compositions",
}
CURVES = ("seen", "unseen_numbers", "unseen_compositions", "symmetry")
_LABELS = ("training sequences", "unseen numbers", "unseen compositions", "(3,4) answered like (4,3)")
_SIZES: dict[Scale, dict[str, Any]] = {
    "smoke": {"length": 4, "numbers": 10, "samples": 50, "width": 8, "hidden": 8, "batch_size": 20}
    | {"lr": 2e-3, "weight_decay": 1.0, "steps": 20, "looks": 2},
    "laptop": {"length": 6, "numbers": 30, "samples": 4000, "width": 64, "hidden": 128, "batch_size": 100}
    | {"lr": 2e-3, "weight_decay": 0.1, "steps": 2500, "looks": 5},
    "paper": {"length": 9, "numbers": 80, "samples": 900_000, "width": 400, "hidden": 1200, "batch_size": 2048}
    | {"lr": 1e-4, "weight_decay": 0.01, "steps": 90_000, "looks": 20},
}
RATES: dict[Scale, tuple[float, ...]] = {
    "smoke": (0.1, 0.8),
    "laptop": (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.2),
    "paper": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
}
"""At laptop's width 1.15 is as small as 0.8 is at the paper's: 64^(−1.15) = 400^(−0.8)."""


def recipes(scale: Scale) -> dict[str, Study]:
    """Return a study for each rate and seed."""
    return {
        f"γ = {rate:g}, seed {seed}": Study(learned, {**_SIZES[scale], "rate": rate, "seed": seed})
        for rate in RATES[scale]
        for seed in range(1 if scale == "smoke" else 3)
    }


def _pattern_claim(number: int, words: str) -> Claim:
    return Claim(
        f"pattern {PATTERNS[number]}",
        words,
        f"initialization rates, of {len(RATES['paper'])}, with pattern {PATTERNS[number]}",
        "the paper's words; learned is an accuracy of 0.9 and more, no generalization one of at most 0.2 (numbers) or "
        "below 0.9 (compositions), symmetric an agreement of 0.8 and more: ours",
        SOURCE,
        at_least=1,
    )


CLAIMS = (
    _pattern_claim(1, "The network only remembers training data, and shows no generalization on any test data."),
    _pattern_claim(
        2, "It generalizes to seen compositions on unseen numbers, but not to (3, 4) and (4, 3), without symmetry."
    ),
    _pattern_claim(3, "Similar to (ii), but the outputs of (3, 4) and (4, 3) are symmetric."),
    _pattern_claim(4, "The network generalizes to all composite functions."),
    Claim(
        "the patterns follow the rate",
        "As the initialization rate increases, the network learns by the four patterns in turn.",
        "rank correlation of γ with the accuracy on unseen compositions",
        "the paper's words; that 0.8 is enough is ours",
        SOURCE,
        at_least=0.8,
    ),
    *(
        Claim(
            f"condensation of {part}",
            "During this process condensation becomes increasingly pronounced.",
            f"rank correlation of γ with the mean |cos| of {part}, less that of random neurons",
            "the paper's words; that 0.8 is enough is ours",
            SOURCE,
            at_least=0.8,
        )
        for part in PARTS
    ),
)


def pattern(last: xr.Dataset) -> int:
    """Return which pattern accuracies at the end are, 0 = none of the four."""
    seen, numbers, compositions, symmetry = (float(last[name]) for name in CURVES)
    if seen < LEARNS or GENERALIZES < numbers < LEARNS:
        return 0
    if numbers <= GENERALIZES:
        return 1 if compositions <= GENERALIZES else 0
    if compositions >= LEARNS:
        return 4
    return 3 if symmetry >= SYMMETRIC else 2


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Find every run's pattern, and what rises with the rate."""
    table = _table(runs)
    last = table.isel(step=-1)
    patterns = [[pattern(last.sel(rate=rate, seed=seed)) for rate in table.rate] for seed in table.seed]
    numbers = {f"pattern {words}": [float(row.count(which)) for row in patterns] for which, words in PATTERNS.items()}
    numbers["the patterns follow the rate"] = _ranks(last.unseen_compositions)
    for part in PARTS:
        numbers[f"condensation of {part}"] = _ranks(table.condensation.sel(part=part))
    return Measured(numbers, table.assign(pattern=(("seed", "rate"), np.array(patterns))))


def _ranks(values: xr.DataArray) -> list[float]:
    """Return each seed's rank correlation with the rate; NaN where nothing varies."""
    rows = values.transpose("seed", "rate").values
    return [_rank_correlation(values.rate.values, row) for row in rows]


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1]) if np.ptp(second) else float("nan")


def _table(runs: Mapping[str, StudyRun]) -> xr.Dataset:
    parts = []
    for run in runs.values():
        of = run.study.settings
        parts.append(run.result.drop_vars("cosines").expand_dims(rate=[of["rate"]], seed=[of["seed"]]))
    table = xr.combine_by_coords(parts)
    assert isinstance(table, xr.Dataset)
    first = [run.result.cosines for run in runs.values() if run.study.settings["seed"] == 0]
    return table.assign(cosines=xr.concat(first, table.rate)).drop_attrs()


def draw(table: xr.Dataset) -> Figure:
    """Draw accuracies and condensation over the rate, and the cosines of the first layer's query neurons."""
    from matplotlib import pyplot as plt

    rates = [float(rate) for rate in table.rate]
    shown = [rates[round(place)] for place in np.linspace(0, len(rates) - 1, 4)]
    figure, axes = plt.subplot_mosaic("aacc;0123", figsize=(12, 6.4), layout="constrained", height_ratios=[1.25, 1])
    _accuracies(axes["a"], table)
    _alike(axes["c"], table)
    heatmaps = [axes[str(place)] for place in range(4)]
    for ax, rate in zip(heatmaps, shown, strict=True):
        ax.imshow(table.cosines.sel(rate=rate), cmap=cosine_colors(), vmin=-1, vmax=1, interpolation="nearest")
        ax.set_title(f"first query weights, γ = {rate:g}", fontsize="small", loc="left", color=INK)
        ax.set_xticks([])
        ax.set_yticks([])
    figure.colorbar(heatmaps[0].images[0], ax=heatmaps, shrink=0.8, label="cosine between neurons")
    return figure


def _accuracies(ax: Axes, table: xr.Dataset) -> None:
    for name, label, color in zip(CURVES, _LABELS, class_colors(len(CURVES)), strict=True):
        _line(ax, table[name].isel(step=-1), label, color, "--" if name == "symmetry" else "-")
    for seed, row in enumerate(table.pattern.values):
        for rate, which in zip(table.rate.values, row, strict=True):
            words = ["–", "i", "ii", "iii", "iv"][int(which)]
            ax.text(rate, 1.07 + 0.07 * seed, words, ha="center", fontsize="x-small", color=INK if which else MUTED)
    ax.set_ylim(-0.03, 1.1 + 0.07 * table.sizes["seed"])
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    ax.set_ylabel("share of 1000 sequences")
    ax.set_title(
        "at the end; above: each seed's pattern (–: none of the four)", loc="left", fontsize="medium", color=INK
    )
    ax.legend(frameon=False, fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=4)


def _alike(ax: Axes, table: xr.Dataset) -> None:
    for part, color in zip(PARTS, class_colors(len(PARTS)), strict=True):
        _line(ax, table.condensation.sel(part=part), part, color, "-")
    ax.axhline(0, color=MUTED, linewidth=0.8)
    ax.set_ylabel("mean |cos| between neurons,\nless that of random ones")
    ax.set_title("condensation at the end", loc="left", fontsize="medium", color=INK)
    ax.legend(frameon=False, fontsize="x-small")


def _line(ax: Axes, values: xr.DataArray, label: str, color: str, style: str) -> None:
    ax.plot(values.rate, values.mean("seed"), style, color=color, label=label)
    ax.plot(values.rate, values.transpose("rate", "seed"), ".", color=color, alpha=0.5)
    ax.set_xlabel("initialization rate γ (standard deviation d_in^(−γ))")
    ax.spines[["top", "right"]].set_visible(False)


EXHIBIT = Exhibit(
    id="overview2025/fig10",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=draw,
    settings="Anchors 1, 2, 3, 4 add 5, 1, −2, −8; a number, two anchors after it, other numbers elsewhere; (3, 4) and "
    "(4, 3) are held out, and at each place the numbers that leave it as their remainder by the length. Two layers, "
    "one head, causal, layer norm after each residual sum, learned positions, the answer read off the last token; "
    "every weight has the standard deviation d_in^(−γ), biases 0. AdamW, rate rising over 200 steps, then falling as a "
    "cosine, gradients clipped at 1. Laptop: 30 numbers, length 6, 4000 sequences, width 64, 128 feed-forward neurons, "
    "batch 100, lr 0.002, weight decay 0.1, 2500 steps, γ from 0.1 to 1.2: 1.15 is as small there as 0.8 is at the "
    "paper's width. By pilots of one seed; with weight decay 1, where three seeds were run at γ = 0.1, the start is "
    "forgotten: even these generalize to unseen numbers (0.97 to 0.99). Paper: 80 numbers, length 9, width 400, γ from "
    "0.1 to 0.8, for a GPU; training set, batch, rate and steps are not in the text and are ours.",
    explanation="(i): at γ = 0.1 nothing generalizes (unseen numbers 4 to 6 %), but in 2500 steps only 21 to 24 % of "
    "the training sequences are remembered; a pilot with 1000 of them remembered 51 % (unseen numbers 3 %). At γ = "
    "0.2, where 83 to 100 % are, unseen numbers are known to 35 to 75 %: between (i) and (ii). (iv): the best of 24 "
    "runs knows 88 % of the unseen compositions (γ = 0.6), and seeds differ widely, from 2 to 87 % at γ = 0.8, while "
    "(3, 4) and (4, 3) are mostly answered alike: with the sum of other anchors where they are wrong. The sizes of "
    "laptop, 420 pairs of number and composition, leave this open; `paper` was not run. At γ = 1.2 two seeds of three "
    "do not know unseen numbers yet. Condensation of the embeddings begins only at γ = 0.6: below, their ranks are "
    "those of differences of less than 0.01.",
)
