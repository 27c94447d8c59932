"""Mean cosines in two parts: what must be taken where the vectors are, and the rest, which can wait.

The first part costs a few operations beside a training step. What it leaves behind is small, a sum of vectors and their
lengths, so that the partials of many layers and steps can be kept, stacked and finished at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber.measures.vectors import lengths, product

Partial = tuple[Tensor, ...]

_SAFE = 1e-15
"""Between this length and its inverse squares of float32 are exact enough."""


def cosine_partial(
    vectors: Float[Tensor, "n ..."], classes: Int[Tensor, " n"] | None = None, count: int = 0
) -> Partial:
    """Return what a mean cosine needs to know of many vectors: `Σ_x v̂_x`, of each class where there are any, and ‖v_x‖.

    Partials of parts of the vectors make one of all: the sums add up, the rest comes one after the other.

    Args:
        vectors: (n, ...), one vector per sample, flattened; they may be part of a graph, which stays as it is.
        classes: (n,), the class of each vector, from 0 to `count` − 1; without it all vectors are one class.
        count: number of classes.

    Returns:
        (d,) or (count, d) the sums, float64 for float64 vectors and float32 otherwise; (n,) the lengths, in float64;
        and the classes, where there are any. Partials of equal shapes can be stacked along new leading dimensions.

    Source: mlp2024, Section 2, in O(nd).

    >>> cosine_partial(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    (tensor([0.6000, 0.8000]), tensor([5., 0.], dtype=torch.float64))
    """
    rows = vectors.detach().flatten(1)
    if rows.dtype not in (torch.float32, torch.float64):
        rows = rows.to(torch.float32)
    length = lengths(rows)
    inverse = torch.threshold(length, _shortest(rows.dtype), math.inf).reciprocal().to(rows.dtype)
    if classes is None:
        return product(inverse, rows), length
    add = _sums_by_index if rows.device.type == "cpu" else _sums_by_product
    return add(rows * inverse[:, None], classes, count), length, classes


def cosine_partials(
    vectors: Sequence[Float[Tensor, "n ..."]], classes: Int[Tensor, " n"] | None = None, count: int = 0
) -> list[Partial]:
    """Return `cosine_partial` of many tensors of the same samples, with few operations: two per tensor where it can.

    That is on a CPU in float32, for lengths whose squares neither overflow nor vanish there; the others are done one
    by one.

    Args:
        vectors: each (n, ...).
        classes: (n,), as `cosine_partial` takes them.
        count: number of classes.

    >>> [sums.tolist() for sums, length in cosine_partials([torch.eye(2), torch.ones(2, 1)])]
    [[1.0, 1.0], [2.0]]
    """
    rows = [tensor.detach().flatten(1) for tensor in vectors]
    if not rows or any(row.dtype != torch.float32 or row.device.type != "cpu" or not row.numel() for row in rows):
        return [cosine_partial(row, classes, count) for row in rows]
    length = torch.stack([torch.linalg.vector_norm(row, dim=1) for row in rows])
    low, high = (part.tolist() for part in torch.aminmax(length, dim=1))
    weights = length.reciprocal()
    if classes is not None:
        member = torch.arange(count)[:, None] == classes
        weights = weights[:, None] * member.to(weights.dtype)
    ends = () if classes is None else (classes,)
    return [
        (product(weight, row), one, *ends) if low > _SAFE and high < 1 / _SAFE else cosine_partial(row, classes, count)
        for row, weight, one, low, high in zip(rows, weights.unbind(), length.double().unbind(), low, high, strict=True)
    ]


def finished_cosine(
    sums: Float[Tensor, "... d"], length: Float[Tensor, "*m n"], classes: Int[Tensor, "*m n"] | None = None
) -> Float[Tensor, "*m"]:
    """Return the mean cosine over all pairs of different vectors, or over those of a class averaged over the classes.

    `(‖Σ_x v̂_x‖² − n) / (n² − n)`, where n counts the vectors that are not zero.

    Args:
        sums: (..., d), or (..., k, d) with classes: the first part of `cosine_partial`, stacked or not.
        length: (..., n), its second part.
        classes: (..., n), its third part.

    Returns:
        (...), in [−1, 1], in the precision of the sums. NaN without a pair, and where a NaN or infinity entered a
        class that has one.

    Source: mlp2024, Section 2.

    >>> finished_cosine(*cosine_partial(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])))
    tensor(0.3333)
    """
    squares = sums.square().sum(-1)
    known, broken = ~(length <= _shortest(squares.dtype)), ~length.isfinite()
    if classes is None:
        return _pair_mean(squares, known.sum(-1), broken.any(-1))
    empty = torch.zeros(squares.shape, dtype=torch.int64, device=squares.device)
    counts, lost = (empty.scatter_add(-1, classes, part.to(torch.int64)) for part in (known, broken))
    paired = counts > 1
    return torch.where(paired, _pair_mean(squares, counts, lost > 0), 0).sum(-1) / paired.sum(-1)


def _shortest(dtype: torch.dtype) -> float:
    """The largest length of a vector that has no direction."""
    return math.nextafter(torch.finfo(dtype).tiny, 0)


def _pair_mean(squares: Tensor, counts: Tensor, broken: Tensor) -> Tensor:
    """Mean cosine over pairs, from the squared sum and the number of unit vectors, both (...); NaN without a pair."""
    mean = (squares - counts) / (counts * counts - counts)
    return torch.where((counts > 1) & ~broken, mean.clamp(-1, 1), torch.nan)


def _sums_by_index(unit: Tensor, classes: Tensor, count: int) -> Tensor:
    return unit.new_zeros(count, unit.shape[1]).index_add_(0, classes, unit)


def _sums_by_product(unit: Tensor, classes: Tensor, count: int) -> Tensor:
    """The same on accelerators, where `index_add_` is not reproducible. A NaN would enter every class."""
    member = torch.arange(count, device=classes.device)[:, None] == classes
    return product(member.to(unit.dtype), unit.nan_to_num(0, 0, 0))
