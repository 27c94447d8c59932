"""Images that are stored as PNG, JPEG or WebP, decoded with Pillow."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
import torch

from cloudchamber._core.errors import DamagedFile, FileAccess
from cloudchamber.data.raw import RENEW, Pixels

Shape = tuple[int, int, int]


def decoded(images: Iterable[bytes], count: int, shape: Shape, where: str) -> Pixels:
    """Decode images of one size.

    Args:
        images: encoded images; Pillow finds out the kind of each.
        count: how many they are.
        shape: channels (1 = grey, 3 = RGB; others are converted), height and width.
        where: their file, for errors.

    Returns:
        (count, *shape), uint8.

    Raises:
        DamagedFile: if one is not an image, or of another size.
        FileAccess: if Pillow is not installed.
    """
    pixels = torch.empty(count, *shape, dtype=torch.uint8)
    for number, (row, content) in enumerate(zip(pixels, images, strict=True)):
        image = _decoded(content, shape[0], f"image {number} of {where}")
        if image.shape != shape:
            raise DamagedFile(f"{where} must hold images of {shape}; image {number} is {image.shape}. {RENEW}")
        row.copy_(torch.from_numpy(image))
    return pixels


def _decoded(content: bytes, channels: int, where: str) -> np.ndarray:
    """Return an image as (channels, h, w)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise FileAccess(missing("Pillow", where)) from error
    try:
        with Image.open(io.BytesIO(content)) as image:
            values = np.array(image.convert("L" if channels == 1 else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DamagedFile(f"{where} must be a PNG, JPEG or WebP image; got: {error}. {RENEW}") from error
    return values.reshape(*values.shape[:2], channels).transpose(2, 0, 1).copy()


def missing(library: str, where: str) -> str:
    """Return what to say where a library of the extra `papers` is missing."""
    return f"{library} is needed to read {where}; got: not installed. Remedy: pip install 'cloudchamber[papers]'."
