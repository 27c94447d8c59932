"""Residual networks for small images, with a head of fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber.models.activations import ActivationName, activation
from cloudchamber.models.network import NetworkConfig

Depth = Literal[18, 34]
BLOCKS: dict[Depth, tuple[int, ...]] = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Basic blocks of each of the four stages."""
CHANNELS = (64, 128, 256, 512)
"""Of each stage, at width factor 1."""


class ResNetConfig(NetworkConfig):
    """A ResNet of basic blocks whose first convolution is 3×3 without stride, as usual for 32×32 images."""

    name: Literal["resnet"] = "resnet"
    depth: Depth = 18
    width_factor: PositiveFloat = 1.0
    """channels are 64, 128, 256, 512 times this"""
    activation: ActivationName = "relu"
    """of the convolutional part"""
    batch_norm: bool = True
    head: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = ()
    """neurons of the fully connected layers before the output; 1024, 1024 for FC 1024-1024-10"""
    head_activation: ActivationName = "relu"
    """after each of these"""

    @property
    def words(self) -> str:
        """The network in a few words."""
        return f"ResNet-{self.depth}, width × {self.width_factor:g}, {self.activation}"


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut; (n, inputs, h, w) → (n, outputs, h/stride, w/stride).

    Equation: σ(N(W₂ σ(N(W₁ x))) + s(x)), with N batch norm or nothing, s the identity, or a 1×1 convolution (and
    N) where shapes differ.

    >>> import torch
    >>> BasicBlock(4, 8, stride=2)(torch.zeros(1, 4, 6, 6)).shape
    torch.Size([1, 8, 3, 3])
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int = 1, act: ActivationName = "relu", batch_norm: bool = True
    ) -> None:
        super().__init__()
        same = stride == 1 and inputs == outputs
        self.conv1 = _convolution(inputs, outputs, 3, stride, batch_norm)
        self.activation1 = activation(act)
        self.conv2 = _convolution(outputs, outputs, 3, 1, batch_norm)
        self.shortcut = nn.Identity() if same else _convolution(inputs, outputs, 1, stride, batch_norm)
        self.activation2 = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return self.activation2(self.conv2(self.activation1(self.conv1(x))) + self.shortcut(x))


def _convolution(inputs: int, outputs: int, size: int, stride: int, batch_norm: bool) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=not batch_norm)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs)) if batch_norm else nn.Sequential(convolution)


class ResNet(nn.Sequential):
    """A ResNet-18 or -34 for small images; (n, channels, height, width) → (n, outputs).

    It has a first 3×3 convolution, four stages of basic blocks (the last three halve the image), the mean over the
    image, and fully connected layers with an activation between each two, called head.linear1, head.linear2, ...

    Args:
        channels: of the images.
        outputs: of the network.
        depth: 18 or 34.
        width_factor: channels are 64, 128, 256, 512 times this, rounded.
        act: activation of the convolutional part.
        batch_norm: whether a batch norm follows each convolution; without, convolutions have a bias.
        head: neurons of the fully connected layers before the output.
        head_act: activation of the head.

    Raises:
        InvalidInput: if the width factor leaves a stage without a channel.

    Source: He et al. 2016; the head of zhou2022, Figure 2, is (1024, 1024).

    >>> import torch
    >>> ResNet(3, 10, width_factor=1 / 16, head=(20, 30), head_act="tanh")(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        depth: Depth = 18,
        width_factor: float = 1.0,
        act: ActivationName = "relu",
        batch_norm: bool = True,
        head: Sequence[int] = (),
        head_act: ActivationName = "relu",
    ) -> None:
        super().__init__()
        widths = [round(width * width_factor) for width in CHANNELS]
        require(
            min(widths) >= 1, "every stage must have a channel", f"width_factor = {width_factor:g}", "take a larger one"
        )
        self.add_module("stem", _convolution(channels, widths[0], 3, 1, batch_norm))
        self.add_module("stem_activation", activation(act))
        stages = zip(pairwise([widths[0], *widths]), BLOCKS[depth], strict=True)
        for number, ((fan_in, fan_out), blocks) in enumerate(stages, start=1):
            self.add_module(f"stage{number}", _stage(fan_in, fan_out, blocks, 1 if number == 1 else 2, act, batch_norm))
        self.add_module("mean", nn.AdaptiveAvgPool2d(1))
        self.add_module("flat", nn.Flatten())
        self.add_module("head", _head([widths[-1], *head, outputs], head_act))


def _stage(inputs: int, outputs: int, blocks: int, stride: int, act: ActivationName, batch_norm: bool) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride=stride, act=act, batch_norm=batch_norm)
    return nn.Sequential(
        first, *(BasicBlock(outputs, outputs, act=act, batch_norm=batch_norm) for _ in range(blocks - 1))
    )


def _head(sizes: list[int], act: ActivationName) -> nn.Sequential:
    head = nn.Sequential()
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        head.add_module(f"linear{number}", nn.Linear(fan_in, fan_out))
        if number < len(sizes) - 1:
            head.add_module(f"activation{number}", activation(act))
    return head
