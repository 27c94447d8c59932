"""Mean cosines in parts: what must be taken where the vectors are, and the rest, which can wait.

The first part costs a few operations beside a training step. What it leaves behind, a sum of unit vectors and how many
there were, adds up over parts of a batch; once it is complete its squared length is enough, so that a few numbers per
layer and step are kept and finished, many at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber.measures.vectors import lengths, product

Partial = tuple[Tensor, ...]

_SAFE = 1e-15
"""Between this length and its inverse squares of float32 are exact enough."""


def cosine_partial(
    vectors: Float[Tensor, "n ..."], classes: Int[Tensor, " n"] | None = None, count: int = 1
) -> Partial:
    """Return what a mean cosine needs to know of many vectors: of each class `Σ_x v̂_x` and how many vectors there are.

    Partials of parts of the vectors add up to that of all.

    Args:
        vectors: (n, ...), one vector per sample, flattened; they may be part of a graph, which stays as it is.
        classes: (n,), the class of each vector, from 0 to `count` − 1; without it all vectors are of class 0.
        count: k, the number of classes.

    Returns:
        (k, d) the sums, float64 for float64 vectors and float32 otherwise; (k,) the numbers of vectors that are not
        zero; (k,) the numbers of those with an entry that is NaN or infinite.

    Source: mlp2024, Section 2, in O(nd).

    >>> cosine_partial(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    (tensor([[0.6000, 0.8000]]), tensor([1]), tensor([0]))
    """
    rows = vectors.detach().flatten(1)
    if rows.dtype not in (torch.float32, torch.float64):
        rows = rows.to(torch.float32)
    length = lengths(rows)
    inverse = torch.threshold(length, _shortest(rows.dtype), math.inf).reciprocal().to(rows.dtype)
    known, broken = ~(length <= _shortest(rows.dtype)), ~length.isfinite()
    if classes is None:
        return product(inverse[None], rows), known.sum()[None], broken.sum()[None]
    add = _sums_by_index if rows.device.type == "cpu" else _sums_by_product
    none = torch.zeros(count, dtype=torch.int64, device=rows.device)
    counts, lost = (none.scatter_add(0, classes, part.to(torch.int64)) for part in (known, broken))
    return add(rows * inverse[:, None], classes, count), counts, lost


def cosine_partials(
    vectors: Sequence[Float[Tensor, "n ..."]],
    by_class: Sequence[Float[Tensor, "n ..."]] = (),
    classes: Int[Tensor, " n"] | None = None,
    count: int = 1,
) -> list[Partial]:
    """Return `cosine_partial` of many tensors of the same samples, with few operations: two per tensor where it can.

    That is on a CPU in float32, for lengths whose squares neither overflow nor vanish there; the others are done one
    by one.

    Args:
        vectors: each (n, ...); all their vectors are one class.
        by_class: each (n, ...); of these the classes are told apart.
        classes: (n,), the class of each sample; without it all are of class 0.
        count: k, the number of classes.

    Returns:
        The partials of `vectors`, then those of `by_class`.

    >>> [sums.tolist() for sums, counts, lost in cosine_partials([torch.eye(2)], [torch.ones(2, 1)])]
    [[[1.0, 1.0]], [[2.0]]]
    """
    rows = [each if each.ndim == 2 else each.flatten(1) for each in (each.detach() for each in (*vectors, *by_class))]
    alike = len(rows) if classes is None else len(vectors)
    if not rows or any(row.dtype != torch.float32 or row.device.type != "cpu" or not row.numel() for row in rows):
        return _one_by_one(rows, alike, classes, count)
    length = torch.stack([torch.linalg.vector_norm(row, dim=1) for row in rows])
    low, high = torch.aminmax(length)
    if low.item() > _SAFE and high.item() < 1 / _SAFE:
        return _with_inverse(rows, length.reciprocal_(), alike, classes, count)
    return _one_by_one(rows, alike, classes, count)


def _one_by_one(rows: Sequence[Tensor], alike: int, classes: Tensor | None, count: int) -> list[Partial]:
    return [
        cosine_partial(row) if number < alike else cosine_partial(row, classes, count)
        for number, row in enumerate(rows)
    ]


def _with_inverse(
    rows: Sequence[Tensor], inverse: Tensor, alike: int, classes: Tensor | None, count: int
) -> list[Partial]:
    """The same from 1/‖v_x‖ (m, n) of the rows."""
    samples, none = inverse.shape[1], _constant(0, 1)
    found = [(product(inverse[n : n + 1], row), _constant(samples, 1), none) for n, row in enumerate(rows[:alike])]
    if classes is None or alike == len(rows):
        return found
    member = _membership(classes, count)
    counts, none = member.sum(1), _constant(0, count)
    each = (inverse[alike:, None] * member).unbind()
    return found + [(product(weights, row), counts, none) for weights, row in zip(each, rows[alike:], strict=True)]


@lru_cache(maxsize=64)
def _constant(value: int, count: int) -> Tensor:
    """A small tensor that many results share, and nobody changes."""
    return torch.full((count,), value, device="cpu")


def shortened(partials: Sequence[Partial]) -> list[Partial]:
    """Return complete partials with the squared length of each sum instead of the sum: (k,) three times.

    >>> shortened([cosine_partial(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))])
    [(tensor([3.6000]), tensor([2]), tensor([0]))]
    """
    alike: dict[tuple[int, torch.dtype], list[int]] = {}
    for number, (sums, *_) in enumerate(partials):
        alike.setdefault((sums.shape[1], sums.dtype), []).append(number)
    short: dict[int, Partial] = {}
    for numbers in alike.values():
        sums = [partials[number][0] for number in numbers]
        squares = torch.cat(sums).square().sum(1).split([len(each) for each in sums])
        short |= {number: (own, *partials[number][1:]) for number, own in zip(numbers, squares, strict=True)}
    return [short[number] for number in range(len(partials))]


def finished_cosine(
    squares: Float[Tensor, "... k"], counts: Int[Tensor, "... k"], lost: Int[Tensor, "... k"]
) -> Float[Tensor, ...]:
    """Return the mean cosine over all pairs of different vectors of a class, averaged over the classes.

    `(‖Σ_x v̂_x‖² − n) / (n² − n)`, where n counts the vectors that are not zero.

    Args:
        squares: (..., k), ‖Σ_x v̂_x‖² of each class, as `shortened` returns it; stacked or not.
        counts: (..., k), n of each class.
        lost: (..., k), how many vectors are not finite.

    Returns:
        (...), in [−1, 1], in the precision of the squares. NaN without a pair, and where a NaN or infinity entered a
        class that has one.

    Source: mlp2024, Section 2.

    >>> vectors = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    >>> finished_cosine(*shortened([cosine_partial(vectors)])[0])
    tensor(0.3333)
    """
    mean = ((squares - counts) / (counts * counts - counts)).clamp(-1, 1)
    paired = counts > 1
    return torch.where(paired, torch.where(lost > 0, torch.nan, mean), 0).sum(-1) / paired.sum(-1)


def mean_cosine_of(
    vectors: Float[Tensor, "n ..."], classes: Int[Tensor, " n"] | None = None, count: int = 1
) -> Float[Tensor, ""]:
    """Return the mean cosine of one set of vectors, at once.

    >>> mean_cosine_of(torch.eye(2))
    tensor(0.)
    """
    return finished_cosine(*shortened([cosine_partial(vectors, classes, count)])[0])


def _membership(classes: Tensor, count: int) -> Tensor:
    """Whether a sample is of a class: (count, n)."""
    return _numbers(count, classes.device) == classes


@lru_cache(maxsize=8)
def _numbers(count: int, device: torch.device) -> Tensor:
    return torch.arange(count, device=device)[:, None]


def _shortest(dtype: torch.dtype) -> float:
    """The largest length of a vector that has no direction."""
    return math.nextafter(torch.finfo(dtype).tiny, 0)


def _sums_by_index(unit: Tensor, classes: Tensor, count: int) -> Tensor:
    return unit.new_zeros(count, unit.shape[1]).index_add_(0, classes, unit)


def _sums_by_product(unit: Tensor, classes: Tensor, count: int) -> Tensor:
    """The same on accelerators, where `index_add_` is not reproducible. A NaN would enter every class."""
    return product(_membership(classes, count).to(unit.dtype), unit.nan_to_num(0, 0, 0))
