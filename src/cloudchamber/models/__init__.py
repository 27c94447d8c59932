"""Models: the networks of the papers, each with its part of a recipe."""

from cloudchamber.models.activations import ActivationName, activation
from cloudchamber.models.build import ModelConfig, build_model
from cloudchamber.models.centered import CenteredOutput
from cloudchamber.models.cnn import CNN, CNNConfig
from cloudchamber.models.dense import DenseConfig, DenseNet
from cloudchamber.models.mlp import MLP, MLPConfig
from cloudchamber.models.network import NetworkConfig
from cloudchamber.models.resnet import ResNet, ResNetConfig
from cloudchamber.models.scaled import ScaledOutput
from cloudchamber.models.text import TextNet, TextNetConfig

__all__ = [
    "CNN",
    "MLP",
    "ActivationName",
    "CNNConfig",
    "CenteredOutput",
    "DenseConfig",
    "DenseNet",
    "MLPConfig",
    "ModelConfig",
    "NetworkConfig",
    "ResNet",
    "ResNetConfig",
    "ScaledOutput",
    "TextNet",
    "TextNetConfig",
    "activation",
    "build_model",
]
