"""Neural collapse, as a point of comparison: condensation is not that features collapse onto their class means."""

from __future__ import annotations

import torch

from cloudchamber._core.types import Labels, Scalar, Vectors
from cloudchamber.measures.vectors import as_matrix, require_labels, wide


def within_between_variability(features: Vectors, labels: Labels) -> Scalar:
    """Return NC1, the variability of features within their classes relative to that between the classes.

    `tr(Σ_W Σ_B⁺) / K` with `Σ_W = E_c E_{x in c} (F_x − μ_c)(F_x − μ_c)ᵀ` and `Σ_B = E_c (μ_c − μ)(μ_c − μ)ᵀ`, μ_c
    the mean of class c and μ that of the K class means: every class counts the same. From the singular vectors of the
    class means, in O(ndK); no d×d matrix is formed. 0 if the features of each class are one point.

    Args:
        features: (n, d), F.
        labels: (n,), the class of each sample: any whole numbers.

    Returns:
        A number from 0 to infinity, computed in float64: float64 for float64 features, float32 otherwise. Directions
        in which the class means differ by rounding only do not count. NaN for fewer than two classes, if all class
        means are equal, and where a NaN or infinity enters.

    Raises:
        InvalidInput: if `features` is not a floating-point matrix with at least one column, or `labels` does not hold
            one whole number per row.

    Source: Papyan, Han and Donoho (2020), NC1; mlp2024, Appendix A, on the difference.

    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> within_between_variability(torch.tensor([[1.0], [3.0], [-1.0], [-3.0]]), labels)  # 1 / 4 / 2
    tensor(0.1250)
    """
    rows = as_matrix(features, "features")
    require_labels(labels, len(rows))
    exact, (present, index, counts) = wide(rows), torch.unique(labels, return_inverse=True, return_counts=True)
    if len(present) < 2 or not bool(exact.isfinite().all()):
        return rows.new_tensor(torch.nan)
    means = exact.new_zeros(len(present), exact.shape[1]).index_add_(0, index, exact) / counts[:, None]
    rest = exact - means[index]
    _, sizes, directions = torch.linalg.svd(means - means.mean(0), full_matrices=False)
    known = sizes > 8 * max(means.shape) * torch.finfo(torch.float64).eps * means.abs().amax()
    known[len(present) - 1 :] = False
    if not bool(known.any()):
        return rows.new_tensor(torch.nan)
    along = (rest @ directions[known].T / sizes[known]).square().sum(1)
    return (along / counts[index]).sum().div(len(present)).to(rows)
