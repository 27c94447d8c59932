"""Initialization of every layer that the anatomy knows; each scheme says whether it takes a variance or a deviation."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import nn

from cloudchamber._core.config import Config
from cloudchamber._core.seeding import derive_seed, generator, preserved_random_state
from cloudchamber.anatomy import layer_type_of


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
    """Draw the weights of every known layer of `model` anew, in place.

    Args:
        model: its Linear and Conv layers are initialized; other modules are left alone.
        config: the scheme.
        seed: the same seed gives the same weights; global random states stay as they are.

    >>> layer = nn.Linear(2000, 2000)
    >>> initialize(layer, XavierNormalConfig(variance_scale=0.25), seed=0)
    >>> round(layer.weight.std().item() / (2 / 4000) ** 0.5, 2)
    0.5
    """
    if isinstance(config, PytorchDefaultConfig):
        _reset(model, seed)
        return
    random = generator(seed, "initialization")
    for module in model.modules():
        if layer_type_of(module) is None:
            continue
        if isinstance(config, XavierNormalConfig):
            nn.init.xavier_normal_(module.weight, gain=config.variance_scale**0.5, generator=random)
            _zero(module.bias)
        else:
            _normal(module.weight, config.std, random)
            _normal(module.bias, config.std, random)


def _reset(model: nn.Module, seed: int) -> None:
    with preserved_random_state():
        torch.manual_seed(derive_seed(seed, "initialization"))
        for module in model.modules():
            if layer_type_of(module) is not None:
                module.reset_parameters()


def _zero(parameter: nn.Parameter | None) -> None:
    if parameter is not None:
        nn.init.zeros_(parameter)


def _normal(parameter: nn.Parameter | None, std: float, random: torch.Generator) -> None:
    if parameter is not None:
        nn.init.normal_(parameter, 0.0, std, generator=random)
