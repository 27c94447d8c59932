"""The leading eigenvectors of Gram matrices, in float64: in float32 LAPACK fails on matrices of low rank.

Where a few directions dominate, as they do while features condense, and in wide layers, subspace iteration takes a
fraction of the time of a full decomposition. Before each orthonormalization it applies a Chebyshev polynomial, which
stays within ±1 on the eigenvalues beyond the block and grows as fast as any above them. What it finds is kept only if
it satisfies the eigenvalue equation to rounding; otherwise LAPACK decides.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from scipy.linalg import eigh
from torch import Tensor

from cloudchamber.measures.factors import power_of_two
from cloudchamber.measures.vectors import product, wide

_SMALL = 64
_SAFE = 1e-100
_COLUMNS = 12
_SPARE = 4
_RESIDUAL = 1e-14
_GROWTH = 1e6
_FEWEST_PRODUCTS = 24
_PRODUCTS_PER_NEURON = 1 / 4
_WIDE = 1024


def top_eigenpairs(gram: Float[Tensor, "h h"], count: int) -> tuple[Float[Tensor, " k"], Float[Tensor, "h k"]]:
    """Return the largest eigenvalues of a positive semidefinite matrix, falling, and unit eigenvectors as columns.

    Both in float64 (on the CPU where the device has none). Of each vector the first entry that is as large as any is
    positive. A matrix that holds NaN or infinity has unknown eigenvectors: NaN.

    >>> top_eigenpairs(torch.tensor([[2.0, 0.0], [0.0, 3.0]]), 1)
    (tensor([3.], dtype=torch.float64), tensor([[0.],
            [1.]], dtype=torch.float64))
    """
    matrix = wide(gram)
    scale = power_of_two(matrix)
    if not math.isfinite(scale):
        return matrix.new_full((count,), torch.nan), matrix.new_full((len(matrix), count), torch.nan)
    scale = 1.0 if _SAFE < scale < 1 / _SAFE else scale
    values, vectors = _pairs(matrix if scale == 1 else matrix / scale, count)
    return values.clamp(min=0) * scale, oriented(vectors)


def top_singular(matrix: Float[Tensor, "a b"]) -> tuple[Float[Tensor, " a"], Float[Tensor, " b"]]:
    """Return the leading left and right singular vectors u, v, in float64, with `uᵀ M v ≥ 0`; NaN for M = 0."""
    exact = wide(matrix)
    if not exact.numel():
        return exact.new_full((len(exact),), torch.nan), exact.new_full((exact.shape[1],), torch.nan)
    if len(exact) > exact.shape[1]:
        right, left = top_singular(exact.T)
        return left, right
    values, vectors = top_eigenpairs(exact @ exact.T, 1)
    left = torch.where(values > 0, vectors[:, 0], torch.nan)
    right = exact.T @ left
    return left, right / torch.linalg.vector_norm(right)


def oriented(vectors: Float[Tensor, "h k"]) -> Float[Tensor, "h k"]:
    """Return the columns with signs such that the first entry that is as large as any (to 1e-6) is positive."""
    size = vectors.abs()
    first = (size >= (1 - 1e-6) * size.amax(0)).to(torch.uint8).argmax(0)
    sign = torch.where(vectors.gather(0, first[None]) < 0, -1, 1)
    return vectors * sign


def _pairs(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    found = _iterated(matrix, count) if len(matrix) > _SMALL + 4 * count else None
    return found or _decomposed(matrix, count)


def _decomposed(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """By LAPACK: all eigenpairs by torch; some of a wide matrix by SciPy, whose threads cost torch's some ms."""
    h = len(matrix)
    if count < h and h > _WIDE and matrix.device.type == "cpu":
        found = eigh(matrix.numpy(), subset_by_index=(h - count, h - 1), check_finite=False)
        values, vectors = (torch.from_numpy(part) for part in found)
    else:
        values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0)[:count], vectors.flip(1)[:, :count]


def _iterated(matrix: Tensor, count: int) -> tuple[Tensor, Tensor] | None:
    """By subspace iteration; None as soon as LAPACK is expected to be faster."""
    block, products = _start(matrix, count), 3
    most = max(_FEWEST_PRODUCTS, _PRODUCTS_PER_NEURON * len(matrix))
    while True:
        image = product(matrix, block)
        values, turn = (part.flip(-1) for part in torch.linalg.eigh(product(block.T, image)))
        wanted, turn = values[:count], turn[:, :count]
        vectors = product(block, turn)
        residual = torch.linalg.vector_norm(product(image, turn) - vectors * wanted, dim=0)
        if bool((residual <= _RESIDUAL * wanted[0]).all()):
            return wanted, vectors
        bound = max(float(values[-1]), 1e-6 * float(values[0]))
        if products + _products_needed(float(wanted[-1]) / bound) > most:
            return None
        degree = max(2, int(math.log(_GROWTH) / _log_growth(float(values[0]) / bound)))
        block = torch.linalg.qr(_filtered(matrix, block, bound, degree)).Q
        products += degree + 1


def _start(matrix: Tensor, count: int) -> Tensor:
    """A random block after two products; of 12 columns or 24, which MKL multiplies faster than of numbers between."""
    columns = _COLUMNS * -(-(count + _SPARE) // _COLUMNS)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(len(matrix), columns, generator=generator, dtype=torch.float64).to(matrix.device)
    return torch.linalg.qr(product(matrix, product(matrix, start))).Q


def _log_growth(ratio: float) -> float:
    """By how much each degree of the polynomial grows an eigenvalue that is `ratio` times the bound, as a logarithm."""
    return math.acosh(2 * ratio - 1) if ratio > 1 else 0.0


def _products_needed(ratio: float) -> float:
    """How many products make what is beyond the block vanish beside an eigenvalue that is `ratio` times its bound."""
    growth = _log_growth(ratio)
    return -math.log(_RESIDUAL) / growth if growth else math.inf


def _filtered(matrix: Tensor, block: Tensor, bound: float, degree: int) -> Tensor:
    """The Chebyshev polynomial T of a degree, `T(2M/bound − 1) B`, by its recursion `T_{i+1} = 2x T_i − T_{i−1}`."""
    twice = matrix * (4 / bound)
    twice.diagonal().sub_(2)
    before, now = block, product(twice, block) / 2
    for _ in range(degree - 1):
        before, now = now, product(twice, now) - before
    return now
