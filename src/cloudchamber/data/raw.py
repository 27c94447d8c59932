"""Images as they are stored, before any normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from cloudchamber._core.errors import DamagedFile

Pixels = UInt8[Tensor, "n c h w"]
PixelSums = Int64[Tensor, "c h w"]


@dataclass(frozen=True)
class RawImages:
    """Images of one part of a data set.

    Attributes:
        pixels: (n, c, h, w), 0 … 255.
        labels: (n,), the class of each image.
        class_names: what the labels stand for.
        note: what is not as published; empty where nothing is.
    """

    pixels: Pixels
    labels: Int64[Tensor, " n"]
    class_names: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class PixelMoments:
    """Exact sums over a set of images, of which every mean and deviation follows.

    Attributes:
        count: number of images.
        sums: (c, h, w), Σ_i x_i.
        squares: (c, h, w), Σ_i x_i².
    """

    count: int
    sums: PixelSums
    squares: PixelSums

    @classmethod
    def of(cls, pixels: Pixels, chunk: int = 1000) -> PixelMoments:
        """Return the sums over images, in chunks of so many: whole numbers need eight times the memory of pixels."""
        sums = torch.zeros(pixels.shape[1:], dtype=torch.int64)
        squares = torch.zeros_like(sums)
        for images in pixels.split(chunk):
            sums += images.sum(0, dtype=torch.int64)
            squares += images.to(torch.int32).square().sum(0, dtype=torch.int64)
        return cls(len(pixels), sums, squares)


def checked_labels(labels: Tensor, class_names: tuple[str, ...], where: str) -> Int64[Tensor, " n"]:
    """Return labels as int64.

    Raises:
        DamagedFile: if one has no class name.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(class_names):
        found = f"{int(labels.min())} to {int(labels.max())}"
        raise DamagedFile(f"{where} must hold labels from 0 to {len(class_names) - 1}; got {found}. {RENEW}")
    return labels.to(torch.int64)


RENEW = "Remedy: get the file anew."
