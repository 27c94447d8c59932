"""CIFAR-10 and CIFAR-100 in their binary version: fixed-length records that no code is loaded from."""

from __future__ import annotations

import math
import tarfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from cloudchamber._core.errors import DamagedFile
from cloudchamber.data.raw import RENEW, Pixels, RawImages, checked_labels
from cloudchamber.data.subsets import Part

SHAPE = (3, 32, 32)
_PIXELS = math.prod(SHAPE)
_PART_SIZES = {"train": 100, "test": 20}


def parse_cifar(content: bytes, label_bytes: int) -> tuple[UInt8[Tensor, "n k"], Pixels]:
    """Read records of labels and pixels.

    A record is `label_bytes` bytes (CIFAR-10: the class; CIFAR-100: the coarse class, then the fine one), then 1024
    bytes of red, 1024 of green and 1024 of blue, row by row.

    Args:
        content: the file.
        label_bytes: 1 for CIFAR-10, 2 for CIFAR-100.

    Returns:
        Labels (n, label_bytes) and pixels (n, 3, 32, 32), both uint8.

    Raises:
        DamagedFile: if `content` does not consist of whole records.

    Source: A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".

    >>> labels, pixels = parse_cifar(bytes([6]) + bytes(3072), label_bytes=1)
    >>> labels.tolist(), tuple(pixels.shape)
    ([[6]], (1, 3, 32, 32))
    """
    record = label_bytes + _PIXELS
    if not content or len(content) % record:
        raise DamagedFile(f"a CIFAR file consists of records of {record} bytes; got {len(content)} bytes. {RENEW}")
    records = torch.from_numpy(np.frombuffer(content, dtype=np.uint8).reshape(-1, record).copy())
    return records[:, :label_bytes], records[:, label_bytes:].reshape(-1, *SHAPE)


def read_cifar10(files: tuple[Path, ...], part: Part) -> RawImages:
    """Read a part of the archive `cifar-10-binary.tar.gz`.

    Raises:
        DamagedFile: if the archive is not that of CIFAR-10.
    """
    batches = [f"data_batch_{number}.bin" for number in range(1, 6)] if part == "train" else ["test_batch.bin"]
    names, *contents = _members(files[0], "cifar-10-batches-bin", ["batches.meta.txt", *batches])
    return _images(b"".join(contents), 1, _lines(names), files[0])


def read_cifar100(files: tuple[Path, ...], part: Part) -> RawImages:
    """Read a part of the archive `cifar-100-binary.tar.gz`, with the fine labels.

    Raises:
        DamagedFile: if the archive is not that of CIFAR-100.
    """
    names, content = _members(files[0], "cifar-100-binary", ["fine_label_names.txt", f"{part}.bin"])
    return _images(content, 2, _lines(names), files[0])


def read_cifar100_part(files: tuple[Path, ...], part: Part) -> RawImages:
    """Read the first 100 training or 20 test images of each class of CIFAR-100, in their order.

    Raises:
        DamagedFile: if the archive is not that of CIFAR-100.
    """
    whole = read_cifar100(files, part)
    rows = [torch.nonzero(whole.labels == label).flatten()[: _PART_SIZES[part]] for label in range(100)]
    chosen = torch.cat(rows).sort().values
    return RawImages(whole.pixels[chosen], whole.labels[chosen], whole.class_names)


def _images(content: bytes, label_bytes: int, names: tuple[str, ...], file: Path) -> RawImages:
    labels, pixels = parse_cifar(content, label_bytes)
    return RawImages(pixels, checked_labels(labels[:, -1], names, str(file)), names)


def _lines(content: bytes) -> tuple[str, ...]:
    return tuple(content.decode().split())


def _members(file: Path, folder: str, names: list[str]) -> list[bytes]:
    try:
        with tarfile.open(file, "r:gz") as archive:
            members = [archive.extractfile(f"{folder}/{name}") for name in names]
            return [member.read() if member else b"" for member in members]
    except (tarfile.TarError, EOFError, OSError, KeyError) as error:
        raise DamagedFile(f"{file} must be an archive with {folder}/{names[-1]}; got: {error}. {RENEW}") from error
