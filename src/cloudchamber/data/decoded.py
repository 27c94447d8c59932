"""Decoded images in the user's cache: read once, from then on mapped into memory."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cloudchamber._core.errors import FileAccess
from cloudchamber._core.files import atomic_path, cache_folder
from cloudchamber.data.raw import PixelMoments, RawImages

_FORMAT = "1"
_log = logging.getLogger("cloudchamber")


def decoded_file(name: str, key: str) -> Path:
    """Return where the images of a source with the checksum `key` are kept."""
    return cache_folder() / "decoded" / f"{name}-{key.replace(':', '-')}.safetensors"


def remembered(name: str, key: str, decode: Callable[[], RawImages]) -> tuple[RawImages, PixelMoments]:
    """Return decoded images with their sums: from the cache, or decoded and then put there.

    A cache that cannot be written costs time and nothing else. A damaged file in it is made anew.

    Args:
        name: of the data set and the part.
        key: checksum of the source.
        decode: reads the source.
    """
    path = decoded_file(name, key)
    known = _read(path)
    if known is not None:
        return known
    _log.info("decoding %s; this is done once", name)
    images = decode()
    moments = PixelMoments.of(images.pixels)
    try:
        _write(path, images, moments)
    except FileAccess as error:
        _log.warning("decoded images are not kept: %s", error)
    return images, moments


def _read(path: Path) -> tuple[RawImages, PixelMoments] | None:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            if about["format"] != _FORMAT:
                return None
            pixels, labels, sums, squares = map(file.get_tensor, ("pixels", "labels", "sums", "squares"))
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        _log.warning("%s is damaged and is made anew: %s", path, error)
        return None
    images = RawImages(pixels, labels, tuple(about["class_names"]), about["note"])
    return images, PixelMoments(len(pixels), sums, squares)


def _write(path: Path, images: RawImages, moments: PixelMoments) -> None:
    tensors = {
        "pixels": images.pixels,
        "labels": images.labels,
        "sums": moments.sums,
        "squares": moments.squares,
    }
    about = json.dumps({"format": _FORMAT, "class_names": images.class_names, "note": images.note})
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, {"about": about})
