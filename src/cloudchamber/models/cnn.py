"""Plain convolutional networks for small images."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt
from torch import nn

from cloudchamber.models.activations import ActivationName, activation
from cloudchamber.models.network import NetworkConfig


class CNNConfig(NetworkConfig):
    """A chain of 3×3 convolutions of equal width, and a linear output on their mean over the image."""

    name: Literal["cnn"] = "cnn"
    depth: PositiveInt = 4
    """number of convolutions"""
    width: PositiveInt = 32
    """channels of each"""
    activation: ActivationName = "relu"
    pool_every: PositiveInt = 2
    """convolutions between two poolings, which halve the image while it is larger than one pixel"""
    bias: bool = True

    @property
    def words(self) -> str:
        """The network in a few words."""
        return f"CNN of {self.depth} convolutions, {self.width} wide, {self.activation}"


class CNN(nn.Sequential):
    """3×3 convolutions conv1, conv2, …, the mean over the image, and a linear output; (n, c, h, w) → (n, outputs).

    Equation: F^l = σ(W^l ∗ F^(l−1) + b^l), then a 2×2 maximum after every `pool_every` of them.

    Args:
        channels: of the images.
        outputs: of the network.
        size: the smaller side of the images, which limits how often they are halved.
        depth: number of convolutions.
        width: channels of each.
        act: the activation.
        pool_every: convolutions between two poolings.
        bias: whether layers have biases.

    >>> import torch
    >>> CNN(3, 10, size=8, depth=2, width=4)(torch.zeros(5, 3, 8, 8)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        size: int,
        depth: int,
        width: int,
        act: ActivationName = "relu",
        pool_every: int = 2,
        bias: bool = True,
    ) -> None:
        super().__init__()
        for number in range(1, depth + 1):
            self.add_module(f"conv{number}", nn.Conv2d(channels, width, 3, padding=1, bias=bias))
            self.add_module(f"activation{number}", activation(act))
            channels = width
            if number % pool_every == 0 and size > 1:
                self.add_module(f"pool{number}", nn.MaxPool2d(2))
                size //= 2
        self.add_module("mean", nn.AdaptiveAvgPool2d(1))
        self.add_module("flatten", nn.Flatten())
        self.add_module("linear", nn.Linear(channels, outputs, bias=bias))
