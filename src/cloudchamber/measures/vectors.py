"""What the measures share: the precision of statistics, and lengths and directions that are right at any
scale.

Zero vectors have no direction: a pair with one has no cosine and is left out of every mean. A vector that
holds NaN or infinity has a direction nobody knows: it makes what it enters NaN.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Batch, Scalar, Vector, Vectors


def flatten_samples(batch: Batch) -> Tensor:
    """Return one row per sample: (n, ...) becomes (n, d), where d is the product of what follows n.

    Args:
        batch: features, gradients or anything else of n samples, of any further shape.

    Raises:
        InvalidInput: if `batch` is a single number.

    >>> flatten_samples(torch.zeros(5, 3, 2, 2)).shape
    torch.Size([5, 12])
    """
    require(
        batch.ndim > 0,
        "a batch has a dimension of samples",
        "a single number",
        "pass a tensor of shape (n, ...)",
    )
    return batch.reshape(len(batch), batch.shape[1:].numel())


def as_matrix(tensor: Tensor, name: str) -> Tensor:
    """Return `tensor` in the precision of statistics: float64 stays, everything narrower becomes float32.

    Raises:
        InvalidInput: if it is not a floating-point matrix with at least one column.
    """
    received = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
    require(tensor.is_floating_point(), f"`{name}` holds floating-point numbers", received, "convert it first")
    is_matrix = tensor.ndim == 2 and tensor.shape[1] > 0
    require(
        is_matrix,
        f"`{name}` is a matrix with at least one column",
        received,
        "reshape it (`flatten_samples`)",
    )
    return tensor if tensor.dtype == torch.float64 else tensor.to(torch.float32)


def require_labels(labels: Tensor, samples: int) -> None:
    """Raise `InvalidInput` unless there is one whole number per sample."""
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    require(
        whole and tuple(labels.shape) == (samples,),
        f"`labels` holds one whole number for each of the {samples} samples",
        f"{labels.dtype} of shape {tuple(labels.shape)}",
        "pass the class of each sample, or zeros where there are no classes",
    )


def directions(rows: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Bool[Tensor, " n"]]:
    """Return each row divided by its length, and which rows have a length; zero rows stay zero.

    Rows are first divided by their largest entry, so that squares neither overflow nor vanish.
    """
    largest = rows.abs().amax(1, keepdim=True)
    scaled = rows / torch.where(largest == 0, 1, largest)
    length = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return scaled / torch.where(length == 0, 1, length), (largest != 0)[:, 0]


def lengths(rows: Vectors) -> Vector:
    """Return the Euclidean length of each row, computed so that squares neither overflow nor vanish."""
    largest = rows.abs().amax(1)
    scaled = rows / torch.where(largest == 0, 1, largest)[:, None]
    return largest * torch.linalg.vector_norm(scaled, dim=1)


def total_length(rows: Vectors) -> Scalar:
    """Return the Frobenius norm, row by row: one long float32 sum errs by 1e-3 at 20 million entries."""
    return lengths(lengths(rows)[None])[0] if len(rows) else rows.new_zeros(())
