"""Samples and residuals of a direction field, checked and in float64.

No shapes in the types here: these functions are what checks them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cloudchamber._core.errors import require


def exact(tensor: Tensor) -> Tensor:
    """Return `tensor` detached and in float64; on the CPU where its device has no float64."""
    return tensor.detach().to("cpu" if tensor.device.type == "mps" else tensor.device, torch.float64)


def finite(tensor: Tensor, name: str, shape: str) -> Tensor:
    """Return `tensor` in float64.

    Raises:
        InvalidInput: unless it holds finite floating-point numbers and has as many dimensions as `shape` has names.
    """
    received = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
    fits = tensor.is_floating_point() and tensor.ndim == len(shape.split()) and tensor.numel() > 0
    require(fits, f"`{name}` is a floating-point tensor of shape ({', '.join(shape.split())})", received, "reshape it")
    numbers = exact(tensor)
    unknown = int((~numbers.isfinite()).sum())
    require(unknown == 0, f"`{name}` is finite", f"{unknown} entries that are NaN or infinite", "leave those out")
    return numbers


def samples(inputs: Tensor, residuals: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs and residuals e = f − y in float64.

    Raises:
        InvalidInput: unless they are finite, of shapes (n, d) and (n,), and not empty.
    """
    rows, errors = finite(inputs, "inputs", "n d"), finite(residuals, "residuals", "n")
    _require_same_count(len(rows), len(errors), "residuals")
    return rows, errors.to(rows.device)


def points_of(points: Tensor, dimension: int, name: str = "points") -> Tensor:
    """Return points in float64; NaN and infinity are data.

    Raises:
        InvalidInput: unless they are a floating-point matrix of `dimension` columns.
    """
    fits = points.is_floating_point() and points.ndim == 2 and points.shape[1] == dimension
    rule = f"`{name}` is a floating-point tensor of shape (m, {dimension})"
    require(fits, rule, f"{points.dtype} of shape {tuple(points.shape)}", "append the bias to the weights, 1 to inputs")
    return exact(points)


def one_each(vector: Tensor, count: int, name: str) -> Tensor:
    """Return one number for each of `count` neurons, in float64; NaN and infinity are data.

    Raises:
        InvalidInput: unless it is a floating-point vector of that length.
    """
    fits = vector.is_floating_point() and tuple(vector.shape) == (count,)
    received = f"{vector.dtype} of shape {tuple(vector.shape)}"
    require(fits, f"`{name}` is a floating-point tensor of shape ({count},)", received, "pass one number per neuron")
    return exact(vector)


def _require_same_count(rows: int, others: int, name: str) -> None:
    require(rows == others, f"`{name}` has one entry for each of the {rows} inputs", others, "pass both of one set")
