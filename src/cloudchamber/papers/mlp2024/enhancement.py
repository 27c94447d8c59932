"""Figures 4, 5, 51 and 52: how steps and features pull each other along the common direction, step by step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.measures import lemma3_terms, self_enhancement, shuffled_step_alignment, step_alignment
from cloudchamber.papers.cache import Run
from cloudchamber.papers.mlp2024.first_phase import LAYERS, ended_phase, measured_changes, thinned
from cloudchamber.papers.mlp2024.strengths import SHOWN
from cloudchamber.plot.colors import INK, depth_colors
from cloudchamber.training.second_pass.layers import SeenLayer
from cloudchamber.training.second_pass.rerun import Rerun, SeenBatch
from cloudchamber.training.second_pass.source import Past

NAMES = (
    *("alignment", "alignment_std", "alignment_null", "enhancement", "enhancement_std", "enhancement_positive"),
    *("common_term", "noise_term", "class_alignment", "class_alignment_std", "class_alignment_null"),
)
MOST_LOOKS, DRAWS = 100, 20


def pulls(run: Run, *, start: int, stop: int, layers: list[str], looks: int) -> xr.Dataset:
    """Return what the batches of about `looks` updates of the first phase showed, (step, layer).

    The common direction C of a layer is that of all samples over the phase. `alignment` is cos(α_c ΔV, F) with ΔV of
    the batch's step and F of each sample, mean and deviation over the samples, beside pushes dealt out to others;
    `class_alignment` the same with ΔV of the samples of one class alone, over all classes of the batch;
    `enhancement` is o with ΔV of the sample alone and ΔF = −Ḟ; the terms are those of Lemma 3, mean sizes.
    """
    changes = measured_changes(run)
    if changes is None:
        return _dataset([], [], layers)
    directions = changes.common_direction.sel(group="all").isel(direction=0)
    past = Past.of(run.folder)
    steps: list[int] = []
    rows: list[list[tuple[float, ...]]] = []

    def look(batch: SeenBatch) -> None:
        steps.append(batch.step)
        known = {name: torch.from_numpy(directions.sel(layer=name).values) for name in layers}
        rows.append([_row(batch, batch.layers[name], known[name]) for name in layers])

    visited = range(start + 1, stop + 1, max(1, (stop - start) // looks))
    Rerun(run.recipe, past.threads, stop, visited, layers).walk(look, past.losses, lambda: None)
    return _dataset(steps, rows, layers)


def measured_pulls(run: Run) -> xr.Dataset:
    """Return `pulls` of layers 2–6 at about 100 steps."""
    phase = ended_phase(run)
    if phase is None:
        return _dataset([], [], list(SHOWN))
    looks = thinned(phase, MOST_LOOKS, 8)
    return run.measured(pulls, start=phase.start, stop=phase.until, layers=list(SHOWN), looks=looks)


def over_runs(runs: Mapping[str, Run]) -> dict[str, xr.Dataset]:
    """Return `measured_pulls` of every run."""
    return {name: measured_pulls(run) for name, run in runs.items()}


def lines(ax: Axes, found: xr.Dataset, name: str, title: str) -> None:
    """Draw a quantity over the steps, a line per layer, ± its deviation over the samples, and its null (dashed)."""
    for layer, color in zip(SHOWN, depth_colors(len(LAYERS)), strict=False):
        one = found.sel(layer=layer)
        ax.plot(one.step, one[name], color=color, label=f"layer {layer.removeprefix('linear')}", linewidth=1.4)
        if f"{name}_std" in found:
            low, high = one[name] - one[f"{name}_std"], one[name] + one[f"{name}_std"]
            ax.fill_between(one.step, low, high, color=color, alpha=0.12, linewidth=0)
        if f"{name}_null" in found:
            ax.plot(one.step, one[f"{name}_null"], color=color, linestyle="--", linewidth=0.9)
    ax.axhline(0, color=INK, linewidth=0.6)
    ax.set_title(title, loc="left", fontsize="medium", color=INK)
    ax.set_xlabel("iteration")
    ax.spines[["top", "right"]].set_visible(False)


def _row(batch: SeenBatch, seen: SeenLayer, direction: torch.Tensor) -> tuple[float, ...]:
    """What one layer shows on a batch, in the order of NAMES."""
    once = (seen.inputs, seen.output_gradients, direction, batch.labels)
    aligned = step_alignment(*once)
    null = shuffled_step_alignment(*once, draws=DRAWS, seed=batch.step)
    pulled = self_enhancement(seen.inputs, seen.output_gradients, seen.weight, direction)
    terms = lemma3_terms(seen.inputs, seen.output_gradients, seen.weight, direction)
    known = pulled[~pulled.isnan()]
    values = (
        *(aligned.nanmean(), _deviation(aligned), null.nanmean()),
        *(known.mean(), _deviation(pulled), (known > 0).double().mean()),
        *(terms.common.abs().mean(), terms.noise.abs().mean()),
        *_of_classes(seen, direction, batch),
    )
    return tuple(float(value) for value in values)


def _of_classes(seen: SeenLayer, direction: torch.Tensor, batch: SeenBatch) -> tuple[torch.Tensor, ...]:
    """The alignment with the step that each class of the batch makes by itself: mean, deviation, and null."""
    labels = torch.zeros(len(seen.inputs)) if batch.labels is None else batch.labels
    groups = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    parts = [seen.of(group) for group in groups if len(group) > 1]
    aligned = torch.cat([step_alignment(of.inputs, of.output_gradients, direction) for of in parts])
    null = [
        shuffled_step_alignment(of.inputs, of.output_gradients, direction, draws=2, seed=batch.step).flatten()
        for of in parts
    ]
    return aligned.nanmean(), _deviation(aligned), torch.cat(null).nanmean()


def _deviation(values: torch.Tensor) -> torch.Tensor:
    return values[~values.isnan()].std()


def _dataset(steps: list[int], rows: list[list[tuple[float, ...]]], layers: list[str]) -> xr.Dataset:
    values = np.array(rows, dtype=float).reshape(len(steps), len(layers), len(NAMES))
    variables = {name: (("step", "layer"), values[..., place]) for place, name in enumerate(NAMES)}
    return xr.Dataset(variables, coords={"step": np.array(steps, dtype=int), "layer": layers})


def drawn(found: Mapping[str, xr.Dataset], data: Mapping[str, tuple[str, int]]) -> xr.Dataset:
    """Return the first run of each data set, with its name, as one table: (data, place, layer)."""
    of_data = {
        title: [of for name, of in found.items() if name.startswith(prefix)] for prefix, (title, _) in data.items()
    }
    shown = {title: tables[0] for title, tables in of_data.items() if tables}
    tables = [of.assign(iteration=("step", of.step.values.astype(float))).drop_vars("step") for of in shown.values()]
    titles = xr.Variable("data", np.array(list(shown), dtype=object))
    padded = [table.pad(step=(0, max(t.sizes["step"] for t in tables) - table.sizes["step"])) for table in tables]
    return xr.concat(padded, titles).rename(step="place")


def draw(shown: xr.Dataset, rows: Mapping[str, str]) -> Figure:
    """Draw quantities over the iterations of the first phase, each in a row: panels by data set, nulls dashed."""
    from matplotlib import pyplot as plt

    size = (5.5 * shown.sizes["data"], 3.6 * len(rows))
    figure, axes = plt.subplots(len(rows), shown.sizes["data"], figsize=size, layout="constrained", squeeze=False)
    for (name, label), of_row in zip(rows.items(), axes, strict=True):
        for title, ax in zip(shown.data.values, of_row, strict=True):
            one = shown.sel(data=title).swap_dims(place="iteration").rename(iteration="step")
            lines(ax, one, name, f"{label}, {title}")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    dashed = "; dashed: the pushes dealt out to other samples" if any(f"{name}_null" in shown for name in rows) else ""
    figure.suptitle(f"mean over the batch ± deviation over its samples{dashed}", fontsize="small", color=INK)
    return figure
