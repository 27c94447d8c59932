"""Data: the sets that recipes name, each with its part of a recipe."""

from cloudchamber.data.adult import AdultConfig
from cloudchamber.data.augmentation import Augmentation, central_crop, random_crop, random_flip
from cloudchamber.data.dataset import Dataset
from cloudchamber.data.digits import DigitsConfig, load_digits
from cloudchamber.data.images import ImagesConfig
from cloudchamber.data.load import AnyConfig, DataConfig, available, load_data
from cloudchamber.data.sines import SinesConfig, load_sines
from cloudchamber.data.sources import SOURCES, provenance
from cloudchamber.data.subsets import Part, split
from cloudchamber.data.text import TextConfig

__all__ = [
    "SOURCES",
    "AdultConfig",
    "AnyConfig",
    "Augmentation",
    "DataConfig",
    "Dataset",
    "DigitsConfig",
    "ImagesConfig",
    "Part",
    "SinesConfig",
    "TextConfig",
    "available",
    "central_crop",
    "load_data",
    "load_digits",
    "load_sines",
    "provenance",
    "random_crop",
    "random_flip",
    "split",
]
