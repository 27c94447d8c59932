"""A network times a constant."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ScaledOutput(nn.Module):
    """A network whose output is multiplied by a constant that is not trained; (n, ...) → (n, outputs).

    Equation: `κ f(x; θ)`; κ = 1/α for the scaling of overview2025, Eq. (3).

    The scale is a buffer, so that every member of an ensemble may have its own. As a single number in float64 it leaves
    the precision of the output as it is.

    Args:
        network: f; its parameters keep their names, behind `network.`.
        scale: κ.

    Source: overview2025, Eq. (3).

    >>> ScaledOutput(nn.Identity(), 0.5)(torch.tensor([2.0]))
    tensor([1.])
    """

    scale: Tensor

    def __init__(self, network: nn.Module, scale: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.tensor(float(scale), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network, and scale."""
        return self.scale * self.network(x)
