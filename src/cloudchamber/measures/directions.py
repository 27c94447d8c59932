"""Common directions: along which the weights of a layer change, over all samples and steps.

A sample changes the weights by `ΔW = −η G_xᵀX_x`. The direction C that fits the changes of all samples best, `ΔWᵀ = ΔV
Cᵀ + Δε` with the smallest `Σ ‖Δε‖²_F`, is the leading eigenvector of a matrix of the layer's width, which adds up over
samples and steps: `gradient_moment`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.measures.eigen import oriented, top_eigenpairs
from cloudchamber.measures.factors import Direction, power_of_two, unit_direction
from cloudchamber.measures.vectors import as_matrix, wide


@dataclass(frozen=True)
class CommonDirections:
    """Orthonormal directions, the leading one first.

    Attributes:
        vectors: (k, h), C_1 … C_k as rows; of each the first entry that is as large as any is positive. NaN for
            directions beyond the rank of the changes.
        strengths: (k,), the root of the sum of squares of all changes along each: the singular values of all
            gradients side by side. NaN where the direction is.
        shares: (k,), the part of all squares that lies along each, in [0, 1].

    >>> common_directions(torch.diag(torch.tensor([9.0, 16.0])), 2).strengths
    tensor([4., 3.])
    """

    vectors: Float[Tensor, "k h"]
    strengths: Float[Tensor, " k"]
    shares: Float[Tensor, " k"]


def common_directions(
    moment: Float[Tensor, "h h"], count: int = 1, *, primary: Direction | None = None
) -> CommonDirections:
    """Return the orthonormal directions that fit the weight changes best, from their second moment.

    C_1 minimises `Σ_t Σ_x ‖ΔW_xᵀ − ΔV_x C_1ᵀ‖²_F`; C_2 does the same for what C_1 leaves, and so on: the leading
    eigenvectors of the moment.

    Args:
        moment: (h, h), the sum of `gradient_moment` over steps, or of `ΔW̄ ΔW̄ᵀ` over steps (mlp2024, Appendix F).
        count: how many directions, from 1 to h.
        primary: (h,), a direction to take for C_1, of any length and with its sign; the others fit what it leaves.

    Returns:
        The directions, in the precision of `moment` (at least float32). NaN beyond the rank of the moment, and all
        NaN if a NaN or infinity enters or `primary` is zero.

    Raises:
        InvalidInput: if `moment` is not a square floating-point matrix, or `count` or `primary` do not fit it.

    Source: mlp2024, Lemma 1 and Appendix F.

    >>> common_directions(torch.tensor([[5.0, 4.0], [4.0, 5.0]])).vectors
    tensor([[0.7071, 0.7071]])
    >>> common_directions(torch.tensor([[5.0, 4.0], [4.0, 5.0]]), 2, primary=torch.tensor([0.0, -2.0])).vectors
    tensor([[ 0., -1.],
            [ 1.,  0.]])
    """
    matrix = as_matrix(moment, "moment")
    _require_square(matrix, count)
    exact = wide(matrix)
    if primary is None:
        values, vectors = top_eigenpairs(exact, count)
        return _directions(values, vectors, exact.trace(), matrix)
    values, vectors = _beside(exact, count, primary)
    return _directions(values, vectors, exact.trace(), matrix, given=1)


def common_directions_of_rows(rows: Float[Tensor, "N h"], count: int = 1) -> CommonDirections:
    """Return the orthonormal directions that fit the weight changes best, from `gradient_rows`.

    The same as `common_directions(rowsᵀ rows, count)`, through the smaller of the two Gram matrices.

    Args:
        rows: (N, h), `gradient_rows` of all steps below each other.
        count: how many directions, from 1 to h.

    Returns:
        The directions: float64 for float64 rows, float32 otherwise. All NaN if a NaN or infinity enters, and if all
        rows are zero.

    Raises:
        InvalidInput: if `rows` is not a floating-point matrix, or `count` is out of its range.

    Source: mlp2024, Lemma 1, in closed form.

    >>> common_directions_of_rows(torch.tensor([[5.0, -5.0, 0.0]])).vectors
    tensor([[ 0.7071, -0.7071,  0.0000]])
    """
    matrix = as_matrix(rows, "rows")
    _require_count(count, matrix.shape[1])
    scale = power_of_two(matrix)
    exact = wide(matrix) / scale
    few = min(count, len(exact))
    if len(exact) >= exact.shape[1] or not few:
        values, vectors = top_eigenpairs(exact.T @ exact, count)
    else:
        values, left = top_eigenpairs(exact @ exact.T, few)
        values, vectors = _filled(values, oriented(torch.linalg.qr(exact.T @ left).Q), count)
    return _directions(values * scale * scale, vectors, exact.square().sum() * scale * scale, matrix)


def _require_count(count: int, size: int) -> None:
    require(
        1 <= count <= size, f"`count` is from 1 to the number of neurons, {size}", count, "ask for fewer directions"
    )


def _require_square(matrix: Tensor, count: int) -> None:
    square = matrix.shape[0] == matrix.shape[1]
    require(square, "`moment` is square", tuple(matrix.shape), "pass what `gradient_moment` returns")
    _require_count(count, len(matrix))


def _beside(moment: Tensor, count: int, primary: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenpairs of what a given first direction leaves, with that direction before them."""
    first = unit_direction(primary, len(moment), torch.float64)[0].to(moment.device)
    values, vectors = (first @ moment @ first)[None], first[:, None]
    if count > 1:
        apart = torch.eye(len(moment), dtype=torch.float64, device=moment.device) - torch.outer(first, first)
        more = top_eigenpairs(apart @ moment @ apart, count - 1)
        values, vectors = torch.cat([values, more[0]]), torch.cat([vectors, apart @ more[1]], 1)
    return values, vectors


def _filled(values: Tensor, vectors: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The same, up to `count` of them, the ones that are missing unknown."""
    missing = count - len(values)
    more = vectors.new_full((len(vectors), missing), torch.nan)
    return torch.cat([values, values.new_zeros(missing)]), torch.cat([vectors, more], 1)


def _directions(values: Tensor, vectors: Tensor, total: Tensor, like: Tensor, given: int = 0) -> CommonDirections:
    """Leave those unknown that rounding alone may have made, except the `given` first ones."""
    known = values > len(vectors) * torch.finfo(torch.float64).eps * values.amax()
    known[:given] = True
    vectors, strengths = torch.where(known, vectors, torch.nan), torch.where(known, values, torch.nan).sqrt()
    return CommonDirections(vectors.T.contiguous().to(like), strengths.to(like), (values / total).to(like))
