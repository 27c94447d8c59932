"""Models: the networks of the papers, each with its part of a recipe."""

from torch import nn

from cloudchamber.models.activations import ActivationName, activation
from cloudchamber.models.mlp import MLP, MLPConfig
from cloudchamber.models.resnet import ResNet, ResNetConfig
from cloudchamber.models.scaled import ScaledOutput

ModelConfig = MLPConfig


def build_model(config: ModelConfig, inputs: int, outputs: int) -> nn.Module:
    """Build the model of a recipe for data with so many inputs and outputs."""
    return MLP(
        inputs,
        outputs,
        depth=config.depth,
        width=config.width,
        act=config.activation,
        negative_slope=config.negative_slope,
        bias=config.bias,
    )


__all__ = [
    "MLP",
    "ActivationName",
    "MLPConfig",
    "ModelConfig",
    "ResNet",
    "ResNetConfig",
    "ScaledOutput",
    "activation",
    "build_model",
]
