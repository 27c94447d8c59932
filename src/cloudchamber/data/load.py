"""The data of a recipe."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cloudchamber._core.errors import require
from cloudchamber.data.adult import AdultConfig, load_adult
from cloudchamber.data.dataset import Dataset
from cloudchamber.data.digits import DigitsConfig, load_digits
from cloudchamber.data.images import ImagesConfig, load_images
from cloudchamber.data.places import archives_at_hand, find, parquet_is_readable
from cloudchamber.data.sines import SinesConfig, load_sines
from cloudchamber.data.sources import SOURCES, Source
from cloudchamber.data.stored import KINDS, stored_at_hand
from cloudchamber.data.subsets import PARTS, Part
from cloudchamber.data.text import TextConfig, load_text

AnyConfig = DigitsConfig | SinesConfig | ImagesConfig | AdultConfig | TextConfig
DataConfig = Annotated[AnyConfig, Field(discriminator="name")]

_ALWAYS_THERE = ("digits", "sines")


def load_data(config: AnyConfig, seed: int, part: Part = "train") -> Dataset:
    """Load a part of the data set of a recipe.

    Args:
        config: of the recipe.
        seed: of the run: it draws synthetic data, subsets and new splits.
        part: what is trained on, or what is tested on; the digits and the sines have only the former (see `split`).

    Raises:
        InvalidInput: if the set has no such part.
        InvalidRecipe: if the recipe asks for classes or samples that the set does not have.
        FileAccess: if the set is neither in $CLOUDCHAMBER_DATA, nor in the cache, nor to be downloaded.
        DamagedFile: if what was found is not as published.

    >>> load_data(DigitsConfig(), seed=0).inputs.shape
    torch.Size([1797, 64])
    """
    match config:
        case ImagesConfig():
            return load_images(config, seed, part)
        case AdultConfig():
            return load_adult(config, seed, part)
        case TextConfig():
            return load_text(config, seed, part)
    require(part == "train", f"{config.name} has no test part", part, "part it with cloudchamber.data.split")
    return load_sines(config, seed) if isinstance(config, SinesConfig) else load_digits()


def available(name: str) -> bool:
    """Return whether a data set can be loaded on this machine without a network.

    Args:
        name: as in recipes.

    Raises:
        InvalidInput: if no set is called so.
        FileAccess: if $CLOUDCHAMBER_DATA names no folder.

    >>> available("digits")
    True
    """
    known = (*_ALWAYS_THERE, *SOURCES)
    require(name in known, f"a data set is one of {', '.join(known)}", name, "check the spelling")
    return name in _ALWAYS_THERE or all(_at_hand(SOURCES[name], part) for part in PARTS)


def _at_hand(source: Source, part: Part) -> bool:
    if source.name in KINDS:
        return stored_at_hand(source.name, part)
    return archives_at_hand(source, part) if find(source, part).parquet is None else parquet_is_readable()
