"""Pixels as the numbers that a network sees."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber.data.raw import PixelMoments, Pixels

Normalization = Literal["channel", "scaled", "standardized"]


def affine_map(normalization: Normalization, moments: PixelMoments) -> tuple[Tensor, Tensor]:
    """Return scale a and shift b of `a·x + b`, which makes inputs of pixels x from 0 to 255.

    `channel`: (x/255 − μ_c)/σ_c with the mean and the standard deviation of each channel over all images and places;
    `scaled`: x/255; `standardized`: (x/255 − μ)/σ of each channel and place over all images, a place that never
    changes becomes 0. The standard deviations are those of the population.

    Args:
        normalization: which of the three.
        moments: sums over the images that μ and σ are taken of (the whole official training part).

    Returns:
        a and b, float64 of shape (c, 1, 1), or (c, h, w) for `standardized`.

    >>> moments = PixelMoments.of(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    >>> [float(value) for value in affine_map("channel", moments)]
    [0.00784313725490196, -1.0]
    """
    if normalization == "scaled":
        one = torch.ones(len(moments.sums), 1, 1, dtype=torch.float64)
        return one / 255, 0 * one
    mean, deviation = _mean_and_deviation(moments, per_channel=normalization == "channel")
    scale = torch.where(deviation > 0, 1 / deviation, 0.0)
    return scale, -mean * scale


def normalized(pixels: Pixels, scale: Tensor, shift: Tensor) -> Float[Tensor, "n c h w"]:
    """Return `scale·pixels + shift` as float32, with no second copy of its size."""
    return pixels.to(torch.float32).mul_(scale.float()).add_(shift.float())


def _mean_and_deviation(moments: PixelMoments, *, per_channel: bool) -> tuple[Tensor, Tensor]:
    sums, squares, count = moments.sums.double(), moments.squares.double(), moments.count
    if per_channel:
        sums, squares = (values.sum((1, 2), keepdim=True) for values in (sums, squares))
        count *= moments.sums[0].numel()
    mean = sums / count
    return mean, (squares / count - mean**2).sqrt()  # exactly 0 where all are equal: they are whole numbers
