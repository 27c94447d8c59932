"""The multi-layer perceptron of the papers."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from cloudchamber._core.config import Config
from cloudchamber.models.activations import ActivationName, activation


class MLPConfig(Config):
    """A chain of linear layers, an activation between each two."""

    name: Literal["mlp"] = "mlp"
    depth: PositiveInt = 9
    """number of linear layers"""
    width: PositiveInt = 512
    """neurons per hidden layer"""
    activation: ActivationName = "relu"
    bias: bool = True


class MLP(nn.Module):
    """`depth` linear layers, called linear1, linear2, ... as the papers count them; (n, ...) → (n, outputs).

    Equation: F⁰ = x, F^l = σ(W^l F^(l−1) + b^l) for l < depth, output W^depth F^(depth−1) + b^depth (mlp2024, Eq. 1).

    >>> import torch
    >>> MLP(4, 3, depth=2, width=8)(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        depth: int,
        width: int,
        act: ActivationName = "relu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        sizes = [inputs, *[width] * (depth - 1), outputs]
        for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
            self.add_module(f"linear{number}", nn.Linear(fan_in, fan_out, bias=bias))
            if number < depth:
                self.add_module(f"activation{number}", activation(act))

    def forward(self, x: Tensor) -> Tensor:
        """Flatten each sample and apply the chain."""
        x = x.flatten(1)
        for module in self.children():
            x = module(x)
        return x
