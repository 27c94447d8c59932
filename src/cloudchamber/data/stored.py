"""The stored images of a data set: from Parquet or from the public archives, decoded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from cloudchamber._core.errors import DamagedFile
from cloudchamber.data.cifar import SHAPE as CIFAR_SHAPE
from cloudchamber.data.cifar import read_cifar10, read_cifar100, read_cifar100_part
from cloudchamber.data.decoded import decoded_file, remembered
from cloudchamber.data.encoded import Shape
from cloudchamber.data.mnist import SHAPE as MNIST_SHAPE
from cloudchamber.data.mnist import read_mnist
from cloudchamber.data.parquet import read_images
from cloudchamber.data.places import archives, archives_at_hand, find, parquet_is_readable
from cloudchamber.data.raw import RENEW, PixelMoments, RawImages
from cloudchamber.data.sources import SOURCES
from cloudchamber.data.subsets import Part
from cloudchamber.data.tiny_imagenet import SHAPE as TINY_SHAPE
from cloudchamber.data.tiny_imagenet import read_tiny_imagenet


@dataclass(frozen=True)
class Kind:
    """How an image set is stored: the shape of its images (c, h, w), and what reads a part of its archives."""

    shape: Shape
    read: Callable[[tuple[Path, ...], Part], RawImages]


KINDS = MappingProxyType(
    {
        "cifar10": Kind(CIFAR_SHAPE, read_cifar10),
        "cifar100": Kind(CIFAR_SHAPE, read_cifar100),
        "cifar100_part": Kind(CIFAR_SHAPE, read_cifar100_part),
        "mnist": Kind(MNIST_SHAPE, read_mnist),
        "tiny_imagenet_50": Kind(TINY_SHAPE, read_tiny_imagenet),
    }
)


@dataclass(frozen=True)
class Stored:
    """One part of an image set, the sums over its pixels, and what it was read from."""

    images: RawImages
    moments: PixelMoments
    source: str


def stored(name: str, part: Part) -> Stored:
    """Return a part of an image set.

    Raises:
        FileAccess: if it is nowhere, or a library to read it is not installed.
        DamagedFile: if what was found is not as published.
    """
    source, kind = SOURCES[name], KINDS[name]
    found = find(source, part)
    path = found.parquet
    decode = partial(read_images, path, kind.shape) if path else lambda: kind.read(archives(source, part), part)
    images, moments = remembered(f"{name}-{part}", found.key, decode)
    shape = tuple(images.pixels.shape[1:])
    if shape != kind.shape:
        raise DamagedFile(f"{found.text} must hold images of {kind.shape}; got {shape}. {RENEW}")
    return Stored(images, moments, found.described(source.rows_of(part), len(images.labels), images.note))


def stored_at_hand(name: str, part: Part) -> bool:
    """Return whether a part of an image set can be had without a network."""
    source = SOURCES[name]
    found = find(source, part)
    readable = archives_at_hand(source, part) if found.parquet is None else parquet_is_readable()
    return readable or decoded_file(f"{name}-{part}", found.key).is_file()
