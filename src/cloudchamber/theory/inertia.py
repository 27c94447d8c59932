"""Hessian inertia: how many directions go down, stay level and go up at a point of the loss landscape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, jacrev, vjp, vmap

from cloudchamber._core.errors import require
from cloudchamber.theory.criticality import Loss, Parameters, exact

_PROBES = 10


@dataclass(frozen=True)
class Inertia:
    """Numbers of negative, zero and positive eigenvalues of a symmetric matrix.

    Attributes:
        negative: how many are below −tolerance; at least so many if not `certain`.
        zero: how many lie within the tolerance; at most so many if not `certain`.
        positive: how many are above the tolerance; at least so many if not `certain`.
        tolerance: what counts as zero, in the units of the eigenvalues.
        gap: (largest |λ| counted as zero, smallest |λ| counted as not): the clearer apart, the surer the counts.
        certain: whether the counts are those of the whole matrix.
        eigenvalues: those that were computed, ascending: all of them for a dense matrix.
    """

    negative: int
    zero: int
    positive: int
    tolerance: float
    gap: tuple[float, float]
    certain: bool
    eigenvalues: Float[Tensor, " e"]

    def at_least(self, narrow: Inertia) -> bool:
        """Whether no count is less than that of another: what the embedding principle says of wide and narrow.

        Source: overview2025, Section 6.2; Zhang et al. (2022).
        """
        return self.negative >= narrow.negative and self.zero >= narrow.zero and self.positive >= narrow.positive


def hessian_inertia(loss: Loss, theta: Parameters, *, relative_zero: float = 1e-9) -> Inertia:
    """Return the inertia of the Hessian `∂²R/∂θ²`, from all its eigenvalues.

    Args:
        loss: R, of parameters (P,), one number, twice differentiable.
        theta: (P,), θ; takes P² numbers of memory and P³ of time.
        relative_zero: eigenvalues within this part of the largest |λ| count as zero. At a point whose gradient norm is
            ε, eigenvalues of size ε are not known: polish it first.

    Returns:
        The counts; for a Hessian that holds NaN or infinity not certain, with a tolerance of NaN.

    Raises:
        InvalidInput: if `theta` is not a floating-point vector, or `relative_zero` is not in (0, 1).

    Source: overview2025, Section 6.2.

    >>> inertia = hessian_inertia(lambda theta: theta[0] ** 2 - theta[1] ** 2, torch.zeros(3))
    >>> inertia.negative, inertia.zero, inertia.positive
    (1, 1, 1)
    """
    _require_part(relative_zero)
    matrix = jacrev(grad(loss))(exact(theta))
    if not matrix.isfinite().all():
        return _unknown(len(matrix))
    return _counted(torch.linalg.eigvalsh(_symmetric(matrix)), 0, relative_zero, certain=True)


def hessian_inertia_by_products(
    loss: Loss,
    theta: Parameters,
    *,
    relative_zero: float = 1e-9,
    most: int = 500,
    block: int = 8,
    seed: int = 0,
) -> Inertia:
    """Return the inertia of the Hessian from products with vectors: for networks whose Hessian fits no memory.

    Block Lanczos with full orthogonalisation gathers the part of the Hessian that is not zero. Its Ritz values give
    lower bounds on the numbers of negative and positive eigenvalues (Cauchy interlacing), which always hold up to
    rounding. The counts are `certain` once the Hessian couples the gathered space to nothing, and all but vanishes on
    its complement: `‖H_rest‖ ≤ 10 √(2/π) max_i ‖H_rest ω_i‖` for 10 random ω, but for a chance of 1e-10 (Halko,
    Martinsson and Tropp 2011, Lemma 4.1), with both together below the tolerance, and closer to it than any Ritz value.

    Args:
        loss: as in `hessian_inertia`.
        theta: (P,), θ.
        relative_zero: as in `hessian_inertia`; relative to the largest |λ| found.
        most: at most so many vectors of length P are held; counts become certain only if the Hessian's rank is less.
        block: how many products are taken at a time.
        seed: of the first vectors and the probes.

    Returns:
        The counts, or bounds on them; for a Hessian that holds NaN or infinity as `hessian_inertia`.

    Raises:
        InvalidInput: if `theta` is not a floating-point vector, or an option is out of its range.

    Source: overview2025, Section 6.2.

    >>> inertia = hessian_inertia_by_products(lambda theta: theta[0] ** 2 - theta[1] ** 2, torch.zeros(30))
    >>> inertia.negative, inertia.zero, inertia.positive, inertia.certain
    (1, 28, 1, True)
    """
    _require_part(relative_zero)
    require(min(most, block) >= 1, "`most` and `block` are at least 1", (most, block), "use 500 and 8")
    point = exact(theta)
    pull = vjp(grad(loss), point)[1]
    products = vmap(lambda vector: pull(vector)[0])
    generator = torch.Generator().manual_seed(seed)
    held, ritz = min(most, len(point)), point[:0]
    basis, images = point.new_zeros(0, len(point)), point.new_zeros(0, len(point))
    new, certain = _orthonormal(_random(block, point, generator), basis, 0.0), False
    while not certain and len(basis) < held:
        new = new[: held - len(basis)]
        basis, images = torch.cat([basis, new]), torch.cat([images, products(new)])
        if not images[-1].isfinite().all():
            return _unknown(len(point))
        ritz = torch.linalg.eigvalsh(_symmetric(basis @ images.T))
        negligible = relative_zero * float(ritz.abs().max())
        new = _orthonormal(images[-len(new) :], basis, 1e-3 * negligible)
        if not len(new):
            probes = products(_apart(_random(_PROBES, point, generator), basis))
            left = _left(basis, images, probes)
            certain = left <= negligible and left <= float((ritz.abs() - negligible).abs().min())
            new = _orthonormal(probes, basis, 0.0)
    complete = certain or len(basis) == len(point)
    return _counted(ritz, len(point) - len(basis), relative_zero, certain=complete)


def _require_part(relative_zero: float) -> None:
    require(0 < relative_zero < 1, "`relative_zero` is in (0, 1)", relative_zero, "use 1e-9")


def _unknown(size: int) -> Inertia:
    """What is known of a matrix that is not finite."""
    return Inertia(0, size, 0, math.nan, (math.nan, math.nan), False, torch.full((size,), torch.nan))


def _random(count: int, like: Tensor, generator: torch.Generator) -> Tensor:
    rows = torch.randn(min(count, len(like)), len(like), generator=generator, dtype=like.dtype)
    return rows.to(like.device)


def _apart(rows: Tensor, basis: Tensor) -> Tensor:
    """What the basis does not hold of the rows; twice, since once leaves rounding."""
    for _ in range(2):
        rows = rows - (rows @ basis.T) @ basis
    return rows


def _orthonormal(rows: Tensor, basis: Tensor, negligible: float) -> Tensor:
    """An orthonormal basis of what the rows add to the basis, beyond what is negligible."""
    _, strengths, directions = torch.linalg.svd(_apart(rows, basis), full_matrices=False)
    kept = strengths > max(negligible, 1e-14 * float(rows.norm()))
    return torch.linalg.qr(_apart(directions[kept], basis).T).Q.T


def _left(basis: Tensor, images: Tensor, probes: Tensor) -> float:
    """A bound on the spectral norm of what the matrix is beyond the space gathered, itself and its coupling to it."""
    coupling = float(_apart(images, basis).norm())
    rest = float(torch.linalg.vector_norm(_apart(probes, basis), dim=1).max())
    return coupling + 10 * math.sqrt(2 / math.pi) * rest


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2


def _counted(values: Tensor, missing: int, relative_zero: float, *, certain: bool) -> Inertia:
    """Count eigenvalues; `missing` ones are known to be zero, or not known."""
    size = values.abs()
    tolerance = relative_zero * float(size.max())
    level = size <= tolerance
    inner = float(size[level].max()) if level.any() else 0.0
    outer = float(size[~level].min()) if not level.all() else math.inf
    negative, positive = int((values < -tolerance).sum()), int((values > tolerance).sum())
    zero = len(values) + missing - negative - positive
    return Inertia(negative, zero, positive, tolerance, (inner, outer), certain, values)
