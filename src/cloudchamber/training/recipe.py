"""The recipe: everything that defines a run, as one validated, serialisable value."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from cloudchamber._core.config import Config
from cloudchamber._core.schema import MAX_IMAGE_SAMPLES
from cloudchamber.data import DataConfig, DigitsConfig
from cloudchamber.interventions import InitializationConfig, XavierNormalConfig
from cloudchamber.models import MLPConfig, ModelConfig

Fraction = Annotated[float, Field(ge=0, lt=1)]


class SGDConfig(Config):
    """torch.optim.SGD: v ← momentum·v + ∇L + weight_decay·W, W ← W − lr·v."""

    name: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.01
    momentum: Fraction = 0.0
    weight_decay: NonNegativeFloat = 0.0


class AdamConfig(Config):
    """torch.optim.Adam (weight decay as an L2 term) or AdamW (decoupled)."""

    name: Literal["adam", "adamw"] = "adam"
    lr: PositiveFloat = 0.001
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.0


OptimizerConfig = Annotated[SGDConfig | AdamConfig, Field(discriminator="name")]


class ObserveConfig(Config):
    """What is observed, and how often."""

    every: PositiveInt = 10
    """observe steps that are multiples of this"""
    per_decade: PositiveInt | None = None
    """observe so many steps per factor of ten instead, evenly on a logarithmic axis; `every` is then not used"""
    images_every: PositiveInt | None = None
    """take cosine images and costly measures at multiples of this; null = at about every tenth observation"""
    probe_samples: Annotated[int, Field(ge=2)] = 200
    """samples of the probe, equally many of each class"""
    image_samples: Annotated[int, Field(ge=2, le=MAX_IMAGE_SAMPLES)] = 100
    """samples of the cosine images"""
    layers: list[str] | None = None
    """names or patterns; null = all"""
    measures: list[str] | None = None
    """names, or groups (light, mlp2024, theorem1, kernel, neurons, all); null = what can be left on"""

    @model_validator(mode="after")
    def _images_among_observations(self) -> ObserveConfig:
        if self.per_decade is None and self.images_every is not None and self.images_every % self.every:
            raise ValueError(f"images_every ({self.images_every}) must be a multiple of every ({self.every})")
        return self


class Recipe(Config):
    """Everything that defines a run. The same recipe gives the same run, bit for bit, on the same machine.

    >>> Recipe().optimizer.lr
    0.01
    """

    data: DataConfig = DigitsConfig()
    model: ModelConfig = MLPConfig()
    initialization: InitializationConfig = XavierNormalConfig()
    optimizer: OptimizerConfig = SGDConfig()
    loss: Literal["cross_entropy", "mse"] | None = None
    """null = cross_entropy for class labels, mse for values"""
    steps: NonNegativeInt = 1000
    """updates of the weights"""
    batch_size: PositiveInt | None = 100
    """samples per step; null = all of them"""
    observe: ObserveConfig = ObserveConfig()
    checkpoint_every: PositiveInt = 200
    """steps between checkpoints"""
    seed: NonNegativeInt = 0
    device: str = "cpu"
    threads: PositiveInt | None = 1
    """CPU threads; small networks gain little from more, and with one the result does not depend on the number of
    cores; null = as many as torch takes by itself"""
