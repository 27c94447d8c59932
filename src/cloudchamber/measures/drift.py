"""How far weights have moved."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Scalar, Weight
from cloudchamber.measures.vectors import CHUNK, as_matrix, lengths, precision, total_length, wide


def relative_distance(weight: Weight, initial_weight: Weight, initial_norm: Scalar | None = None) -> Scalar:
    """Return how far a layer's weights are from where they started, in units of their start.

    `RD = ‖W(t) − W(0)‖_F / ‖W(0)‖_F`. In the limit of infinite width it goes to 0 in the linear regime and to
    infinity where neurons condense.

    Args:
        weight: (h, d), the weights now, with the biases as a last column where there are any.
        initial_weight: (h, d), the same at the start.
        initial_norm: ‖W(0)‖_F, where it is known already, as of many steps of one run.

    Returns:
        A number from 0 to infinity: float64 if either is float64, float32 otherwise. Infinity if the start is
        zero and the weights are not, NaN if both are zero and where a NaN enters.

    Raises:
        InvalidInput: if the two are not floating-point matrices of the same shape.

    Source: overview2025, Section 5, Eq. (5), there for the whole first layer of a two-layer network.

    >>> relative_distance(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]]))
    tensor(1.3333)
    """
    now, start = _both(weight, initial_weight)
    size = total_length(start) if initial_norm is None else wide(initial_norm)
    return (torch.linalg.vector_norm(_distances(now, start)) / size).to(precision(now, start))


def neuron_distance(weight: Weight, initial_weight: Weight) -> Float[Tensor, " h"]:
    """Return how far each neuron's weights are from where they started, in units of their start.

    `RD_j = ‖w_j(t) − w_j(0)‖ / ‖w_j(0)‖`.

    Args:
        weight: (h, d), the weights now, with the biases as a last column where there are any.
        initial_weight: (h, d), the same at the start.

    Returns:
        (h,), numbers from 0 to infinity: float64 if either is float64, float32 otherwise. Infinity for a neuron that
        starts at zero and is not there now, NaN for one that is still there and where a NaN enters.

    Raises:
        InvalidInput: if the two are not floating-point matrices of the same shape.

    Source: overview2025, Section 5, Eq. (5), neuron by neuron.

    >>> neuron_distance(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
    tensor([1.3333, 0.0000])
    """
    now, start = _both(weight, initial_weight)
    return (_distances(now, start) / lengths(start)).to(precision(now, start))


def static_fraction(weight: Weight, initial_weight: Weight, *, tolerance: float = 0.0) -> Scalar:
    """Return the fraction of neurons whose weights have not moved.

    `|{j : ‖w_j(t) − w_j(0)‖ ≤ tolerance · ‖w_j(0)‖}| / h`. A neuron whose output is zero for all samples has no
    gradient; with weight decay it moves nevertheless, and `dead_fraction` still counts it.

    Args:
        weight: (h, d), the weights now, with the biases as a last column where there are any.
        initial_weight: (h, d), the same at the start.
        tolerance: the relative distance up to which a neuron counts as static.

    Returns:
        A number in [0, 1]: float64 if either is float64, float32 otherwise. NaN without neurons and where a NaN
        enters.

    Raises:
        InvalidInput: if the two are not floating-point matrices of the same shape, or `tolerance` is negative.

    Source: overview2025, Section 3 (static neurons).

    >>> static_fraction(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
    tensor(0.5000)
    """
    require(tolerance >= 0, "`tolerance` is a relative distance of 0 or more", tolerance, "use 0 for no move at all")
    now, start = _both(weight, initial_weight)
    distance, allowed = _distances(now, start), tolerance * lengths(start)
    static = torch.where(distance.isnan() | allowed.isnan(), torch.nan, (distance <= allowed).to(distance))
    return static.mean().to(precision(now, start))


def _distances(now: Tensor, start: Tensor) -> Float[Tensor, " h"]:
    """How far each row has moved, in float64; some rows at a time, so that what is between stays in the cache."""
    few = max(1, CHUNK // now.shape[1])
    return torch.cat([lengths(a - b) for a, b in zip(now.split(few), start.split(few), strict=True)])


def _both(weight: Tensor, initial_weight: Tensor) -> tuple[Tensor, Tensor]:
    now, start = as_matrix(weight, "weight"), as_matrix(initial_weight, "initial_weight")
    require(
        now.shape == start.shape,
        "`weight` and `initial_weight` have the same shape",
        f"{tuple(now.shape)} and {tuple(start.shape)}",
        "pass the same layer at two times",
    )
    return now, start
