"""Regime and phase of a concrete network: where it lies in the papers' diagrams, read at its one width.

The diagrams are about limits. At one width m a constant factor c shifts an exponent by log c/log m; a point within
log 2/log m of a boundary therefore counts as critical here, and what is not of order 1 but is no power of the width
(the length of the inputs, the size of what the outputs have to become) is taken out first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from cloudchamber._core.errors import CloudchamberError
from cloudchamber.anatomy import LayerSnapshot
from cloudchamber.predict.layer_start import LayerStart, Start
from cloudchamber.predict.reckoning import Reckoning
from cloudchamber.predict.update_rule import UpdateRule
from cloudchamber.predict.verdict import LeavesPlateau
from cloudchamber.theory import (
    LinearModel,
    Regime,
    ThreeLayerPoint,
    TwoLayerPoint,
    regime,
    three_layer_point,
    three_layer_regime,
    two_layer_point,
)

PhaseName = Literal["kernel", "learning", "frozen", "unstable", "cannot tell"]

KERNEL_GROWTH = 1.1
"""Layers that have grown by less than this when the loss leaves have hardly changed what they compute."""


@dataclass(frozen=True)
class NetworkRegime:
    """The regime of each layer of a network of two or three layers, where theory has a diagram.

    Attributes:
        point: its coordinates at this width.
        layers: the regime of the input layer, or of all three.
        tolerance: how near to a boundary (in γ) counts as critical.
    """

    point: TwoLayerPoint | ThreeLayerPoint
    layers: tuple[Regime, ...]
    tolerance: float

    @property
    def name(self) -> str:
        """That of the layer that moves most."""
        return max(self.layers, key=lambda layer: layer.margin).name


@dataclass(frozen=True)
class NetworkPhase:
    """What the layers do until the loss leaves its plateau.

    Attributes:
        name: "frozen" if it does not leave within the steps, "unstable" if steps overshoot; else "learning" if the
            first of the two terms is the larger one or, where they are not known, if a hidden layer has grown by a
            tenth by then; else "kernel".
        growth: by which factor the hidden layer that has grown most has grown by then.
        terms: for two layers, the two terms of `1/t_c²` per step squared: feature learning, kernel.
    """

    name: PhaseName
    growth: float
    terms: tuple[float, float] | None


def network_regime(start: Start, found: Reckoning) -> NetworkRegime | str:
    """Return where a network lies in the two- or three-layer diagram, or why it lies in none."""
    layers = start.layers
    if len(layers) not in (2, 3) or not _in_a_row(start):
        return f"there are diagrams for chains of two and three fully connected layers; this has {len(layers)} layers"
    widths = {layer.view.width for layer in layers[:-1]}
    if len(widths) > 1 or min(widths) < 2:
        return "the diagrams are for hidden layers of one width"
    width = widths.pop()
    stds = [_std(layer) for layer in layers]
    length = _input_length(layers[0], start.first_pass.layers[layers[0].keys[0]])
    size = found.target / 0.15
    tolerance = math.log(2) / math.log(width)
    try:
        if len(layers) == 2:
            two = two_layer_point(
                width=width, output_std=stds[1], input_std=stds[0], input_norm=length, target_scale=size
            )
            return NetworkRegime(two, (regime(*two, tolerance=tolerance),), tolerance)
        three = three_layer_point(
            width=width, output_std=stds[2], second_std=stds[1], first_std=stds[0], input_norm=length, target_scale=size
        )
    except CloudchamberError as error:
        return str(error)
    each = three_layer_regime(*three, tolerance=tolerance)
    return NetworkRegime(three, (each.first, each.second, each.output), tolerance)


def network_phase(start: Start, found: Reckoning, rule: UpdateRule, leaves: LeavesPlateau) -> NetworkPhase:
    """Return the phase of a network as it is initialized, for the planned steps."""
    growth = float(np.max(found.plateau.growth[:-1], initial=1.0))
    terms = _learning_terms(start, found, rule) if len(start.layers) == 2 and _in_a_row(start) else None
    learning = growth > KERNEL_GROWTH if terms is None else terms[0] > terms[1]
    name: PhaseName = "learning" if learning else "kernel"
    if leaves != "leaves":
        others: dict[LeavesPlateau, PhaseName] = {"stuck": "frozen", "unstable": "unstable"}
        name = others.get(leaves, "cannot tell")
    return NetworkPhase(name, growth, terms)


def _in_a_row(start: Start) -> bool:
    snapshots = start.first_pass.layers
    linear = all(layer.view.layer_type == "Linear" and len(layer.keys) == 1 for layer in start.layers)
    return linear and all(snapshots[before.keys[0]].next == after.keys[0] for before, after in pairwise(start.layers))


def _std(layer: LayerStart) -> float:
    return layer.weight_length / math.sqrt(layer.view.width * layer.view.fan_in)


def _input_length(layer: LayerStart, snapshot: LayerSnapshot) -> float:
    rows = snapshot.input_rows
    if rows is None:
        return math.nan
    return math.sqrt(float(rows.square().sum(2).mean()) + float(_biased(layer)))


def _biased(layer: LayerStart) -> bool:
    return layer.view.bias and bool(layer.view.neurons()[:, -1].abs().max() > 0)


def _learning_terms(start: Start, found: Reckoning, rule: UpdateRule) -> tuple[float, float] | None:
    """`16 s²y²` and `64 s⁴PQ` along the direction that grows first, per step.

    w = W v and u = Uᵀc with v and c the leading right and left singular vectors of the two layers' gradients, η the
    rates, `ρ² = E (v·x)²` and y the size that outputs have to reach.
    """
    first, second = start.layers
    rows = start.first_pass.layers[first.keys[0]].input_rows
    if rows is None or rule.kind != "sgd" or not found.layers.rates.min() > 0:
        return None
    v = first.direction
    rho = float((rows[:, 0] @ v).square().mean().sqrt())
    if not (rho > 0 and math.isfinite(found.target)):
        return None
    weight = second.view.neurons()[:, : second.view.fan_in].to(v)
    model = LinearModel.from_weights(
        second.response @ weight,
        first.view.neurons()[:, : first.view.fan_in].to(v),
        v,
        y=found.target / 0.15,
        rho=rho,
        rate_u=float(found.layers.rates[1]),
        rate_w=float(found.layers.rates[0]),
        loss="half_mean_square",
    )
    learning, kernel = model.learning_terms
    return float(learning), float(kernel)
