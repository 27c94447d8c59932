"""Where channels are after a tensor is reshaped or its dimensions change places."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from cloudchamber.anatomy.channels.part import Axis


def reshaped(axis: Axis, before: Sequence[int], after: Sequence[int]) -> Axis | None:
    """Return where channels are after a reshape; None if they are split over dimensions.

    >>> reshaped(Axis(1), (5, 8, 4, 4), (5, 128))
    Axis(dim=1, outer=1, inner=16)
    >>> reshaped(Axis(2), (5, 4, 8), (20, 8)), reshaped(Axis(1), (5, 8), (5, 2, 4))
    (Axis(dim=1, outer=1, inner=1), None)
    """
    channels = before[axis.dim] // (axis.outer * axis.inner)
    stride = axis.inner * prod(before[axis.dim + 1 :])
    for dim, size in enumerate(after):
        behind = prod(after[dim + 1 :])
        if stride % behind or size % (stride // behind * channels) or channels * stride > size * behind:
            continue
        inner = stride // behind
        return Axis(dim, size // (inner * channels), inner)
    return None


def permuted(axis: Axis, order: Sequence[int]) -> Axis:
    """Return where channels are when dimension i of the result is `order[i]` of the tensor.

    >>> permuted(Axis(1), (0, 2, 1))
    Axis(dim=2, outer=1, inner=1)
    """
    places = [dim % len(order) for dim in order]
    return Axis(places.index(axis.dim), axis.outer, axis.inner)
