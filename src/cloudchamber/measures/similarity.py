"""How similar the directions of many vectors are.

Zero vectors have no direction: their pairs have no cosine (NaN) and are left out of every mean; a mean over
no pairs is NaN. A vector that holds NaN or infinity makes every mean it enters NaN.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import CosineMatrix, Labels, Scalar, Vectors
from cloudchamber.measures.partials import mean_cosine_of
from cloudchamber.measures.vectors import as_matrix, product, require_labels, unit_rows

_BLOCK_DISTANCE = 0.1


def mean_cosine(vectors: Vectors) -> Scalar:
    """Return the mean cosine over all pairs of different vectors, in O(nd).

    `E_{x≠x'} cos(v_x, v_x') = (‖Σ_x v̂_x‖² − n) / (n² − n)`, where v̂ are the n vectors that are not zero,
    divided by their lengths. On the features of a layer this is the feature similarity of mlp2024.

    Args:
        vectors: (n, d), one row per sample.

    Returns:
        A number in [−1, 1]: float64 for float64 vectors, float32 otherwise. NaN for fewer than two vectors
        that are not zero, and if any entry is NaN or infinite.

    Raises:
        InvalidInput: if `vectors` is not a floating-point matrix with at least one column.

    Source: mlp2024, Section 2 and Figure 2(a).

    >>> mean_cosine(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]))  # cosines 1, 0 and 0
    tensor(0.3333)
    """
    return mean_cosine_of(as_matrix(vectors, "vectors"))


def within_class_cosine(vectors: Vectors, labels: Labels) -> Scalar:
    """Return the mean over the classes of the mean cosine within each class, in O(nd).

    `E_c E_{x≠x' in class c} cos(v_x, v_x')`. Every class counts the same, however many samples it has;
    classes with fewer than two vectors that are not zero are left out. On the gradients of the loss by a
    layer's features this is the gradient similarity of mlp2024. Without classes (regression), pass the same
    label for all samples: the result is then `mean_cosine`.

    Args:
        vectors: (n, d), one row per sample.
        labels: (n,), the class of each sample: any whole numbers.

    Returns:
        A number in [−1, 1]: float64 for float64 vectors, float32 otherwise. NaN if every class is left out,
        and if any entry is NaN or infinite in a class that is not.

    Raises:
        InvalidInput: if `vectors` is not a floating-point matrix with at least one column, or `labels` does
            not hold one whole number per row.

    Source: mlp2024, Section 2 and Figure 2(b).

    >>> vectors = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, -1.0]])
    >>> within_class_cosine(vectors, torch.tensor([0, 0, 1, 1]))  # cosine 1 in class 0, −1 in class 1
    tensor(0.)
    """
    rows = as_matrix(vectors, "vectors")
    require_labels(labels, len(rows))
    present, classes = torch.unique(labels, return_inverse=True)
    return mean_cosine_of(rows, classes, len(present))


def cosine_matrix(vectors: Vectors) -> CosineMatrix:
    """Return the cosine of every pair of vectors.

    `D(u, v) = uᵀv / (‖u‖ ‖v‖)`: of features, a heatmap of samples as in mlp2024; of the input weights of a
    layer's neurons, a heatmap of neurons as in zhou2022.

    Args:
        vectors: (n, d).

    Returns:
        (n, n), symmetric, in [−1, 1], with ones on the diagonal; float64 for float64 vectors, float32
        otherwise. The row and the column of a vector that is zero or holds NaN or infinity are NaN, diagonal
        included.

    Raises:
        InvalidInput: if `vectors` is not a floating-point matrix with at least one column.

    Source: zhou2022, Eq. (5); overview2025, Eq. (2); mlp2024, Appendix B.

    >>> cosine_matrix(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]))
    tensor([[ 1.,  0., -1.],
            [ 0.,  1.,  0.],
            [-1.,  0.,  1.]])
    """
    rows = as_matrix(vectors, "vectors")
    unit = unit_rows(rows)
    cosine = product(unit, unit.T)
    cosine = ((cosine + cosine.T) / 2).clamp(-1, 1)
    cosine.diagonal().clamp_(min=1)
    return cosine


def heatmap_order(matrix: CosineMatrix) -> Int[Tensor, " n"]:
    """Return the order of rows in which a heatmap of cosines shows its blocks.

    Rows along one line come together: the leaves of an average-linkage tree with distance `1 − |cos|`,
    similar neighbours side by side. Within a block (mean distance up to 0.1) those that point one way come
    before those that point the other way, so a line condensed in both directions is a 2 × 2 pattern of signs.

    Args:
        matrix: (n, n), as `cosine_matrix` returns it; at most a few hundred rows.

    Returns:
        (n,), a permutation on the device of `matrix`; the same matrix always gives the same one. Rows without
        a direction (NaN on the diagonal) come last, in their order.

    Raises:
        InvalidInput: if `matrix` is not square.

    Source: the blocks are those of zhou2022, Section 4.2 and Figures 2–4, which do not say how they are ordered.

    >>> lines = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    >>> heatmap_order(cosine_matrix(lines)).tolist()
    [1, 3, 0, 4, 2]
    """
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    require(square, "a cosine matrix is square", tuple(matrix.shape), "pass what `cosine_matrix` returns")
    cosine = matrix.detach().double().cpu().numpy()
    known = np.flatnonzero(~np.isnan(cosine.diagonal()))
    unknown = np.flatnonzero(np.isnan(cosine.diagonal()))
    order = known[_block_order(cosine[np.ix_(known, known)])] if len(known) > 1 else known
    return torch.from_numpy(np.concatenate([order, unknown])).to(matrix.device)


def _block_order(cosine: np.ndarray) -> np.ndarray:
    distance = 1 - np.abs((cosine + cosine.T) / 2)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False).clip(0), method="average", optimal_ordering=True)
    leaves, block = leaves_list(tree), fcluster(tree, _BLOCK_DISTANCE, criterion="distance")
    rank = {name: place for place, name in enumerate(dict.fromkeys(block[leaves]))}
    guide = {block[leaf]: leaf for leaf in leaves}
    return np.array(sorted(leaves, key=lambda leaf: (rank[block[leaf]], cosine[guide[block[leaf]], leaf] < 0)))
