"""The leading eigenvectors of Gram matrices, in float64: in float32 LAPACK fails on matrices of low rank.

Where one or a few directions dominate, as they do while features condense, subspace iteration finds them in a
fraction of the time of a full decomposition. Whether they dominate shows after two rounds; what it finds is kept only
if it satisfies the eigenvalue equation to rounding.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from scipy.linalg import eigh
from torch import Tensor

from cloudchamber.measures.factors import scaled
from cloudchamber.measures.vectors import product, wide

_SMALL = 64
_EXTRA = 8
_ROUNDS = 12
_RESIDUAL = 1e-14


def top_eigenpairs(gram: Float[Tensor, "h h"], count: int) -> tuple[Float[Tensor, " k"], Float[Tensor, "h k"]]:
    """Return the largest eigenvalues of a positive semidefinite matrix, falling, and unit eigenvectors as columns.

    Both in float64 (on the CPU where the device has none). Of each vector the first entry that is as large as any is
    positive. A matrix that holds NaN or infinity, or is zero, has unknown eigenvectors: NaN.

    >>> top_eigenpairs(torch.tensor([[2.0, 0.0], [0.0, 3.0]]), 1)
    (tensor([3.], dtype=torch.float64), tensor([[0.],
            [1.]], dtype=torch.float64))
    """
    matrix, scale = scaled(wide(gram))
    if not (scale.isfinite() and matrix.any()):
        value = 0.0 if scale.isfinite() else torch.nan
        return matrix.new_full((count,), value), matrix.new_full((len(matrix), count), torch.nan)
    values, vectors = _pairs(matrix, count)
    return values.clamp(min=0) * scale, oriented(vectors)


def top_singular(matrix: Float[Tensor, "a b"]) -> tuple[Float[Tensor, " a"], Float[Tensor, " b"]]:
    """Return the leading left and right singular vectors u, v, in float64, with `uᵀ M v ≥ 0`; NaN for M = 0."""
    exact = wide(matrix)
    if len(exact) > exact.shape[1]:
        right, left = top_singular(exact.T)
        return left, right
    left = top_eigenpairs(exact @ exact.T, 1)[1][:, 0]
    right = exact.T @ left
    return left, right / torch.linalg.vector_norm(right)


def oriented(vectors: Float[Tensor, "h k"]) -> Float[Tensor, "h k"]:
    """Return the columns with signs such that the first entry that is as large as any (to 1e-6) is positive."""
    size = vectors.abs()
    first = (size >= (1 - 1e-6) * size.amax(0)).to(torch.uint8).argmax(0)
    sign = torch.where(vectors.gather(0, first[None]) < 0, -1, 1)
    return vectors * sign


def _pairs(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    found = _iterated(matrix, count) if len(matrix) > _SMALL + count * _EXTRA else None
    return found or _decomposed(matrix, count)


def _decomposed(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """By LAPACK: all eigenpairs by torch, some of them by SciPy, which torch cannot."""
    h = len(matrix)
    if count < h and matrix.device.type == "cpu":
        found = eigh(matrix.numpy(), subset_by_index=(h - count, h - 1), check_finite=False)
        values, vectors = (torch.from_numpy(part) for part in found)
    else:
        values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0)[:count], vectors.flip(1)[:, :count]


def _iterated(matrix: Tensor, count: int) -> tuple[Tensor, Tensor] | None:
    """By subspace iteration; None if the wanted eigenvalues do not stand out, or it did not converge."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(len(matrix), count + _EXTRA, generator=generator, dtype=torch.float64)
    block = _round(matrix, _round(matrix, start.to(matrix.device)))
    values, _ = _ritz(matrix, block)
    if not (values[-1] / values[count - 1]) ** _ROUNDS <= _RESIDUAL:
        return None
    for _ in range(_ROUNDS - 2):
        block = _round(matrix, block)
    values, vectors = _ritz(matrix, block)
    values, vectors = values[:count], vectors[:, :count]
    residual = torch.linalg.vector_norm(product(matrix, vectors) - vectors * values, dim=0)
    return (values, vectors) if bool((residual <= _RESIDUAL * values[0]).all()) else None


def _round(matrix: Tensor, block: Tensor) -> Tensor:
    return torch.linalg.qr(product(matrix, block)).Q


def _ritz(matrix: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
    """The best eigenpairs within the span of the block, falling."""
    values, turn = torch.linalg.eigh(product(block.T, product(matrix, block)))
    return values.flip(0), product(block, turn.flip(1))
