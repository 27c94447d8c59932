"""Figure 4: in a ResNet-18 the last convolution condenses, the first does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.overview2025.channel_blocks import KINDS, STRENGTH, color_bar, heatmaps
from cloudchamber.papers.overview2025.two_convolutions import PLACES, trained_resnet
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.plot.colors import ACCENT, ALARM, INK

SOURCE = "overview2025, Section 4.3 and Figure 4"
SMALL, COMMON = "weights × 0.1", "torch's own weights"
STARTS = {SMALL: 0.1, COMMON: 1.0}
SIZES: Mapping[Scale, dict[str, Any]] = {
    "smoke": {"data": "digits", "samples": 0, "looked_at": 20, "side": 8, "width_factor": 1 / 16}
    | {"lr": 0.1, "batch_size": 50, "steps": 2, "looks": [0, 2]},
    "laptop": {"data": "cifar10", "samples": 2000, "looked_at": 100, "side": 16, "width_factor": 1 / 4}
    | {"lr": 0.1, "batch_size": 100, "steps": 500, "looks": [0, 50, 250, 500]},
    "paper": {"data": "cifar10", "samples": 50_000, "looked_at": 256, "side": 32, "width_factor": 1.0}
    | {"lr": 0.1, "batch_size": 128, "steps": 78_000, "looks": [0, 390, 7800, 39_000, 78_000]},
}


def recipes(scale: Scale) -> dict[str, Study]:
    """Return a study per start and seed; of the common start one seed."""
    seeds = {SMALL: range(1 if scale == "smoke" else 3), COMMON: range(0 if scale == "smoke" else 1)}
    return {
        f"{name}, seed {seed}": Study(trained_resnet, {**SIZES[scale], "scale": STARTS[name], "seed": seed})
        for name, of in seeds.items()
        for seed in of
    }


def _claim(name: str, statement: str, quantity: str, basis: str, **bounds: Any) -> Claim:
    return Claim(name, statement, quantity, f"the paper's figure; {basis}", SOURCE, **bounds, seeds=3)


_LAST = "Weights and outputs of the last convolution exhibit condensation."
_FIRST = "The first layer does not exhibit such pronounced condensation."
CLAIMS = (
    _claim(
        "last, kernels",
        _LAST,
        "block strength of the last convolution's kernels at the end over that of shuffled kernels",
        "that twice as much counts is ours",
        at_least=2.0,
    ),
    _claim(
        "last, outputs",
        _LAST,
        "block strength of the last convolution's outputs at the end over that of shuffled kernels' outputs",
        "that half as much again counts is ours",
        at_least=1.5,
    ),
    _claim(
        "first less, kernels",
        _FIRST,
        "that ratio for the last convolution's kernels over that for the first one's",
        "that 1.5 is the least that counts is ours",
        at_least=1.5,
    ),
    _claim(
        "first less, outputs",
        _FIRST,
        "that ratio for the last convolution's outputs over that for the first one's",
        "that 1.2 is the least that counts is ours",
        at_least=1.2,
    ),
    _claim(
        "first less to the eye, kernels",
        _FIRST,
        "block strength of the last convolution's kernels less that of the first one's",
        "what an eye sees in heatmaps has no null; that 0.1 is the least that counts is ours",
        at_least=0.1,
    ),
    _claim(
        "first less to the eye, outputs",
        _FIRST,
        "block strength of the last convolution's outputs less that of the first one's",
        "what an eye sees in heatmaps has no null; that 0.1 is the least that counts is ours",
        at_least=0.1,
    ),
)


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Take strengths at the end over their nulls, and their differences."""
    table = _table(runs)
    end = table.sel(start=SMALL).isel(look=-1)
    ratio = end.strength / end.null
    numbers: dict[str, list[float]] = {}
    for kind in KINDS:
        last, first = (ratio.sel(kind=kind, place=place) for place in ("last", "first"))
        strength = end.strength.sel(kind=kind)
        numbers[f"last, {kind}"] = last.values.tolist()
        numbers[f"first less, {kind}"] = (last / first).values.tolist()
        numbers[f"first less to the eye, {kind}"] = (
            (strength.sel(place="last") - strength.sel(place="first")).values.tolist()
        )  # fmt: skip
    return Measured(numbers, table)


def _table(runs: Mapping[str, StudyRun]) -> xr.Dataset:
    """Return strengths by (start, seed), and cosines of the first seed of the small start, first and last look."""
    starts: dict[str, list[xr.Dataset]] = {}
    for name, run in runs.items():
        one = run.result.drop_attrs().drop_vars(("cosine", "loss"))
        starts.setdefault(name.rpartition(", seed")[0], []).append(one.assign_coords(seed=run.study.settings["seed"]))
    parts = [xr.concat(of, "seed") for of in starts.values()]
    table = xr.concat(parts, "start", join="outer").assign_coords(start=list(starts))
    first = next(iter(runs.values())).result.drop_attrs()
    ends = first.cosine.isel(look=[0, -1]).rename(look="ends").drop_vars("ends")
    return table.assign(cosine=ends, loss=first.loss)


def draw(shown: xr.Dataset) -> Figure:
    """Draw heatmaps of both convolutions at the start and at the end, and strengths over training."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 5, figsize=(16, 6.4), layout="constrained", width_ratios=[1, 1, 1, 1, 1.4])
    one = shown.sel(start=SMALL).isel(seed=0)
    places = list(PLACES)
    pairs = [(row, end, kind) for row in range(len(places)) for end in (0, 1) for kind in KINDS]
    panels = {
        f"{places[row]}: {kind}, {('start', 'end')[end]}": _panel(one, row, end, kind) for row, end, kind in pairs
    }
    maps = axes[:, :4].ravel().tolist()
    heatmaps(maps, panels)
    color_bar(figure, maps)
    for row, kind in enumerate(KINDS):
        _over_training(axes[row, 4], shown.sel(kind=kind), kind)
    return figure


def _panel(one: xr.Dataset, row: int, end: int, kind: str) -> xr.Dataset:
    chosen = one.sel(kind=kind).isel(place=row)
    numbers = chosen[["strength", "null"]].isel(look=(0, -1)[end])
    return numbers.assign(cosine=chosen.cosine.isel(ends=end))


def _over_training(ax: Axes, shown: xr.Dataset, kind: str) -> None:
    """Strength over the null by update: lines are seeds, dashed those from common weights."""
    for color, place in ((ALARM, "first"), (ACCENT, "last")):
        for style, start in zip(("o-", "s--"), shown.start.values, strict=False):
            ratio = (shown.strength / shown.null).sel(place=place, start=start).dropna("seed", how="all")
            for number in range(ratio.sizes["seed"]):
                label = None if number else f"{place}, {start}"
                ax.plot(ratio.look, ratio.isel(seed=number), style, color=color, markersize=4, linewidth=1, label=label)
    ax.axhline(1, color=INK, linewidth=0.6, linestyle=":")
    ax.set_xlabel("update")
    ax.set_ylabel(f"block strength over shuffled, {kind}", fontsize="small")
    ax.set_yscale("log")
    ax.legend(frameon=False, fontsize="x-small")


def text(shown: xr.Dataset) -> str:
    """Return block strengths beside their nulls, by start, place and kind: means over seeds."""
    mean = shown[["strength", "null", "accuracy"]].mean("seed")
    heads = "".join(f"{f'update {int(look)}':>16}" for look in mean.look.values)
    rows = [f"{'':21}{'':7}{'':9}{heads}"]
    for start in mean.start.values:
        for place in PLACES:
            for kind in KINDS:
                one = mean.sel(start=start, place=place, kind=kind)
                cells = [f"{float(s):.2f} ({float(n):.2f})" for s, n in zip(one.strength, one.null, strict=True)]
                rows.append(f"{start:21}{place:7}{kind:9}" + "".join(f"{cell:>16}" for cell in cells))
        right = mean.accuracy.sel(start=start).values * 100
        rows.append(f"{start:21}accuracy: {right[0]:.0f} % of training, {right[1]:.0f} % of test images looked at")
    return "\n".join([*rows, "in brackets: shuffled kernels"])


EXHIBIT = Exhibit(
    id="overview2025/fig4",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=draw,
    table=text,
    settings="ResNet-18 with batch norms, SGD with momentum 0.9, weight decay 5e-4, lr 0.1 falling as a cosine. The "
    "paper does not say how its network was trained; it may have looked at published weights for ImageNet. "
    "Ours starts from torch's weights times 0.1, the small initialization of the paper's other sections; "
    "beside it torch's own. A pilot of 120 updates on 1000 images looked at both. Laptop: channels a quarter "
    "(16 to 128), 2000 images of CIFAR-10 averaged down to 16×16, 500 updates of 100. Outputs are those of "
    "the convolutions before the batch norm, "
    f"for 100 training and 100 test images, in evaluation mode. {STRENGTH}",
    explanation="The kernels of the last convolution condense, to several times the strength of shuffled ones; so do, "
    "less, those of the first. Its outputs are no more alike than those of shuffled kernels, which already have 0.9 "
    "after 50 updates: any kernels give like outputs there, perhaps because its inputs are alike or only because "
    "they are not negative; which was not tried. 500 updates of a network of a quarter of the channels on 2000 "
    "images may be too few; the paper's network is not known.",
)
