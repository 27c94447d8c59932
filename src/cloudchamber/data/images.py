"""The image sets of the papers, with what recipes can say about them."""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor

from cloudchamber._core.errors import InvalidRecipe
from cloudchamber.data.augmentation import Augmentation, central_crop
from cloudchamber.data.dataset import Dataset
from cloudchamber.data.normalization import Normalization, affine_map, normalized
from cloudchamber.data.raw import Pixels
from cloudchamber.data.stored import KINDS, Stored, stored
from cloudchamber.data.subsets import Part, SubsetConfig, select

Change = Literal["crop", "flip"]
ImageSet = Literal["cifar10", "cifar100", "cifar100_part", "mnist", "tiny_imagenet_50"]

PADDING = 4
"""black pixels around an image before a random crop of its own size, as is usual for CIFAR-10"""

_CROPPED_SIDE = {"tiny_imagenet_50": 32}
"""sides that are not the image's own: mlp2024, Appendix B.3, takes crops of 32×32 out of the 64×64 images"""


class ImagesConfig(SubsetConfig):
    """Images of (channels, side, side), found in $CLOUDCHAMBER_DATA, in the cache, or downloaded."""

    name: ImageSet
    normalization: Normalization = "channel"
    """channel = pixels/255, then mean 0 and standard deviation 1 per channel; scaled = pixels/255 only; standardized =
    mean 0 and standard deviation 1 of every pixel; means and deviations are those of the official training part"""
    augment: list[Change] = Field(default_factory=list)
    """crop = random crops, after 4 pixels of black border where `size` is the image's own side; flip = random
    horizontal flips; what is observed and tested is never augmented"""
    size: PositiveInt | None = None
    """side of the images that the network sees, cut out of the middle where not at random; null = the image's own,
    for tiny_imagenet_50 32"""


def load_images(config: ImagesConfig, seed: int, part: Part) -> Dataset:
    """Load a part of an image set; inputs (n, channels, side, side) float32.

    Raises:
        InvalidRecipe: if classes are unknown, there are not as many samples, or the images are smaller than `size`.
        FileAccess: if the set is nowhere, or a library to read it is not installed.
        DamagedFile: if what was found is not as published.
    """
    size = _size(config)

    @cache
    def of(official: Part) -> Stored:
        return stored(config.name, official)

    train = of("train")
    selection = select(lambda each: of(each).images.labels, train.images.class_names, config, seed, part)
    pixels = selection.of(lambda each: of(each).images.pixels)
    scale, shift = (_middle(values, size) for values in affine_map(config.normalization, train.moments))
    shown = central_crop(pixels, size)
    random = config.augment if part == "train" else []
    return Dataset(
        config.name,
        normalized(shown, scale, shift),
        selection.targets,
        len(selection.class_names),
        class_names=selection.class_names,
        source="; ".join(of(official).source for official in selection.rows),
        augmentation=_augmentation(random, pixels if "crop" in random else shown, size, scale, shift),
    )


def _size(config: ImagesConfig) -> int:
    side = KINDS[config.name].shape[1]
    size = config.size or _CROPPED_SIDE.get(config.name, side)
    if size > side:
        raise InvalidRecipe(f"data.size is at most the image's {side}; got {size}. Remedy: choose less, or null.")
    return size


def _augmentation(random: list[Change], pixels: Pixels, size: int, scale: Tensor, shift: Tensor) -> Augmentation | None:
    if not random:
        return None
    padding = PADDING if size == pixels.shape[3] else 0
    return Augmentation(pixels, size if "crop" in random else None, padding, "flip" in random, scale, shift)


def _middle(values: Tensor, size: int) -> Tensor:
    """Return the part of a normalisation that a central crop of the images needs."""
    return values if values.shape[1:] == (1, 1) else central_crop(values[None], size)[0]
