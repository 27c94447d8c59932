"""The activations of a network: found as modules or by name, each with its multiplicity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import CloudchamberError
from cloudchamber.anatomy import layer_type_of
from cloudchamber.predict.layer_start import LayerStart
from cloudchamber.theory import Multiplicity, multiplicity

_AFTER = " after addition"
_NOT_ACTIVATIONS = (nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True)
class Activations:
    """Multiplicities by the activation's name as the layers give it ("relu", "xtanh").

    Attributes:
        found: name to multiplicity.
        unknown: names of activations of which none could be found, with the reason.
    """

    found: Mapping[str, Multiplicity]
    unknown: Mapping[str, str]

    def of(self, layer: LayerStart) -> Multiplicity | None:
        """Return the multiplicity of what follows a layer."""
        return self.found.get(layer.activation.removesuffix(_AFTER))


def activations_of(model: nn.Module, layers: Sequence[LayerStart]) -> Activations:
    """Find the activations that follow the layers, and their multiplicities.

    A module is taken by its class name; where none fits, the torch function of that name with its default settings.
    """
    names = dict.fromkeys(layer.activation.removesuffix(_AFTER) for layer in layers if layer.activation != "none")
    modules = {_plain(type(module).__name__): module for module in model.modules() if _may_be_one(module)}
    found: dict[str, Multiplicity] = {}
    unknown: dict[str, str] = {}
    for name in names:
        function = modules.get(_plain(name)) or _function(name)
        if function is None:
            unknown[name] = "no module and no torch function has this name"
            continue
        try:
            found[name] = multiplicity(function)
        except CloudchamberError as error:
            unknown[name] = str(error)
    return Activations(found, unknown)


def _plain(name: str) -> str:
    """The name as modules and functions share it.

    >>> _plain("LeakyReLU") == _plain("leaky_relu")
    True
    """
    return name.replace("_", "").lower()


def _may_be_one(module: nn.Module) -> bool:
    leaf = next(module.children(), None) is None
    return leaf and layer_type_of(module) is None and not isinstance(module, _NOT_ACTIVATIONS)


def _function(name: str) -> Callable[[Tensor], Tensor] | None:
    return getattr(nn.functional, name, None) or getattr(torch, name, None)
