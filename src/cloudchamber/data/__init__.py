"""Data: the sets that recipes name, each with its part of a recipe."""

from typing import Annotated

from pydantic import Field

from cloudchamber.data.dataset import Dataset
from cloudchamber.data.digits import DigitsConfig, load_digits
from cloudchamber.data.sines import SinesConfig, load_sines

DataConfig = Annotated[DigitsConfig | SinesConfig, Field(discriminator="name")]


def load_data(config: DigitsConfig | SinesConfig, seed: int) -> Dataset:
    """Load the data set of a recipe; `seed` matters only for synthetic ones."""
    return load_sines(config, seed) if isinstance(config, SinesConfig) else load_digits()


__all__ = ["DataConfig", "Dataset", "DigitsConfig", "SinesConfig", "load_data", "load_digits", "load_sines"]
