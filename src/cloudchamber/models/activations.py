"""The activations of the papers, by the names that recipes use."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

ActivationName = Literal[
    "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "xtanh", "x2tanh", "identity"
]

NEGATIVE_SLOPE = 0.01
"""Of leaky ReLU, where none is given; torch's."""


class XTanh(nn.Module):
    """x·tanh(x): multiplicity 2 (zhou2022, Definition 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every entry."""
        return x * torch.tanh(x)


class X2Tanh(nn.Module):
    """x²·tanh(x): multiplicity 3 (zhou2022, Definition 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every entry."""
        return x * x * torch.tanh(x)


_MODULES: dict[ActivationName, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "xtanh": XTanh,
    "x2tanh": X2Tanh,
    "identity": nn.Identity,
}


def activation(name: ActivationName, negative_slope: float = NEGATIVE_SLOPE) -> nn.Module:
    """Return a new activation module.

    Args:
        name: which.
        negative_slope: slope of leaky ReLU below zero; of no use to the others.

    >>> activation("xtanh")(torch.tensor(2.0)) == 2 * torch.tanh(torch.tensor(2.0))
    tensor(True)
    """
    return nn.LeakyReLU(negative_slope) if name == "leaky_relu" else _MODULES[name]()
