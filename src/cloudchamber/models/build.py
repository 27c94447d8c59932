"""From a model's part of a recipe to the model: a new kind is one config, one member of the union, one case."""

from __future__ import annotations

from collections import OrderedDict
from math import isqrt, prod
from typing import Annotated

from pydantic import Field
from torch import nn

from cloudchamber._core.errors import require
from cloudchamber.models.cnn import CNN, CNNConfig
from cloudchamber.models.dense import DenseConfig, DenseNet
from cloudchamber.models.mlp import MLP, MLPConfig
from cloudchamber.models.resnet import ResNet, ResNetConfig
from cloudchamber.models.text import TextNet, TextNetConfig

ModelConfig = Annotated[MLPConfig | DenseConfig | ResNetConfig | CNNConfig | TextNetConfig, Field(discriminator="name")]


def build_model(config: ModelConfig, shape: tuple[int, ...], outputs: int, vocabulary: int = 0) -> nn.Module:
    """Build the model of a recipe.

    Args:
        config: which.
        shape: of one sample: (features,), (channels, height, width), or (words,) for networks that read words.
        outputs: of the network.
        vocabulary: words that have a number, for networks that read words.

    Raises:
        InvalidInput: if the model cannot take such samples.

    >>> build_model(MLPConfig(depth=2, width=8), (3, 4, 4), outputs=5).linear1.in_features
    48
    """
    match config:
        case MLPConfig():
            return _mlp(config, prod(shape), outputs)
        case DenseConfig():
            return _dense(config, prod(shape), outputs)
        case ResNetConfig():
            return on_images(_resnet(config, channels_of(shape), outputs), shape)
        case CNNConfig():
            return on_images(_cnn(config, shape, outputs), shape)
        case TextNetConfig():
            return _text(config, vocabulary, outputs)


def channels_of(shape: tuple[int, ...]) -> int:
    """Return the channels of samples that are images, or squares of one channel written as vectors.

    Raises:
        InvalidInput: if they are neither.

    >>> channels_of((3, 32, 32)), channels_of((64,))
    (3, 1)
    """
    square = len(shape) == 1 and isqrt(shape[0]) ** 2 == shape[0]
    require(len(shape) == 3 or square, "a network of convolutions takes images", f"samples of shape {shape}", "an mlp")
    return shape[0] if len(shape) == 3 else 1


def on_images(network: nn.Sequential, shape: tuple[int, ...]) -> nn.Sequential:
    """Return a network that takes such samples, its modules named as before: vectors are made images first."""
    if len(shape) == 3:
        return network
    side = isqrt(shape[0])
    return nn.Sequential(OrderedDict(images=nn.Unflatten(1, (1, side, side)), **dict(network.named_children())))


def _mlp(config: MLPConfig, inputs: int, outputs: int) -> MLP:
    return MLP(
        inputs,
        outputs,
        depth=config.depth,
        width=config.width,
        act=config.activation,
        negative_slope=config.negative_slope,
        bias=config.bias,
    )


def _dense(config: DenseConfig, inputs: int, outputs: int) -> DenseNet:
    return DenseNet(
        inputs,
        outputs,
        widths=config.widths,
        activations=config.activations,
        residual=config.residual,
        bias=config.bias,
    )


def _resnet(config: ResNetConfig, channels: int, outputs: int) -> ResNet:
    return ResNet(
        channels,
        outputs,
        depth=config.depth,
        width_factor=config.width_factor,
        act=config.activation,
        batch_norm=config.batch_norm,
        head=config.head,
        head_act=config.head_activation,
    )


def _cnn(config: CNNConfig, shape: tuple[int, ...], outputs: int) -> CNN:
    return CNN(
        channels_of(shape),
        outputs,
        size=min(shape[1:]) if len(shape) == 3 else isqrt(shape[0]),
        depth=config.depth,
        width=config.width,
        act=config.activation,
        pool_every=config.pool_every,
        bias=config.bias,
    )


def _text(config: TextNetConfig, vocabulary: int, outputs: int) -> TextNet:
    return TextNet(
        vocabulary,
        outputs,
        embedding=config.embedding,
        reader=config.reader,
        depth=config.depth,
        width=config.width,
        act=config.activation,
    )
