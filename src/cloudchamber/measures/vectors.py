"""What the measures share: the precision of statistics, and lengths that are right at any scale.

Zero vectors, and those shorter than the smallest normal number, have no direction. A vector that holds NaN or
infinity, or whose length is too large for float64, has a direction that nobody knows: NaN.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber._core.types import Batch, Scalar

CHUNK = 2**19
"""How many numbers are made wider at a time: so few that they stay in the cache."""


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
    if not (tensor.is_floating_point() and tensor.ndim == 2 and tensor.shape[1] > 0):
        raise _no_matrix(tensor, name)
    return tensor if tensor.dtype == torch.float64 else tensor.to(torch.float32)


def _no_matrix(tensor: Tensor, name: str) -> InvalidInput:
    received = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
    rule, remedy = f"`{name}` is a matrix with at least one column", "reshape it (`flatten_samples`)"
    if not tensor.is_floating_point():
        rule, remedy = f"`{name}` holds floating-point numbers", "convert it first"
    return InvalidInput(f"{rule}; got {received}. Remedy: {remedy}.")


def require_labels(labels: Tensor, samples: int) -> None:
    """Raise `InvalidInput` unless there is one whole number per sample."""
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    require(
        whole and tuple(labels.shape) == (samples,),
        f"`labels` holds one whole number for each of the {samples} samples",
        f"{labels.dtype} of shape {tuple(labels.shape)}",
        "pass the class of each sample, or zeros where there are no classes",
    )


def lengths(rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Return the length of each row in float64, in which squares of float32 neither overflow nor vanish.

    In chunks, because torch makes a float64 copy first.
    """
    wide = torch.float32 if rows.device.type == "mps" else torch.float64
    if rows.numel() <= CHUNK:
        return torch.linalg.vector_norm(rows, dim=1, dtype=wide)
    parts = rows.split(max(1, CHUNK // rows.shape[1]))
    return torch.cat([torch.linalg.vector_norm(part, dim=1, dtype=wide) for part in parts])


def total_length(rows: Float[Tensor, "n d"]) -> Scalar:
    """Return the Frobenius norm in float64: a float32 sum errs by 1e-3 at 20 million entries."""
    return torch.linalg.vector_norm(lengths(rows))


def inverse_lengths(rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Return 1/length of each row: 0 for rows without a direction, NaN where it is unknown."""
    length = lengths(rows)
    inverse = torch.where(length.isinf(), torch.nan, 1 / length)
    return torch.where(length < torch.finfo(rows.dtype).tiny, 0, inverse).to(rows.dtype)


def unit_rows(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return each row divided by its length: NaN for rows without a direction, and where it is unknown."""
    inverse = inverse_lengths(rows)
    return rows * torch.where(inverse == 0, torch.nan, inverse)[:, None]


def wide(tensor: Tensor) -> Tensor:
    """Return `tensor` in float64, detached; on the CPU where its device has no float64."""
    return tensor.detach().to("cpu" if tensor.device.type == "mps" else tensor.device, torch.float64)


def precision(*tensors: Tensor) -> torch.dtype:
    """Return the precision of statistics of several tensors: float64 if one is float64, float32 otherwise."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return the matrix product in the precision of its factors, also where autocast would narrow it."""
    device = a.device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return a @ b
    with torch.autocast(device, enabled=False):
        return a @ b
