"""What each layer of a network is like at its initialization: gains, gradients, and how alike samples look to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cloudchamber.anatomy import Capture, LayerSnapshot, LayerView, choose_views
from cloudchamber.measures import (
    common_directions,
    common_directions_of_rows,
    dead_fraction,
    gradient_moment,
    gradient_rows,
    mean_cosine,
    within_class_cosine,
)
from cloudchamber.measures.eigen import top_singular
from cloudchamber.predict.replica import Replica

_GRADIENTS = {"inputs", "output_gradients"}
_FEATURES = {"features", "feature_gradients"}
_ROW_NUMBERS = 2**25
"""How many numbers the rows of some samples take at most (256 MiB in float64)."""


@dataclass(frozen=True)
class LayerStart:
    """One layer before training. Gradients are those of the mean loss, for the residual without its mean.

    Attributes:
        view: how its neurons are seen.
        keys: names of its calls.
        activation: name of what follows it, "none" if nothing does.
        gain: ‖W v‖ with v the leading right singular vector of its gradient.
        gradient: ‖∇W‖₂.
        gradient_length: ‖∇W‖_F.
        weight_length: ‖W‖_F, without biases.
        exponent: d ln(spread of the outputs) / d ln(scale of W).
        direction: (d,), v: along it the layer's weights grow first, up to its sign.
        response: (h,), the leading left singular vector of its gradient: what its neurons do with v, up to sign.
        top_share: the part of the second moment of all samples' gradients that lies along its leading direction.
        feature_cosine: mean cosine of the features of two samples.
        gradient_cosine: mean cosine of the features' gradients of two samples of a class.
        dead: the fraction of neurons that are zero on the whole probe; NaN without an activation.
    """

    view: LayerView
    keys: tuple[str, ...]
    activation: str
    gain: float
    gradient: float
    gradient_length: float
    weight_length: float
    exponent: float
    direction: Tensor
    response: Tensor
    top_share: float
    feature_cosine: float
    gradient_cosine: float
    dead: float

    @property
    def name(self) -> str:
        """Its name."""
        return self.view.name


@dataclass(frozen=True)
class Start:
    """A network before training.

    Attributes:
        layers: in the order of their first calls.
        first_pass: snapshots with features, and gradients of the loss.
        outputs: (n, ...).
        residuals: (n, ...), ∂loss_x/∂f without its mean over the samples.
        unusable: layers that could not be observed, with the reason.
    """

    layers: tuple[LayerStart, ...]
    first_pass: Capture
    outputs: Tensor
    residuals: Tensor
    unusable: Mapping[str, str]

    @property
    def spread(self) -> float:
        """How far outputs of different samples lie apart: `(E ‖f − E f‖²)^½`."""
        return _rms(_centred(self.outputs))

    @property
    def residual(self) -> float:
        """`(E ‖∂loss_x/∂f − E ∂loss_x/∂f‖²)^½`."""
        return _rms(self.residuals)


def start_of(replica: Replica, labels: Tensor) -> Start:
    """Run the probe through the network forwards once, and backwards from the loss, the residual and the outputs.

    Args:
        replica: the model with its probe.
        labels: (n,), classes; the same for all samples where there are none.

    Raises:
        InvalidInput: if the model has no layer that can be observed.
    """
    chosen = choose_views(replica.model, None)
    first = replica.capture(None, chosen, _GRADIENTS | _FEATURES)
    outputs = first.outputs
    centred = _centred(outputs)
    residuals = _centred(replica.residuals(outputs)).view(outputs.shape)
    pulled = replica.capture(residuals, chosen, _GRADIENTS, first.plan)
    spread = replica.capture(centred.view(outputs.shape), chosen, _GRADIENTS, first.plan)
    layers: list[LayerStart] = []
    reasons = dict(first.unusable)
    for name, keys in _by_layer(first.layers).items():
        gradient, change = (_mean_gradient([seen.layers[key] for key in keys]) for seen in (pulled, spread))
        if gradient is None or change is None:
            reasons[name] = first.layers[keys[0]].view.why_no_rows or "the gradient of its weight is not known"
            continue
        size = float(centred.square().sum() / len(centred))
        layers.append(_layer([first.layers[key] for key in keys], tuple(keys), gradient, change, size, labels))
    return Start(tuple(layers), first, outputs, residuals, reasons)


def _by_layer(snapshots: Mapping[str, LayerSnapshot]) -> dict[str, list[str]]:
    """Return the calls of each layer: one that is called twice has one weight."""
    found: dict[str, list[str]] = {}
    for key, snapshot in snapshots.items():
        found.setdefault(snapshot.view.name, []).append(key)
    return found


def _layer(
    calls: Sequence[LayerSnapshot],
    keys: tuple[str, ...],
    gradient: Tensor,
    change: Tensor,
    spread: float,
    labels: Tensor,
) -> LayerStart:
    first = calls[0]
    view = first.view
    weight = view.neurons()[:, : view.fan_in].to(gradient)
    direction, strength = _leading(gradient)
    response = gradient @ direction
    exponent = float((change * weight).sum()) / spread if spread > 0 else math.nan
    features, gradients = first.features, first.feature_gradients
    return LayerStart(
        view,
        keys,
        first.activation,
        gain=float((weight @ direction).norm()),
        gradient=strength,
        gradient_length=float(gradient.norm()),
        weight_length=float(weight.norm()),
        exponent=exponent,
        direction=direction,
        response=response / strength if strength > 0 else torch.zeros_like(response),
        top_share=_top_share(first),
        feature_cosine=math.nan if features is None else float(mean_cosine(features.flatten(1))),
        gradient_cosine=math.nan if gradients is None else float(within_class_cosine(gradients.flatten(1), labels)),
        dead=_dead(first),
    )


def _dead(snapshot: LayerSnapshot) -> float:
    rows = snapshot.feature_rows
    return math.nan if rows is None or snapshot.activation == "none" else float(dead_fraction(rows))


def _leading(gradient: Tensor) -> tuple[Tensor, float]:
    """The leading right singular vector and the singular value; zeros if the gradient is zero."""
    _, right = top_singular(gradient)
    right = right.to(gradient)
    strength = float((gradient @ right).norm())
    return (right, strength) if math.isfinite(strength) else (torch.zeros_like(right), 0.0 * float(gradient.sum()))


def _rows(snapshot: LayerSnapshot) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield X and G of some samples at a time, so that the rows of a convolution stay small."""
    inputs, gradients = snapshot.inputs, snapshot.output_gradients
    if inputs is None or gradients is None:
        return
    one = snapshot.view.factors(inputs[:1], gradients[:1])
    if one is None:
        return
    size = max(1, _ROW_NUMBERS // max(sum(part.numel() for part in one), 1))
    for some, told in zip(inputs.split(size), gradients.split(size), strict=True):
        rows = snapshot.view.factors(some, told)
        if rows is not None:
            yield rows


def _mean_gradient(calls: Sequence[LayerSnapshot]) -> Tensor | None:
    """`(1/n) Σ_x G_xᵀ X_x` over all calls of a weight."""
    parts = [G.flatten(0, 1).T @ X.flatten(0, 1) for call in calls for X, G in _rows(call)]
    inputs = calls[0].inputs
    return sum(parts[1:], parts[0]) / len(inputs) if parts and inputs is not None else None


def _top_share(snapshot: LayerSnapshot) -> float:
    rows = next(_rows(snapshot), None)
    if rows is None:
        return math.nan
    X, G = rows
    few = len(X) * min(X.shape[1:]) < G.shape[2]
    found = common_directions_of_rows(gradient_rows(X, G)) if few else common_directions(gradient_moment(X, G))
    return float(found.shares[0])


def _centred(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(len(tensor), -1)
    return flat - flat.mean(0)


def _rms(tensor: Tensor) -> float:
    return float(tensor.reshape(len(tensor), -1).square().sum(1).mean().sqrt())
