"""Figure 1: what condensation is, drawn from a trained network, with the narrow network that it equals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from cloudchamber.claims import Claim
from cloudchamber.measures import condensed_orientations
from cloudchamber.papers.exhibit import Exhibit, Measured
from cloudchamber.papers.study import StudyRun
from cloudchamber.papers.zhou2022 import small
from cloudchamber.papers.zhou2022.heatmaps import THRESHOLD
from cloudchamber.papers.zhou2022.predictions import layer_of
from cloudchamber.papers.zhou2022.small import ADAM, FIGURE_3
from cloudchamber.plot.colors import INK, cosine_colors
from cloudchamber.theory import NarrowNetwork, effective_narrow_network

_NET = FIGURE_3[0]
_EPOCH = 30
_DRAWN = 12
_SOURCE = "zhou2022, Figure 1"
CLAIMS = (
    Claim(
        "same input weights",
        "Soon after training the weights from an input node to all hidden neurons are the same.",
        f"share of the neurons on lines that hold a tenth of them or more, epoch {_EPOCH}",
        "the paper's words, up to sign and length; the bound is ours",
        _SOURCE,
        at_least=0.9,
        over="mean of seeds",
        seeds=20,
    ),
    Claim(
        "replaced",
        "Multiple hidden neurons can be replaced by an effective neuron.",
        "root mean square difference of both outputs over that of the output itself, on the samples",
        "the paper's words; the bound is ours",
        _SOURCE,
        at_most=0.1,
        over="mean of seeds",
        seeds=20,
    ),
    Claim(
        "narrow",
        "The condensed network is one of few neurons.",
        "neurons of the effective network, of 50",
        "the paper's words; that 5 are few is ours",
        _SOURCE,
        at_most=5.0,
        over="most seeds",
        seeds=20,
    ),
)


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Replace the neurons of each line by one, and compare outputs."""
    run = runs[_NET.name]
    epoch = small.kept_epoch(_NET, run, _EPOCH)
    layers = [layer_of(run.result, member, epoch) for member in range(run.result.sizes["seed"])]
    narrow = [_narrow(one.weights, one.output_weights) for one in layers]
    numbers = {
        "same input weights": [condensed_orientations(one.weights).covered for one in layers],
        "replaced": [
            _difference(one.inputs, one.weights, one.output_weights, few)
            for one, few in zip(layers, narrow, strict=True)
        ],
        "narrow": [float(len(few.leaders)) for few in narrow],
    }
    start = layer_of(run.result, 0, int(run.result.epoch.values[0]))
    arrays = xr.Dataset(
        {
            "start": (("unit", "input"), start.weights.numpy()),
            "start_out": ("unit", start.output_weights.numpy()),
            "trained": (("unit", "input"), layers[0].weights.numpy()),
            "trained_out": ("unit", layers[0].output_weights.numpy()),
            "narrow": (("effective", "input"), narrow[0].w_in.numpy()),
            "narrow_out": ("effective", narrow[0].w_out[0].numpy()),
        }
    )
    return Measured(numbers, arrays)


def _narrow(weights: Tensor, outputs: Tensor) -> NarrowNetwork:
    return effective_narrow_network(weights, outputs[None], symmetry="odd", threshold=THRESHOLD)


def _difference(inputs: Tensor, weights: Tensor, outputs: Tensor, narrow: NarrowNetwork) -> float:
    """Of the networks without the output's bias, which both have alike."""
    wide = torch.tanh(inputs @ weights.T) @ outputs
    few = torch.tanh(inputs @ narrow.w_in.T) @ narrow.w_out[0]
    return float((few - wide).norm() / wide.norm())


def draw(shown: xr.Dataset) -> Figure:
    """Draw twelve neurons at the start and trained, and the effective network; colour is the weight."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    titles = {"start": "at the start", "trained": f"after {_EPOCH} epochs", "narrow": "the effective network"}
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        inputs, outputs = shown[name].values[:_DRAWN], shown[f"{name}_out"].values[:_DRAWN]
        _draw_network(ax, inputs, outputs)
        count = len(shown[name])
        ax.set_title(f"{title}: {count} neurons{f', {_DRAWN} drawn' if count > _DRAWN else ''}", color=INK)
    colors = ScalarMappable(Normalize(-1, 1), cosine_colors())
    figure.colorbar(colors, ax=axes.tolist(), label="weight over the largest of its layer", shrink=0.8)
    return figure


def _draw_network(ax: Axes, inputs: np.ndarray, outputs: np.ndarray) -> None:
    colors = cosine_colors()
    nodes = [np.linspace(-1, 1, count + 2)[1:-1] for count in (inputs.shape[1], len(inputs), 1)]
    for column, weights in enumerate((inputs.T, outputs[:, None])):
        scaled = weights / (np.abs(weights).max() or 1)
        for i, low in enumerate(nodes[column]):
            for j, high in enumerate(nodes[column + 1]):
                value = scaled[i, j]
                ax.plot([column, column + 1], [low, high], color=colors(0.5 + value / 2), lw=0.4 + 2 * abs(value))
    for column, places in enumerate(nodes):
        ax.plot([column] * len(places), places, "o", color=INK, ms=6)
    ax.axis("off")


EXHIBIT = Exhibit(
    id="zhou2022/fig1",
    recipes=partial(small.studies, chosen=(_NET,)),
    claims=CLAIMS,
    measure=measure,
    draw=draw,
    settings=f"The tanh network of Figure 3 at epoch {_EPOCH}; the neurons of a line (|cos| > {THRESHOLD}) become one, "
    f"Σ ±a_k‖w_k‖/‖w_j‖, exact where tanh is linear. The last input is the bias. {ADAM}",
)
