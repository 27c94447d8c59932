"""The recipe: everything that defines a run, as one validated, serialisable value."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from cloudchamber._core.config import Config
from cloudchamber._core.schema import MAX_IMAGE_SAMPLES
from cloudchamber.data import DataConfig, DigitsConfig
from cloudchamber.interventions import InitializationConfig, NormsConfig, ParametrizationConfig, XavierNormalConfig
from cloudchamber.models import MLPConfig, ModelConfig
from cloudchamber.training.losses import LossConfig

Fraction = Annotated[float, Field(ge=0, lt=1)]


class SGDConfig(Config):
    """torch.optim.SGD: v ← momentum·v + ∇L + weight_decay·W, W ← W − lr·v, for weights, biases and norms alike."""

    name: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.01
    momentum: Fraction = 0.0
    weight_decay: NonNegativeFloat = 0.0
    l2: NonNegativeFloat | None = None
    """λ of a loss L + λ‖W‖² (mlp2024, Eq. 28), instead of weight_decay; kept as weight_decay = 2λ"""

    @model_validator(mode="before")
    @classmethod
    def _l2_is_weight_decay(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or not _is_positive(fields.get("l2")):
            return fields
        if fields.get("weight_decay"):
            raise ValueError(f"either l2 or weight_decay may be given, not both ({fields['l2']:g} and weight_decay)")
        return {**fields, "l2": None, "weight_decay": 2 * fields["l2"]}


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


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
    mode: Literal["eval", "train"] = "eval"
    """eval: batch norms use running averages, which start at mean 0 and variance 1; train: those of the probe"""
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
    norms: NormsConfig | None = None
    """norms between layers and activations; with nothing else to say, the name is enough; null = none"""
    optimizer: OptimizerConfig = SGDConfig()
    loss: LossConfig | None = None
    """null = cross_entropy for class labels, mse for values; with nothing else to say, the name is enough"""
    steps: NonNegativeInt = 1000
    """updates of the weights"""
    batch_size: PositiveInt | None = 100
    """samples per step; null = all of them"""
    observe: ObserveConfig = ObserveConfig()
    checkpoint_every: PositiveInt = 200
    """steps between checkpoints"""
    seed: NonNegativeInt = 0
    dtype: Literal["float32", "float64"] = "float32"
    """precision of weights and data; float64 starts from the same numbers as float32, and rounds less from there on"""
    device: str = "cpu"
    threads: PositiveInt | None = 1
    """CPU threads; small networks gain little from more, and with one the result does not depend on the number of
    cores; null = as many as torch takes by itself"""

    @field_validator("loss", "norms", mode="before")
    @classmethod
    def _said_by_name(cls, section: Any) -> Any:
        if isinstance(section, dict) and "name" not in section:
            raise ValueError("its name must be given")
        return {"name": section} if isinstance(section, str) else section

    @model_validator(mode="after")
    def _rates_of_gradient_descent(self) -> Recipe:
        if isinstance(self.initialization, ParametrizationConfig) and self.optimizer.name != "sgd":
            raise ValueError(f"the learning rates of a parametrization are those of sgd; got {self.optimizer.name}")
        return self
