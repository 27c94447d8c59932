"""The multi-layer perceptron of the papers."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from cloudchamber.models.activations import NEGATIVE_SLOPE, ActivationName, activation
from cloudchamber.models.network import NetworkConfig


class MLPConfig(NetworkConfig):
    """A chain of linear layers, an activation between each two."""

    name: Literal["mlp"] = "mlp"
    depth: PositiveInt = 9
    """number of linear layers"""
    width: PositiveInt = 512
    """neurons per hidden layer"""
    activation: ActivationName = "relu"
    negative_slope: float = NEGATIVE_SLOPE
    """slope of leaky_relu below zero"""
    bias: bool = True

    @property
    def words(self) -> str:
        """The network in a few words."""
        return f"{self.depth}-layer MLP, {self.width} wide, {self.activation}"

    @model_validator(mode="after")
    def _slope_of_leaky_relu(self) -> MLPConfig:
        if self.activation != "leaky_relu" and self.negative_slope != NEGATIVE_SLOPE:
            got = f"{self.negative_slope:g} with {self.activation}"
            raise ValueError(f"negative_slope is that of leaky_relu; got {got}")
        return self


class MLP(nn.Sequential):
    """`depth` linear layers, called linear1, linear2, ... as the papers count them; (n, ...) → (n, outputs).

    Equation: F⁰ = x, F^l = σ(W^l F^(l−1) + b^l) for l < depth, output W^depth F^(depth−1) + b^depth (mlp2024, Eq. 1).

    It runs its children in their order: `interventions.insert_norms` puts norms between them.

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
        negative_slope: float = NEGATIVE_SLOPE,
        bias: bool = True,
    ) -> None:
        super().__init__()
        sizes = [inputs, *[width] * (depth - 1), outputs]
        for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
            self.add_module(f"linear{number}", nn.Linear(fan_in, fan_out, bias=bias))
            if number < depth:
                self.add_module(f"activation{number}", activation(act, negative_slope))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Flatten each sample and apply the chain."""
        return super().forward(input.flatten(1))
