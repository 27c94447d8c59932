"""The layer types that can be observed. A new type is one entry here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    neurons: Callable[[Any], Tensor]
    width: Callable[[Any], int]
    fan_in: Callable[[Any], int]

    @property
    def name(self) -> str:
        """The class name, as the record shows it."""
        return self.module_type.__name__


def _rows_with_bias(module: Any) -> Tensor:
    rows = module.weight.detach().flatten(1)
    return rows if module.bias is None else torch.cat([rows, module.bias.detach()[:, None]], dim=1)


# Sizes come from the module: a parametrized weight is computed, and may be changed, when it is read.
LAYER_TYPES: tuple[LayerType, ...] = (
    LayerType(nn.Linear, _rows_with_bias, lambda module: module.out_features, lambda module: module.in_features),
    LayerType(
        nn.Conv2d,
        _rows_with_bias,
        lambda module: module.out_channels,
        lambda module: module.in_channels // module.groups * math.prod(module.kernel_size),
    ),
)


def layer_type_of(module: nn.Module) -> LayerType | None:
    """Return the entry for a module, or None if its type cannot be observed."""
    return next((entry for entry in LAYER_TYPES if isinstance(module, entry.module_type)), None)
