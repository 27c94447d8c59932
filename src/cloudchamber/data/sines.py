"""The synthetic regression set of zhou2022."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt, model_validator

from cloudchamber._core.config import Config
from cloudchamber._core.seeding import generator
from cloudchamber.data.dataset import Dataset


class SinesConfig(Config):
    """y = Σ_k amplitude · sin(frequency · x_k + phase), each x_k uniform in [low, high] (zhou2022, Section 4.3)."""

    name: Literal["sines"] = "sines"
    samples: PositiveInt = 80
    dimension: PositiveInt = 5
    amplitude: float = 3.5
    frequency: float = 5.0
    phase: float = 1.0
    low: float = -4.0
    high: float = 2.0

    @model_validator(mode="after")
    def _ordered(self) -> SinesConfig:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        return self


def load_sines(config: SinesConfig, seed: int) -> Dataset:
    """Draw the set; inputs (samples, dimension), targets (samples, 1), the same for the same seed."""
    random = generator(seed, "data")
    uniform = torch.rand(config.samples, config.dimension, dtype=torch.float32, generator=random)
    inputs = config.low + (config.high - config.low) * uniform
    targets = config.amplitude * torch.sin(config.frequency * inputs + config.phase).sum(dim=1, keepdim=True)
    return Dataset("sines", inputs, targets, classes=0)
