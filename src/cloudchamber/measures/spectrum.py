"""Along how many directions vectors spread."""

from __future__ import annotations

import torch
from torch import Tensor

from cloudchamber._core.types import Scalar, Vectors
from cloudchamber.measures.vectors import as_matrix, wide


def effective_rank(vectors: Vectors) -> Scalar:
    """Return the effective rank: the exponential of the entropy of the singular values.

    `erank(V) = exp(−Σ_i p_i log p_i)` with `p_i = σ_i / Σ_j σ_j` over the singular values σ of V, not
    centred. It is 1 if all vectors lie on one line and r if they spread evenly over r directions. Computed in
    float64 from the smaller of the two Gram matrices, in O(nd·min(n, d)). Singular values that a Gram matrix
    cannot tell from zero, those up to `σ_1·√(2⁻⁵²·max(n, d))`, count as zero.

    Args:
        vectors: (n, d), one row per sample.

    Returns:
        A number in [1, min(n, d)], as float64 for float64 vectors and float32 otherwise. NaN if all vectors
        are zero, if there are none, and if any entry is NaN or infinite.

    Raises:
        InvalidInput: if `vectors` is not a floating-point matrix with at least one column.

    Source: roy2007, the definition of the effective rank.

    >>> effective_rank(torch.diag(torch.tensor([2.0, 2.0, -2.0, 0.0])))
    tensor(3.)
    """
    rows = as_matrix(vectors, "vectors").detach()
    largest = rows.abs().amax() if len(rows) else rows.new_zeros(())
    if not (0 < largest < torch.inf):
        return rows.new_tensor(torch.nan)
    share = _singular_values(rows / largest)
    share = share / share.sum()
    return torch.special.entr(share).sum().exp().clamp(min=1).to(rows)


def _singular_values(rows: Tensor) -> Tensor:
    exact = wide(rows)
    gram = exact @ exact.T if len(exact) < exact.shape[1] else exact.T @ exact
    squares = torch.linalg.eigvalsh(gram)
    noise = max(rows.shape) * torch.finfo(torch.float64).eps * squares[-1]
    return torch.where(squares > noise, squares, 0).sqrt()
