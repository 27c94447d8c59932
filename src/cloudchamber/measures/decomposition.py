"""Weights and their changes along common directions, and beside them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Scalar, Weight
from cloudchamber.measures.directions import CommonDirections, common_directions
from cloudchamber.measures.factors import Direction, power_of_two, unit_direction
from cloudchamber.measures.vectors import as_matrix, lengths, precision, product, total_length, wide


@dataclass(frozen=True)
class Decomposition:
    """A weight or its change along a direction and beside it: `Wᵀ = V Cᵀ + ε`.

    Attributes:
        along: (d,), V.
        beside: (d, h), ε, with ε C = 0.

    >>> decompose(torch.eye(2), torch.tensor([1.0, 0.0])).along
    tensor([1., 0.])
    """

    along: Float[Tensor, " d"]
    beside: Float[Tensor, "d h"]


@dataclass(frozen=True)
class WeightParts:
    """How large a weight is along a direction and beside it, of `Wᵀ = V Cᵀ + ε` with C of length 1.

    Attributes:
        along: ‖V‖, which is ‖V Cᵀ‖_F.
        beside: ‖ε‖_F.
        total: ‖W‖_F.
    """

    along: Scalar
    beside: Scalar
    total: Scalar


@dataclass(frozen=True)
class MeanChanges:
    """Batch-mean weight changes along their common directions: `ΔW̄_t = Σ_i C_i ΔV̄_{i,t}ᵀ + Δε̄_tᵀ`.

    Attributes:
        directions: C_1 … C_k.
        along: (t, k, d), ΔV̄_{i,t}.
        strengths: (k,), `s_i = ‖C_i E_t[ΔV̄_{i,t}]ᵀ‖_F`; they need not fall.

    >>> decompose_mean_changes(torch.eye(2).expand(3, 2, 2), 2).strengths
    tensor([1., 1.])
    """

    directions: CommonDirections
    along: Float[Tensor, "t k d"]
    strengths: Float[Tensor, " k"]


def decompose(weight: Weight, direction: Direction) -> Decomposition:
    """Return a weight, or its change, along a direction and beside it.

    `V = WᵀC / CᵀC`, `ε = Wᵀ − V Cᵀ`, the smallest rest: `ε C = 0`.

    Args:
        weight: (h, d), W or ΔW, one row per neuron.
        direction: (h,), C, of any length.

    Returns:
        V and ε, in the unit of W over that of C, and of W. NaN for C = 0 and where a NaN enters.

    Raises:
        InvalidInput: if `weight` is not a floating-point matrix, or `direction` not a vector of its neurons.

    Source: mlp2024, Lemmas 1 and 2.

    >>> decompose(torch.tensor([[2.0, 4.0], [0.0, 1.0]]), torch.tensor([2.0, 0.0]))
    Decomposition(along=tensor([1., 2.]), beside=tensor([[0., 0.],
            [0., 1.]]))
    """
    rows = as_matrix(weight, "weight").detach()
    unit, length = unit_direction(direction, len(rows), rows.dtype)
    along = product(rows.T, unit)
    return Decomposition(along / length, rows.T - torch.outer(along, unit))


def weight_parts(weight: Weight, direction: Direction) -> WeightParts:
    """Return how large a weight is along a direction and beside it: the sizes of what `decompose` returns.

    `‖W‖² = ‖V‖² + ‖ε‖²` for C of length 1.

    Args:
        weight: (h, d), W, one row per neuron.
        direction: (h,), C, of any length; it counts as if it were 1.

    Returns:
        The three sizes, in the unit of W: float64 for float64 weights, float32 otherwise. NaN for C = 0 and where a
        NaN enters.

    Raises:
        InvalidInput: if `weight` is not a floating-point matrix, or `direction` not a vector of its neurons.

    Source: mlp2024, Lemma 2.

    >>> weight_parts(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([2.0, 0.0]))
    WeightParts(along=tensor(3.), beside=tensor(4.), total=tensor(5.))
    """
    rows = as_matrix(weight, "weight").detach()
    unit = unit_direction(direction, len(rows), rows.dtype)[0]
    along = product(unit, rows)
    sizes = (total_length(along[None]), total_length(torch.addr(rows, unit, along, alpha=-1)), total_length(rows))
    return WeightParts(*(size.to(rows) for size in sizes))


def decompose_mean_changes(
    changes: Float[Tensor, "t h d"], count: int = 5, *, primary: Direction | None = None
) -> MeanChanges:
    """Return the batch-mean weight changes of several steps along their common directions.

    Recursively: C_i is the common direction of what the directions before it leave of all `ΔW̄_t`, so C_1 … C_k are
    the leading eigenvectors of `Σ_t ΔW̄_t ΔW̄_tᵀ`, and `ΔV̄_{i,t} = ΔW̄_tᵀ C_i`.

    Args:
        changes: (t, h, d), ΔW̄_t: −η times `mean_gradient` of each step, or the actual changes. Where they are too
            many to keep, add up `ΔW̄_t ΔW̄_tᵀ` and `ΔW̄_t` instead, and use `common_directions` on the one and
            `direction_strengths` on the other.
        count: how many directions, from 1 to h.
        primary: (h,), a direction to take for C_1, as the one of all single samples' changes (Lemma 1); without it
            C_1 is that of the mean changes.

    Returns:
        Directions, coefficients and strengths: float64 for float64 changes, float32 otherwise. NaN as in
        `common_directions`.

    Raises:
        InvalidInput: if `changes` is not a floating-point tensor of shape (t, h, d), or `count` or `primary` do not
            fit it.

    Source: mlp2024, Appendix F and Figure 3.

    >>> changes = torch.tensor([[[3.0, 0.0], [0.0, 1.0]], [[5.0, 0.0], [0.0, -1.0]]])
    >>> decompose_mean_changes(changes, 2).strengths  # along the second, the two steps cancel
    tensor([4., 0.])
    """
    require(
        changes.is_floating_point() and changes.ndim == 3 and changes.numel() > 0,
        "`changes` is a floating-point tensor of shape (t, h, d), with at least one step",
        f"{changes.dtype} of shape {tuple(changes.shape)}",
        "stack the mean weight change of every step",
    )
    exact = changes.detach().to(precision(changes))
    scale = power_of_two(exact)
    side_by_side = (wide(exact) / scale).transpose(0, 1).flatten(1)
    found = common_directions(side_by_side @ side_by_side.T, count, primary=primary)
    vectors, strengths = found.vectors.to(exact), (found.strengths * scale).to(exact)
    directions = CommonDirections(vectors, strengths, found.shares.to(exact))
    return MeanChanges(directions, product(vectors, exact), direction_strengths(exact.mean(0), vectors))


def direction_strengths(mean_change: Weight, directions: Float[Tensor, "k h"]) -> Float[Tensor, " k"]:
    """Return how far the weights have moved along each direction, on average over steps.

    `s_i = ‖C_i E_t[ΔV̄_{i,t}]ᵀ‖_F = ‖E_t[ΔW̄_t]ᵀ C_i‖ / ‖C_i‖`.

    Args:
        mean_change: (h, d), `E_t[ΔW̄_t]`: the mean over steps of the batch-mean weight changes.
        directions: (k, h), C_1 … C_k, orthogonal.

    Returns:
        (k,), from 0 to infinity, in the unit of the weights: float64 if either is float64, float32 otherwise. NaN
        for a direction that is zero or unknown, and where a NaN enters.

    Raises:
        InvalidInput: if the two are not floating-point matrices, or a direction does not have h entries.

    Source: mlp2024, Figure 3 and Appendix F.

    >>> direction_strengths(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.eye(2))
    tensor([5., 2.])
    """
    change, rows = as_matrix(mean_change, "mean_change").detach(), as_matrix(directions, "directions").detach()
    require(
        len(change) == rows.shape[1],
        "a direction holds one number per neuron",
        f"{rows.shape[1]} for {len(change)} neurons",
        "pass directions of the same layer",
    )
    dtype = precision(change, rows)
    along = product(rows.to(dtype), change.to(dtype))
    return (lengths(along) / lengths(rows)).to(dtype)
