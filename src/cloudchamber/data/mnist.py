"""MNIST, and the IDX files that it comes in."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from cloudchamber._core.errors import DamagedFile
from cloudchamber.data.raw import RENEW, RawImages, checked_labels
from cloudchamber.data.subsets import Part

SHAPE = (1, 28, 28)
_UNSIGNED_BYTES = 0x08
_DIGITS = tuple("0123456789")


def parse_idx(content: bytes) -> UInt8[Tensor, "*shape"]:
    """Read an IDX file of unsigned bytes.

    Two zero bytes, the type (8), the number of dimensions, each dimension as four bytes (the highest first), then
    the values, the last dimension fastest.

    Args:
        content: the file, unpacked.

    Returns:
        The array, uint8, of as many dimensions as the file says.

    Raises:
        DamagedFile: if `content` is not such a file, or is too short or too long for its dimensions.

    Source: Y. LeCun, http://yann.lecun.com/exdb/mnist/, "the IDX file format".

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    tensor([7, 8, 9], dtype=torch.uint8)
    """
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTES]):
        raise DamagedFile(f"an IDX file of bytes begins with 0 0 8; got {list(content[:3])}. {RENEW}")
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise DamagedFile(
            f"an IDX file of {content[3]} dimensions has {header} bytes or more; got {len(content)}. {RENEW}"
        )
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise DamagedFile(f"an IDX file of shape {shape} holds as many values; got {len(content) - header}. {RENEW}")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy())


def read_mnist(files: tuple[Path, ...], part: Part) -> RawImages:
    """Read the packed IDX files of images and labels of a part.

    Raises:
        DamagedFile: if they are not such files, or do not belong together.
    """
    images, labels = (parse_idx(_unpacked(file)) for file in files)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DamagedFile(
            f"MNIST's {part} files hold n images and n labels; got {images.shape}, {labels.shape}. {RENEW}"
        )
    return RawImages(images[:, None], checked_labels(labels, _DIGITS, str(files[1])), _DIGITS)


def _unpacked(file: Path) -> bytes:
    try:
        return gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedFile(f"{file} must be packed by gzip; got: {error}. {RENEW}") from error
