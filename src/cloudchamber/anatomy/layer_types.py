"""The layer types that can be observed. A new type is one entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LayerType:
    """How to see the neurons of one type of module.

    Attributes:
        module_type: the class; its subclasses count as the same type.
        neurons: the weight as a matrix with one row per neuron, a bias as its last column (w, b).
        width: number of neurons.
        fan_in: number of inputs of one neuron, without the bias.
    """

    module_type: type[nn.Module]
    neurons: Callable[[nn.Module], Tensor]
    width: Callable[[nn.Module], int]
    fan_in: Callable[[nn.Module], int]

    @property
    def name(self) -> str:
        """The class name, as the record shows it."""
        return self.module_type.__name__


def _rows_with_bias(module: nn.Module) -> Tensor:
    weight, bias = module.weight, module.bias
    rows = weight.detach().flatten(1)
    return rows if bias is None else torch.cat([rows, bias.detach()[:, None]], dim=1)


def _width(module: nn.Module) -> int:
    return module.weight.shape[0]


def _fan_in(module: nn.Module) -> int:
    return module.weight[0].numel()


LAYER_TYPES: tuple[LayerType, ...] = tuple(
    LayerType(module_type, _rows_with_bias, _width, _fan_in) for module_type in (nn.Linear, nn.Conv2d)
)


def layer_type_of(module: nn.Module) -> LayerType | None:
    """Return the entry for a module, or None if its type cannot be observed."""
    return next((entry for entry in LAYER_TYPES if isinstance(module, entry.module_type)), None)
