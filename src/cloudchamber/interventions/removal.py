"""Norms taken out again: by themselves, or folded into the layers that they stand after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from cloudchamber._core.errors import Unsupported, require
from cloudchamber.anatomy.convolutions import TRANSPOSED_CONVOLUTIONS
from cloudchamber.interventions.batch_norm import BatchNorm
from cloudchamber.interventions.phase_norm import PhaseNorm
from cloudchamber.interventions.places import Place, places_of_norms

_KINDS = (BatchNorm, PhaseNorm)


def remove_norms(model: nn.Module, *, fold: bool = True, unfrozen: bool = False) -> dict[str, nn.Module]:
    """Take the norms that `insert_norms` put into a model out of it again, in place.

    Equation: `(W x + b − μ)/√(σ² + ε) · γ + β = W' x + b'` with `W' = k W`, `b' = k (b − μ) + β`, `k = γ/√(σ² + ε)` by
    neuron (γ = 1, β = 0 for phase and centering norms): the network in evaluation computes what it did, but for
    rounding, and every layer stands where it stood under its own name. A layer without a bias gets one, which an
    optimizer made before does not train.

    Args:
        model: with norms by `insert_norms`; other norms stay.
        fold: False to drop the norms instead: the layers are then as they would be without them.
        unfrozen: also fold phase norms whose first phase is not over, with their averages so far, as evaluation does.

    Returns:
        The norms that were taken out, by the name of their layer.

    Raises:
        InvalidInput: if there are none, or a phase norm is still normalizing by the batch; the model stays as it was.
        Unsupported: if the weight of a layer is shared with another one, computed (`parametrize`), or of a type into
            which nothing can be folded; likewise.

    Source: mlp2024, Appendix K (the constants); the folding is algebra.

    >>> from cloudchamber.interventions import CenteringNormConfig, insert_norms
    >>> from cloudchamber.models import MLP
    >>> model, x = MLP(4, 3, depth=3, width=8).double(), torch.randn(50, 4, dtype=torch.float64)
    >>> _ = insert_norms(model, CenteringNormConfig())
    >>> _, before = model(x), model.eval()(x)  # a training pass fills the averages
    >>> list(remove_norms(model)), torch.allclose(model(x), before)
    (['linear1', 'linear2'], True)
    """
    places = dict(places_of_norms(model, _KINDS))
    require(
        bool(places), "a model has norms put in by `insert_norms`", f"{type(model).__name__} without", "insert some"
    )
    folded = [_folded(model, name, place, unfrozen) for name, place in places.items()] if fold else []
    removed = {name: place.take() for name, place in places.items()}
    for each in folded:
        each.commit()
    return removed


@dataclass(frozen=True)
class _Folded:
    """A layer's new weight and bias, ready to be put in."""

    layer: Any
    weight: Tensor
    bias: Tensor

    def commit(self) -> None:
        with torch.no_grad():
            self.layer.weight.copy_(self.weight)
            if self.layer.bias is None:
                self.layer.bias = nn.Parameter(self.bias)
            else:
                self.layer.bias.copy_(self.bias)


def _folded(model: nn.Module, name: str, place: Place, unfrozen: bool) -> _Folded:
    held: Any = place.parent._modules[place.own]
    layer, norm = (held, place.parent.get_submodule(place.norm_name)) if place.beside else (held.layer, held.norm)
    _require_constants(name, norm, unfrozen)
    _require_own_weight(model, name, layer)
    scale, shift = _line(norm)
    before = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach().double()
    weight = _scaled_neurons(name, layer, scale)
    return _Folded(layer, weight.to(layer.weight), (before * scale + shift).to(layer.weight))


def _scaled_neurons(name: str, layer: Any, scale: Tensor) -> Tensor:
    """Return the weight of a layer with its neurons multiplied by `scale` (h,), in float64."""
    weight = layer.weight.detach().double()
    if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd) and not isinstance(layer, TRANSPOSED_CONVOLUTIONS):
        return weight * scale.view(-1, *[1] * (weight.ndim - 1))
    if isinstance(layer, TRANSPOSED_CONVOLUTIONS):
        grouped = weight.unflatten(0, (layer.groups, -1))
        return (grouped * scale.view(layer.groups, 1, -1, *[1] * (weight.ndim - 2))).flatten(0, 1)
    raise Unsupported(
        f"constants are folded into linear and convolutional layers; got {name}, {type(layer).__name__}. "
        "Remedy: keep its norm: call `remove_norms` with fold=False, or not at all."
    )


def _require_constants(name: str, norm: nn.Module, unfrozen: bool) -> None:
    changing = isinstance(norm, PhaseNorm) and not bool(norm.frozen)
    require(
        unfrozen or not changing,
        "a phase norm is folded when its first phase is over",
        f"the one after {name}, which still normalizes by the batch",
        "train on, or fold what evaluation uses: unfrozen=True",
    )


def _require_own_weight(model: nn.Module, name: str, layer: nn.Module) -> None:
    computed = is_parametrized(layer)
    own = {id(parameter) for parameter in layer.parameters(recurse=False)}
    others = (other for other in model.modules() if other is not layer)
    shared = any(id(parameter) in own for other in others for parameter in other.parameters(recurse=False))
    if computed or shared:
        raise Unsupported(
            f"constants are folded into a weight of the layer's own; that of {name} is "
            f"{'computed from others' if computed else 'shared with another layer'}. "
            "Remedy: keep its norm: call `remove_norms` with fold=False, or not at all."
        )


def _line(norm: Any) -> tuple[Tensor, Tensor]:
    """Return k and β − k μ of a norm in evaluation, (h,) each, in float64."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    gamma, beta = getattr(norm, "weight", None), getattr(norm, "bias", None)
    scale = scale if gamma is None else scale * gamma.detach().double()
    shift = -scale * norm.running_mean.double()
    return scale, shift if beta is None else shift + beta.detach().double()
