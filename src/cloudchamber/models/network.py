"""What the models of recipes have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from cloudchamber._core.config import Config


class NetworkConfig(Config):
    """A model's part of a recipe.

    Attributes:
        reads_words: whether its inputs are whole numbers that stand for words.
    """

    reads_words: ClassVar[bool] = False

    @property
    @abstractmethod
    def words(self) -> str:
        """The network in a few words."""
