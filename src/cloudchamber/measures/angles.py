"""Orientation and amplitude of neurons with one input and a bias."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Weight
from cloudchamber.measures.vectors import as_matrix, lengths, wide


def orientation_angle(weight: Float[Tensor, "h 2"]) -> Float[Tensor, " h"]:
    """Return the angle of each neuron of a network with one input.

    `θ_k = atan2(b_k, w_k)` for the neuron `σ(w_k x + b_k)`; a ReLU neuron bends at `x = −tan θ_k`.

    Args:
        weight: (h, 2), rows (w, b).

    Returns:
        (h,), in radians, in (−π, π]: float64 for float64 weights, float32 otherwise. NaN for a neuron that is zero,
        which has no direction, and where a NaN or infinity enters.

    Raises:
        InvalidInput: if `weight` is not a floating-point matrix of two columns.

    Source: overview2025, Section 2 (whose `sign(b)·arccos` is wrong for b = 0 and w < 0).

    >>> orientation_angle(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [0.0, 0.0]]))
    tensor([0.0000, 1.5708, 3.1416,    nan])
    """
    rows = as_matrix(weight, "weight").detach()
    require(
        rows.shape[1] == 2,
        "`weight` has rows (w, b)",
        tuple(rows.shape),
        "angles are those of networks with one input; use `cosine_matrix` for more",
    )
    w, b = (wide(rows) + 0.0).unbind(1)
    known = rows.isfinite().all(1) & (neuron_amplitude(rows) > 0)
    return torch.where(known, torch.atan2(b, w).to(rows), torch.nan)


def neuron_amplitude(weight: Weight) -> Float[Tensor, " h"]:
    """Return the amplitude of each neuron, the length of its weights.

    `A_k = ‖w_k‖`, which is `√(w_k² + b_k²)` for one input and a bias.

    Args:
        weight: (h, d), with the biases as a last column where there are any.

    Returns:
        (h,), from 0 to infinity: float64 for float64 weights, float32 otherwise. NaN where a NaN enters.

    Raises:
        InvalidInput: if `weight` is not a floating-point matrix with at least one column.

    Source: overview2025, Section 2.

    >>> neuron_amplitude(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([5., 0.])
    """
    rows = as_matrix(weight, "weight").detach()
    return lengths(rows).to(rows)
