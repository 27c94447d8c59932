"""Initialization of every layer that the anatomy knows; each scheme says whether it takes a variance or a deviation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from cloudchamber._core.config import Config
from cloudchamber._core.seeding import generator


class XavierNormalConfig(Config):
    """W ~ N(0, γ · 2/(fan_in + fan_out)) with zero bias; γ scales the *variance* (mlp2024, Section 3.3)."""

    name: Literal["xavier_normal"] = "xavier_normal"
    variance_scale: PositiveFloat = 1.0


class NormalConfig(Config):
    """Every weight and bias ~ N(0, std²); `std` is a *standard deviation* (zhou2022, Section 4.1)."""

    name: Literal["normal"] = "normal"
    std: NonNegativeFloat = 0.005


class PytorchDefaultConfig(Config):
    """What PyTorch's layers do when they are made: uniform in ±1/√fan_in, biases too."""

    name: Literal["pytorch_default"] = "pytorch_default"


Scheme = XavierNormalConfig | NormalConfig | PytorchDefaultConfig
InitializationConfig = Annotated[Scheme, Field(discriminator="name")]


def initialize(model: nn.Module, config: Scheme, seed: int) -> None:
    """Draw the weights of every linear and convolutional layer of `model` anew, in place.

    Args:
        model: its Linear and Conv layers are initialized, on the CPU, so that the weights are the same wherever the
            model goes afterwards; other modules are left alone.
        config: the scheme.
        seed: the same seed gives the same weights; global random states stay as they are.

    >>> layer = nn.Linear(2000, 2000)
    >>> initialize(layer, XavierNormalConfig(variance_scale=0.25), seed=0)
    >>> round(layer.weight.std().item() / (2 / 4000) ** 0.5, 2)
    0.5
    """
    random = generator(seed, "initialization")
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            _WAYS[type(config)](module.weight, module.bias, config, random)


def _xavier_normal(weight: Tensor, bias: Tensor | None, config: XavierNormalConfig, random: torch.Generator) -> None:
    nn.init.xavier_normal_(weight, gain=config.variance_scale**0.5, generator=random)
    if bias is not None:
        nn.init.zeros_(bias)


def _normal(weight: Tensor, bias: Tensor | None, config: NormalConfig, random: torch.Generator) -> None:
    nn.init.normal_(weight, 0.0, config.std, generator=random)
    if bias is not None:
        nn.init.normal_(bias, 0.0, config.std, generator=random)


def _pytorch_default(weight: Tensor, bias: Tensor | None, _: PytorchDefaultConfig, random: torch.Generator) -> None:
    # The calls of `reset_parameters`, which takes no generator.
    nn.init.kaiming_uniform_(weight, a=5**0.5, generator=random)
    if bias is not None:
        bound = weight[0].numel() ** -0.5
        nn.init.uniform_(bias, -bound, bound, generator=random)


_WAYS: dict[type[Scheme], Callable[..., None]] = {
    XavierNormalConfig: _xavier_normal,
    NormalConfig: _normal,
    PytorchDefaultConfig: _pytorch_default,
}
