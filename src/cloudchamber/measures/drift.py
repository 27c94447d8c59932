"""How far weights have moved."""

from __future__ import annotations

from cloudchamber._core.errors import require
from cloudchamber._core.types import Scalar, Weight
from cloudchamber.measures.vectors import as_matrix, total_length


def relative_distance(weight: Weight, initial_weight: Weight) -> Scalar:
    """Return how far a layer's weights are from where they started, in units of their start.

    `RD = ‖W(t) − W(0)‖_F / ‖W(0)‖_F`. In the limit of infinite width it goes to 0 in the linear regime and to
    infinity where neurons condense.

    Args:
        weight: (h, d), the weights now, with the biases as a last column where there are any.
        initial_weight: (h, d), the same at the start.

    Returns:
        A number from 0 to infinity: float64 if either is float64, float32 otherwise. Infinity if the start is
        zero and the weights are not, NaN if both are zero and where a NaN enters.

    Raises:
        InvalidInput: if the two are not floating-point matrices of the same shape.

    Source: overview2025, Section 5, Eq. (5), there for the whole first layer of a two-layer network.

    >>> import torch
    >>> relative_distance(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]]))
    tensor(1.3333)
    """
    now, start = as_matrix(weight, "weight"), as_matrix(initial_weight, "initial_weight")
    require(
        now.shape == start.shape,
        "`weight` and `initial_weight` have the same shape",
        f"{tuple(now.shape)} and {tuple(start.shape)}",
        "pass the same layer at two times",
    )
    moved = now - start
    return (total_length(moved) / total_length(start)).to(moved.dtype)
