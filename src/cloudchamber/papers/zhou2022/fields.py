"""Direction fields of Figures 6 and 17: input weights in their plane, velocities, predicted attractors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from cloudchamber.papers.study import StudyRun
from cloudchamber.papers.zhou2022.predictions import Layer, layer_of
from cloudchamber.plot.colors import ACCENT, ALARM, INK
from cloudchamber.theory import direction_field, match_attractors

EPOCH = 200
GROWN, DEGREES = 10.0, 5.0
_GRID = 11
_ANGLES = 3600
_MOST_LINES = 4


def layers(run: StudyRun, epoch: int) -> list[Layer]:
    """Return the hidden layer of every seed at an epoch, with the prediction from its residuals then."""
    return [layer_of(run.result, member, epoch) for member in range(run.result.sizes["seed"])]


def stable_lines(layer: Layer) -> int:
    """Return on how many lines neurons that grow should condense."""
    return layer.predicted.attracting_lines(growing=True)


def stable_angles(layer: Layer, sign: int) -> Tensor:
    """Return the angles in (−180°, 180°] at which the field itself holds neurons of a sign, at their median norm.

    Zeros of the field's component along the circle at which it points back from both sides.
    """
    angles = torch.linspace(-torch.pi, torch.pi, _ANGLES + 1, dtype=torch.float64)[:-1]
    radius = layer.weights.norm(dim=1).median()
    units = torch.stack([angles.cos(), angles.sin()], 1)
    around = torch.stack([-units[:, 1], units[:, 0]], 1)
    field = direction_field(radius * units, layer.inputs, layer.residuals, layer.activation)
    turning = sign * (field * around).sum(1)
    held = (turning > 0) & (turning.roll(-1) <= 0)
    return torch.rad2deg(angles[held]) + 180 / _ANGLES


def distance_to_field(layer: Layer) -> float:
    """Return the largest angle from a predicted attractor to the nearest at which the field holds neurons, degrees."""
    worst = 0.0
    for sign in (1, -1):
        held = stable_angles(layer, sign)
        for x, y in layer.predicted.attractors(sign, growing=True).tolist():
            apart = (held - float(np.degrees(np.arctan2(y, x))) + 180) % 360 - 180
            worst = max(worst, float(apart.abs().min()) if len(apart) else 180.0)
    return worst


def grown_at_attractors(run: StudyRun, epoch: int) -> tuple[int, int]:
    """Return how many neurons of all seeds have grown tenfold by an epoch, and how many of them are at an attractor.

    At one: within 5° of a predicted attractor for the current sign of their output weight.
    """
    grown, near = 0, 0
    first = int(run.result.epoch.values[0])
    for start, now in zip(layers(run, first), layers(run, epoch), strict=True):
        chosen = now.weights.norm(dim=1) >= GROWN * start.weights.norm(dim=1)
        degrees = match_attractors(now.weights, now.output_weights, now.predicted, growing=True).degrees
        grown, near = grown + int(chosen.sum()), near + int((degrees[chosen] <= DEGREES).sum())
    return grown, near


def median_angle(layer: Layer) -> float:
    """Return the median angle from neurons to the predicted attractor for their sign, in degrees."""
    match = match_attractors(layer.weights, layer.output_weights, layer.predicted, growing=True)
    return float(match.degrees.nanmedian())


def picture(panels: Mapping[str, Layer], columns: int) -> xr.Dataset:
    """Return what is drawn: by the name of each panel the field, neurons, velocities and attractors."""
    return xr.concat([_one(name, layer) for name, layer in panels.items()], "panel").assign_attrs(columns=columns)


def _one(name: str, layer: Layer) -> xr.Dataset:
    reach = 1.25 * float(layer.weights.abs().max())
    axis = torch.linspace(-reach, reach, _GRID, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    field = direction_field(points, layer.inputs, layer.residuals, layer.activation)
    own = direction_field(layer.weights, layer.inputs, layer.residuals, layer.activation)
    lines = np.full((2, 2 * _MOST_LINES, 2), np.nan)
    for place, sign in enumerate((1, -1)):
        found = layer.predicted.attractors(sign, growing=True)[: 2 * _MOST_LINES]
        lines[place, : len(found)] = found.numpy()
    return xr.Dataset(
        {
            "reach": ("panel", [reach]),
            "field": (("panel", "point", "axis"), field.numpy()[None].astype(np.float32)),
            "neuron": (("panel", "unit", "axis"), layer.weights.numpy()[None].astype(np.float32)),
            "velocity": (
                ("panel", "unit", "axis"),
                (own * layer.output_weights[:, None]).numpy()[None].astype(np.float32),
            ),
            "sign": (("panel", "unit"), layer.output_weights.sign().numpy()[None]),
            "attractor": (("panel", "of_sign", "line", "axis"), lines[None]),
        },
        coords={"panel": [name]},
    )


def draw(shown: xr.Dataset) -> Figure:
    """Draw every panel: field (grey arrows), attractors of both signs, neurons and where they move."""
    from matplotlib import pyplot as plt

    columns = int(shown.attrs["columns"])
    rows = -(-shown.sizes["panel"] // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.9 * columns, 2.0 * rows), layout="constrained", squeeze=False)
    for place, ax in enumerate(axes.ravel()):
        if place < shown.sizes["panel"]:
            draw_panel(ax, shown.isel(panel=place))
        else:
            ax.set_visible(False)
    figure.supxlabel("w", fontsize="small")
    figure.supylabel("b", fontsize="small")
    return figure


def draw_panel(ax: Axes, one: xr.Dataset) -> None:
    """Draw one panel of a picture."""
    reach = float(one.reach)
    axis = np.linspace(-reach, reach, _GRID)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    u, v = _directions(one.field.values)
    ax.quiver(x.ravel(), y.ravel(), u, v, color="#a3acb6", scale=15, width=0.006, rasterized=True)
    for place, (color, word) in enumerate(((ALARM, "a > 0"), (ACCENT, "a < 0"))):
        rays = one.attractor.values[place]
        for number, (dx, dy) in enumerate(rays[np.isfinite(rays[:, 0])]):
            ax.plot([0, 2 * reach * dx], [0, 2 * reach * dy], color=color, lw=1, label=word if not number else None)
    colors = np.where(one.sign.values > 0, ALARM, ACCENT)
    ax.quiver(
        *one.neuron.values.T, *_directions(one.velocity.values), color="#e88b1a", scale=14, width=0.006, rasterized=True
    )
    ax.scatter(*one.neuron.values.T, c=colors.tolist(), s=5, zorder=3, rasterized=True)
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_title(str(one.panel.item()), fontsize=6, color=INK)
    ax.tick_params(labelsize=5)
    ax.legend(fontsize=4.5, loc="upper right")


def _directions(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).T


def share(counts: Sequence[int]) -> float:
    """Return the share of grown neurons at attractors; NaN if none has grown."""
    grown, near = counts
    return near / grown if grown else float("nan")
