"""Heatmaps of the cosines of neurons' input weights, the count of lines, and what the count depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.measures import condensed_orientations, cosine_matrix, heatmap_order
from cloudchamber.plot.colors import ACCENT, INK, MUTED, cosine_colors

THRESHOLD, SHARE = 0.95, 0.1
THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 0.975, 0.99)
SHARES = (0.0, 0.05, 0.1, 0.2)
MOST_SHOWN = 60
COUNT = (
    "A line is counted where at least a tenth of the neurons have |cos| > 0.95 with the strongest of them that is on "
    "no stronger neuron's line; the mean count over seeds for other thresholds and shares, and for random neurons, is "
    "kept in the arrays and drawn below small figures."
)


@dataclass(frozen=True)
class Panel:
    """A heatmap of a figure.

    Attributes:
        name: that of its claims: "tanh".
        weights: input weights for every seed; the first one's are drawn.
        lines: how many lines the paper sees, or directions where signed.
        signed: whether directions are counted.
        norm_cut: neurons below this fraction of the largest norm are left out, as the paper says.
        note: under its name.
    """

    name: str
    weights: Float[np.ndarray, "seed h d"]
    lines: int
    signed: bool = False
    norm_cut: float = 0.0
    note: str = ""


def line_claims(panels: Sequence[tuple[str, int, bool]], source: str, seeds: int = 20) -> tuple[Claim, ...]:
    """Return what the paper says of heatmaps: on how many lines (signed: directions) neurons condense.

    Args:
        panels: name, number, and whether directions are counted.
        source: the figure.
        seeds: that it takes.
    """
    return tuple(_line_claim(name, lines, signed, source, seeds) for name, lines, signed in panels)


def _line_claim(name: str, lines: int, signed: bool, source: str, seeds: int) -> Claim:
    kind = ("direction" if signed else "line") + ("s" if lines > 1 else "")
    return Claim(
        f"lines, {name}",
        f"Input weights condense on {lines} {kind} ({name}).",
        f"{'directions' if signed else 'lines'} with |cos| > {THRESHOLD} that hold a tenth of the neurons or more",
        "the paper's figure; how lines are counted is ours",
        source,
        at_least=lines,
        at_most=lines,
        paper=(lines,),
        over="most seeds",
        seeds=seeds,
    )


def condensed_claim(source: str, seeds: int = 20, *, least: float = 0.8) -> Claim:
    """Return the claim that nearly all neurons are on such lines."""
    return Claim(
        "condensed",
        "Input weights of hidden neurons condense on isolated orientations.",
        "share of the neurons on the lines that are counted, smallest over the heatmaps",
        "the paper's figure; the bound is ours",
        source,
        at_least=least,
        over="mean of seeds",
        seeds=seeds,
    )


def counts(
    panel: Panel, *, threshold: float = THRESHOLD, share: float = SHARE
) -> tuple[Float[np.ndarray, " seed"], Float[np.ndarray, " seed"]]:
    """Return, for every seed, the lines of a panel and the share of the neurons that is on them."""
    options = {"signed": panel.signed, "norm_cut": panel.norm_cut, "threshold": threshold, "least_share": share}
    found = [condensed_orientations(torch.from_numpy(weight), **options) for weight in panel.weights]
    return np.array([float(one.count) for one in found]), np.array([one.covered for one in found])


def numbers(panels: Sequence[Panel]) -> dict[str, list[float]]:
    """Return what the claims of heatmaps are checked with; panels of fewer seeds shorten what is said of all."""
    found = [counts(panel) for panel in panels]
    lines = {f"lines, {panel.name}": count.tolist() for panel, (count, _) in zip(panels, found, strict=True)}
    by_seed = zip(*(covered for _, covered in found), strict=False)
    return {**lines, "condensed": [float(np.min(shares)) for shares in by_seed]}


def picture(panels: Sequence[Panel]) -> xr.Dataset:
    """Return what is drawn of heatmaps."""
    images = [_image(panel) for panel in panels]
    side = max(len(image) for image in images)
    padded = np.full((len(images), side, side), np.nan, dtype=np.float32)
    for place, image in enumerate(images):
        padded[place, : len(image), : len(image)] = image
    tables = np.array([_sensitivity(panel) for panel in panels])
    found = [counts(panel) for panel in panels]
    return xr.Dataset(
        {
            "cosine": (("panel", "neuron", "neuron_other"), padded),
            "neurons": ("panel", [len(image) for image in images]),
            "count": (("panel", "seed"), np.array([count for count, _ in found])),
            "covered": (("panel", "seed"), np.array([covered for _, covered in found])),
            "mean_count": (("panel", "share", "threshold"), tables[:, 0]),
            "random_count": (("panel", "share", "threshold"), tables[:, 1]),
            "expected": ("panel", [panel.lines for panel in panels]),
            "note": ("panel", np.array([panel.note for panel in panels], dtype=object)),
        },
        coords={"panel": [panel.name for panel in panels], "share": list(SHARES), "threshold": list(THRESHOLDS)},
    )


def _image(panel: Panel) -> np.ndarray:
    """Cosines of the first seed's neurons in blocks, at most 60 of them."""
    weight = torch.from_numpy(panel.weights[0])
    sizes = weight.norm(dim=1)
    kept = weight[(sizes > 0) & (sizes >= panel.norm_cut * sizes.max())]
    matrix = cosine_matrix(kept[:: -(-len(kept) // MOST_SHOWN)])
    order = heatmap_order(matrix)
    return matrix[order][:, order].numpy().astype(np.float16).astype(np.float32)


def _sensitivity(panel: Panel) -> np.ndarray:
    """Mean counts of lines by share and threshold: of the panel, and of as many random neurons."""
    random = np.random.default_rng(0).normal(size=panel.weights.shape).astype(np.float32)
    chance = Panel(panel.name, random[:3], panel.lines, panel.signed)
    return np.array(
        [
            [[counts(one, threshold=angle, share=share)[0].mean() for angle in THRESHOLDS] for share in SHARES]
            for one in (panel, chance)
        ]
    )


def draw(shown: xr.Dataset, columns: int = 6, sensitivity: bool = True) -> Figure:
    """Draw the heatmaps, and below them the mean count over seeds by threshold and share."""
    from matplotlib import pyplot as plt

    count = shown.sizes["panel"]
    columns = min(columns, count)
    bands = -(-count // columns)
    rows = bands * (2 if sensitivity else 1)
    side = 2.5 if sensitivity else 1.35
    heights = [3.0, 1.6] * bands if sensitivity else [1.75] * bands
    figure, axes = plt.subplots(
        rows, columns, figsize=(side * columns + 0.9, sum(heights)), layout="constrained", squeeze=False,
        height_ratios=heights,
    )  # fmt: skip
    colors = ScalarMappable(Normalize(-1, 1), cosine_colors())
    for place in range(bands * columns):
        band, column = divmod(place, columns)
        pair = axes[2 * band : 2 * band + 2, column] if sensitivity else [axes[band, column]]
        if place >= count:
            for ax in pair:
                ax.set_visible(False)
            continue
        one = shown.isel(panel=place)
        _heatmap(pair[0], one, colors)
        if sensitivity:
            _by_threshold(pair[1], one)
    figure.colorbar(colors, ax=axes.ravel().tolist(), label="cosine of input weights", shrink=0.5)
    return figure


def _heatmap(ax: Axes, one: xr.Dataset, colors: ScalarMappable) -> None:
    side = int(one.neurons)
    ax.imshow(one.cosine.values[:side, :side], cmap=colors.cmap, vmin=-1, vmax=1, interpolation="none")
    ax.set_xticks([])
    ax.set_yticks([])
    title = str(one.panel.item())
    if "mean_count" in one:
        note = f"{one.note.item()}\n" if one.note.item() else ""
        title = f"{title}\n{note}{_seeds_by_count(one)}; paper: {int(one.expected)}"
    ax.set_title(title, fontsize=5.5, color=INK)


def _seeds_by_count(one: xr.Dataset) -> str:
    values, seeds = np.unique(one["count"].values.astype(int), return_counts=True)
    if len(one.seed) == 1:
        return f"lines: {values[0]}"
    return f"lines: {values[0]}–{values[-1]}, mostly {values[seeds.argmax()]}"


def _by_threshold(ax: Axes, one: xr.Dataset) -> None:
    for place, share in enumerate(one.share.values):
        shade = 0.25 + 0.75 * place / (len(one.share) - 1)
        ax.plot(one.threshold, one.mean_count.sel(share=share), color=ACCENT, alpha=shade, label=f"≥ {share:.0%}")
    ax.plot(one.threshold, one.random_count.sel(share=SHARE), color=MUTED, ls=":", label="random, ≥ 10%")
    ax.axhline(float(one.expected), color=INK, lw=0.6, ls="--")
    ax.set_ylim(0, 3 + 2 * float(one.expected))
    ax.tick_params(labelsize="xx-small")
    ax.set_xlabel("|cos| threshold", fontsize="xx-small")
    ax.set_ylabel("mean lines", fontsize="xx-small")
    ax.legend(fontsize=5, frameon=False, ncols=2)
