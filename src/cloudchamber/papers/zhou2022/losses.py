"""Figures 7 and 8: the losses of other figures' networks, and the line of the initial stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.study import StudyRun
from cloudchamber.papers.zhou2022 import small
from cloudchamber.papers.zhou2022.nets import loss_ratio
from cloudchamber.papers.zhou2022.small import Net
from cloudchamber.plot.colors import ACCENT, ALARM, INK

INITIAL = 0.7
_POINTS = 120


def claim(figure: str, source: str, seeds: int) -> Claim:
    """Return what the paper says of a figure's losses."""
    return Claim(
        f"initial stage, {figure}",
        f"Every epoch shown in {figure} is in the initial stage: the loss is above 70 % of its start.",
        "lowest loss over the first loss at the epochs shown",
        "the paper's definition of the initial stage",
        source,
        at_least=INITIAL,
        over="every seed",
        seeds=seeds,
    )


def lowest_ratios(nets: Sequence[Net], runs: Mapping[str, StudyRun], shown: Sequence[int] | None = None) -> list[float]:
    """Return, for every seed, the lowest loss ratio of networks at the epochs shown (those of a figure by default)."""
    rows = [
        loss_ratio(runs[net.name].result, small.kept_epoch(net, runs[net.name], epoch))
        for net in nets
        for epoch in shown or net.shown
    ]
    return np.min(rows, axis=0).tolist()


def curves(nets: Sequence[Net], runs: Mapping[str, StudyRun], figure: str) -> list[xr.Dataset]:
    """Return the curves of networks: mean, lowest and highest loss ratio over seeds."""
    return [_curve(net, runs[net.name], f"{figure}, {net.name}") for net in nets]


def _curve(net: Net, run: StudyRun, name: str) -> xr.Dataset:
    loss = run.result.loss.values
    last = small.kept_epoch(net, run, max(net.shown))
    shown = [small.kept_epoch(net, run, epoch) for epoch in sorted(set(net.shown))]
    return curve(name, run.result["update"].values, loss / loss[:, :1], shown, last)


def curve(name: str, updates: np.ndarray, ratios: np.ndarray, shown: Sequence[int], last: int) -> xr.Dataset:
    """Return one curve of (seed, update), thinned."""
    places = np.unique(np.linspace(0, (updates <= last).sum() - 1, _POINTS).astype(int))
    padded = np.full((4, _POINTS), np.nan)
    padded[0, : len(places)] = updates[places]
    few = ratios[:, places]
    padded[1:, : len(places)] = few.mean(0), few.min(0), few.max(0)
    marks = np.full(5, np.nan)
    marks[: len(shown)] = shown
    variables = dict(zip(("at", "mean", "low", "high"), padded, strict=True))
    data = {key: (("curve", "point"), values[None]) for key, values in variables.items()}
    return xr.Dataset({**data, "shown": (("curve", "mark"), marks[None])}, coords={"curve": [name]})


def draw(shown: xr.Dataset) -> Figure:
    """Draw each loss over its first value, the range over seeds shaded, with the 70 % line and the epochs shown."""
    from matplotlib import pyplot as plt

    count, columns = shown.sizes["curve"], 5
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(12, 2.3 * rows), layout="constrained", squeeze=False)
    for place, ax in enumerate(axes.ravel()):
        if place >= count:
            ax.set_visible(False)
            continue
        one = shown.isel(curve=place)
        ax.plot(one["at"], one["mean"], color=ACCENT)
        ax.fill_between(one["at"], one["low"], one["high"], color=ACCENT, alpha=0.2, lw=0)
        ax.axhline(INITIAL, color=ALARM, ls="--", lw=0.8)
        for epoch in one.shown.values[np.isfinite(one.shown.values)]:
            ax.axvline(epoch, color=INK, ls=":", lw=0.8)
        ax.set_title(str(one.curve.item()), fontsize="x-small", color=INK)
        ax.set_ylim(min(0.6, float(np.nanmin(one["low"]))), 1.05)
        ax.tick_params(labelsize="xx-small")
    axes[0, 0].set_ylabel("loss over the first loss", fontsize="x-small")
    return figure
