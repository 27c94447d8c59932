"""Tables 1 and 2 of mlp2024: the strengths of Theorem 1 for two classes, beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.papers.cache import Run
from cloudchamber.papers.mlp2024.first_phase import LAYERS, class_names, ended_phase, measured_changes, thinned
from cloudchamber.papers.mlp2024.paper_tables import PaperTable
from cloudchamber.training import second_pass

SHOWN = LAYERS[:-1]
ROWS = ("S_primary", "S_1", "S_2", "S_3")
UNIT = 1e3
"""strengths are printed in 10⁻³, as in the paper"""


def strengths(runs: Mapping[str, Run]) -> xr.Dataset:
    """Return S_primary and S_k of the two best classes of each run, in 10⁻³; NaN where no first phase ended."""
    shape = (len(runs), 2, len(ROWS), len(SHOWN))
    values, deviations = np.full(shape, np.nan), np.full(shape, np.nan)
    names = np.full(shape[:2], "", dtype=object)
    for number, run in enumerate(runs.values()):
        found = measured_changes(run)
        if found is not None:
            chosen = found.isel(group=slice(1, 3)).sel(layer=list(SHOWN))
            values[number], deviations[number] = _rows(chosen, ""), _rows(chosen, "_std")
            labels = run.measured(class_names)["name"].values
            names[number] = [labels[int(group)] for group in chosen.group.values]
    dims = ("run", "rank", "row", "layer")
    return xr.Dataset(
        {"strength": (dims, values), "deviation": (dims, deviations), "class_name": (dims[:2], names)},
        coords={"run": list(runs), "row": list(ROWS), "layer": list(SHOWN)},
    )


def smallest_ratios(table: xr.Dataset) -> list[float]:
    """Return, for each run, the smallest S_primary / S_k over classes, layers and k."""
    ratio = table.strength.sel(row="S_primary") / table.strength.isel(row=slice(1, None))
    return ratio.min(("rank", "row", "layer"), skipna=False).values.tolist()


def mean_strength(table: xr.Dataset, rows: Sequence[str]) -> list[float]:
    """Return, for each run, the mean of some rows over classes and layers, in 10⁻³."""
    return table.strength.sel(row=list(rows)).mean(("rank", "row", "layer"), skipna=False).values.tolist()


def growths(table: xr.Dataset) -> list[float]:
    """Return, for each run, S_primary of the last layer shown over that of the first, the smaller of both classes."""
    primary = table.strength.sel(row="S_primary")
    return (primary.isel(layer=-1) / primary.isel(layer=0)).min("rank", skipna=False).values.tolist()


def windows(run: Run, *, bounds: list[int], layers: list[str], classes: list[int], close: int) -> xr.Dataset:
    """Return what Table 1 would be of the steps between bounds alone, each part with common directions of its own."""
    found = []
    for start, stop in pairwise(bounds):
        every = max(1, (stop - start) // (4 * close))
        options = {"every": every, "layers": layers, "classes": classes, "directions": 2, "close_steps": close}
        part = second_pass(run.recipe, stop, start_step=start, **options).to_dataset()
        found.append(part[["primary_strength", "noise_strength", "strength"]].isel(group=slice(1, None)))
    spans = [f"{start}–{stop}" for start, stop in pairwise(bounds)]
    labels = xr.Variable("window", np.array(spans, dtype=object))
    return xr.Dataset({name: xr.concat([part[name] for part in found], labels) for name in found[0]})


def measured_windows(run: Run) -> xr.Dataset | None:
    """Return S_primary, S_k, their smallest ratio and s_1/s_2 by quarter of the phase (half, if it is short).

    None without a first phase that is over.
    """
    changes, phase = measured_changes(run), ended_phase(run)
    if changes is None or phase is None:
        return None
    classes = [int(group) for group in changes.group.values[1:]]
    bounds = np.linspace(phase.start, phase.until, 1 + thinned(phase, 4, 32)).round().astype(int).tolist()
    close = thinned(phase, 8, 32)
    found = run.measured(windows, bounds=bounds, layers=list(LAYERS), classes=classes, close=close)
    found = found.sel(layer=list(SHOWN))
    primary, noise = UNIT * found.primary_strength, UNIT * found.noise_strength
    rows = {
        "primary": primary.mean(("group", "layer")),
        "noise": noise.max("component").mean(("group", "layer")),
        "ratio": (primary / noise).min(("group", "layer", "component")),
        "second": np.exp(np.log(found.strength[..., 0] / found.strength[..., 1]).mean(("group", "layer"))),
    }
    return xr.Dataset(rows)


def windows_text(found: xr.Dataset) -> str:
    """Return the rows of `measured_windows`."""
    rows = [
        f"  iterations {one.window.item()}: S_primary {float(one.primary):.1f}, largest S_k {float(one.noise):.1f} "
        f"(means), smallest ratio {float(one.ratio):.1f}; s_1/s_2 {float(one.second):.1f} (geometric mean)"
        for one in (found.isel(window=place) for place in range(found.sizes["window"]))
    ]
    return "\n".join(["the first run, by parts of the first phase, in 10⁻³", *rows])


def text(table: xr.Dataset, paper: Sequence[PaperTable]) -> str:
    """Return the table as the paper prints it, ± over samples and steps, the paper's own classes above ours."""
    data = {str(name).partition(" ")[0] for name in table.run.values}
    blocks = [_block(f"the paper, {own.name}", own.values, own.deviations) for own in paper if own.data in data]
    for name in table.run.values:
        for rank in range(2):
            one = table.sel(run=name).isel(rank=rank)
            blocks.append(
                _block(f"{name}, {one.class_name.item()}", one.strength.values.tolist(), one.deviation.values.tolist())
            )
    parts = [windows_text(table)] if "window" in table.coords else []
    return "\n".join(["strengths in 10⁻³, ± over samples and steps", *blocks, *parts])


def draw(table: xr.Dataset, paper: Sequence[PaperTable]) -> Figure:
    """Draw the strengths over the layers on a logarithmic axis, a panel per run and class, the paper's as crosses."""
    from matplotlib import pyplot as plt

    rows = table.sizes["run"]
    size = (8, 2.4 * rows)
    figure, axes = plt.subplots(rows, 2, figsize=size, squeeze=False, sharex=True, sharey=True, layout="constrained")
    numbers = np.arange(2, 2 + len(SHOWN))
    for place, name in enumerate(table.run.values):
        for rank, ax in enumerate(axes[place]):
            one = table.sel(run=name).isel(rank=rank)
            for row, values in zip(ROWS, one.strength.values, strict=True):
                color = "#0f6f8f" if row == "S_primary" else "#8a94a0"
                ax.semilogy(numbers, values, "o-", color=color, markersize=4, label=row if row in ROWS[:1] else "S_k")
            own = [known for known in paper if str(name).startswith(known.data)]
            if own:
                _paper_crosses(ax, numbers, own[rank])
            ax.set_title(f"{name}: class {one.class_name.item()}", loc="left", fontsize="medium")
            ax.set_ylabel("strength, 10⁻³", fontsize="small")
    axes[-1][0].set_xlabel("layer")
    axes[-1][1].set_xlabel("layer")
    handles, labels = axes[0][0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _rows(chosen: xr.Dataset, ending: str) -> np.ndarray:
    primary, noise = chosen[f"primary_strength{ending}"], chosen[f"noise_strength{ending}"]
    return UNIT * np.concatenate(
        [primary.values[:, None], noise.transpose("group", "component", "layer").values], axis=1
    )


def _block(title: str, values: Sequence[Sequence[float]], deviations: Sequence[Sequence[float]]) -> str:
    head = " ".join(f"{'layer ' + name.removeprefix('linear'):>14}" for name in SHOWN)
    lines = [
        f"  {row:<10}" + " ".join(f"{value:7.2f} ± {spread:<4.2f}" for value, spread in zip(*pair, strict=True))
        for row, *pair in zip(ROWS, values, deviations, strict=True)
    ]
    return "\n".join([f"{title}", f"  {'':<10}{head}", *lines])


def _paper_crosses(ax: Axes, numbers: np.ndarray, own: PaperTable) -> None:
    for row, values in zip(ROWS, own.values, strict=True):
        color = "#bd1f01" if row == "S_primary" else "#e76300"
        label = f"the paper, {'S_primary' if row == 'S_primary' else 'S_k'}"
        ax.semilogy(numbers, values, "x", color=color, markersize=5, label=label)
