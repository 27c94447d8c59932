"""How an ensemble is cut into chunks: a function of the ensemble alone, so that its result is, too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from cloudchamber.training.ensemble.layout import Layout

_CACHE = 2**21
"""Bytes that an activation or the parameters of all members of a chunk may take: a second-level cache of 2 MiB."""
_FEWEST = 8
"""Members of a chunk that does not fit: with fewer, the calls themselves take the time."""


def chunk_size(activation: int, layout: Layout, dtype: torch.dtype) -> int:
    """Return how many members train together: as many as keep their activations and parameters in the cache.

    Args:
        activation: numbers in the largest activation of one member.
        layout: of the parameters.
        dtype: of both.

    >>> from torch import nn
    >>> chunk_size(80 * 50, Layout.of(nn.Sequential(nn.Linear(5, 50), nn.Linear(50, 1))), torch.float32)
    131
    """
    return max(_FEWEST, _CACHE // (max(activation, layout.size) * dtype.itemsize))


def split(members: int, size: int) -> Sequence[Int[Tensor, " k"]]:
    """Return the members of each chunk: as few chunks as possible, of sizes that differ by one at most.

    >>> [len(chunk) for chunk in split(10, 4)]
    [4, 3, 3]
    """
    return torch.arange(members).tensor_split(-(-members // size))
