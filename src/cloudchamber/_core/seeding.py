"""Random streams: independent ones from one seed, and a guard that puts every global one back."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a seed of its own for one purpose: the first 63 bits of a SHA-256, so that no two are alike by design.

    Args:
        seed: the seed of the run.
        purpose: words and numbers that name the stream ("initialization", or "order" and an epoch).

    >>> derive_seed(0, "data") == derive_seed(0, "data")
    True
    >>> derive_seed(0, "ab", "cd") == derive_seed(0, "abcd")
    False
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a CPU generator for one purpose (see `derive_seed`)."""
    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


@contextmanager
def preserved_random_state(devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Put the random states of Python, NumPy and torch back on exit, also after an exception.

    Args:
        devices: accelerator devices whose states are kept as well; the CPU's always is.
    """
    cuda = sorted({device.index or 0 for device in devices if device.type == "cuda"})
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
