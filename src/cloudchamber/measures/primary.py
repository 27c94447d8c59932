"""Theorem 1 of mlp2024: what the common direction of the next layer does to the weights of this one.

In a chain, `F = σ(W x)` into `z' = W'F`, a sample changes W by `ΔW = −η D W'ᵀg' xᵀ`, where D holds the gates σ'(z).
Split W' along its common direction C' and beside it, `W'ᵀ = V'C'ᵀ + ε'`, and so does ΔW split: into a primary part
through V'C'ᵀ and a noise part through ε', this again into one part per singular value of ε'. The paper divides by
‖F‖², which cancels: here nothing is divided, so a sample with F = 0 has strength 0 and not 0/0.

All of it holds where both layers are applied once per sample, F goes nowhere else, and nothing stands between the
activation and the next layer. Biases do not matter: leave them out of W'.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Vector, Vectors
from cloudchamber.measures.eigen import top_eigenpairs
from cloudchamber.measures.factors import require_once, unit_direction
from cloudchamber.measures.vectors import as_matrix, lengths, precision, product, wide

_Next = Float[Tensor, "m h"]
_NextGradients = Float[Tensor, "n m"]
_NextDirection = Float[Tensor, " m"]


@dataclass(frozen=True)
class NoiseComponents:
    """The parts `ε'_k = Σ_kk U_k 𝒱_kᵀ` of a weight beside its common direction, the largest first.

    Attributes:
        left: (h, r), columns along U_k; `left[:, k]` times `right[:, k]ᵀ` is ε'_k.
        right: (m, r), columns along 𝒱_k. One of the two holds unit vectors, the other carries the singular values:
            those of the smaller side are the unit ones.
        values: (r,), the singular values Σ_kk of ε'.

    >>> noise_components(torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.tensor([1.0, 0.0, 0.0]), 2).values
    tensor([2., 1.])
    """

    left: Float[Tensor, "h r"]
    right: Float[Tensor, "m r"]
    values: Float[Tensor, " r"]


@dataclass(frozen=True)
class Theorem1Factors:
    """The left factors of a sample's weight change: `ΔW_x = (primary_x + noise_x) xᵀ`, exactly.

    Attributes:
        primary: (n, h), Γ of the paper's Eq. (5): `−η D V'C'ᵀg'`.
        noise: (n, h), `−η D ε'g'`, so that `κᵀ = noise xᵀ`.
    """

    primary: Float[Tensor, "n h"]
    noise: Float[Tensor, "n h"]


def noise_components(next_weight: _Next, next_direction: _NextDirection, count: int | None = None) -> NoiseComponents:
    """Return the leading components of the next layer's weight beside its common direction.

    The singular value decomposition `ε' = U Σ 𝒱ᵀ` of `W'ᵀ = V'C'ᵀ + ε'`, from the smaller Gram matrix in float64.
    Neighbouring singular values of a wide layer lie 1 % apart, so that single components are ill-conditioned: read
    their largest or mean strength beside them.

    Args:
        next_weight: (m, h), W' of the layer above, without its biases.
        next_direction: (m,), C' of that layer, of any length.
        count: how many components, from 1 to min(m, h); all by default.

    Returns:
        The components: float64 for float64 weights, float32 otherwise. NaN for C' = 0 and where a NaN enters; the
        directions of components of size zero are any that complete the others.

    Raises:
        InvalidInput: if `next_weight` is not a floating-point matrix, `next_direction` not a vector of its neurons,
            or `count` out of its range.

    Source: mlp2024, Theorem 1.

    >>> noise_components(torch.tensor([[1.0, 2.0], [0.0, 3.0]]), torch.tensor([1.0, 0.0])).values
    tensor([3., 0.])
    """
    weight = as_matrix(next_weight, "next_weight")
    smaller = min(weight.shape)
    count = smaller if count is None else count
    require(1 <= count <= smaller, f"`count` is from 1 to {smaller}", count, "ask for fewer components")
    beside = _beside(weight, next_direction)
    if len(beside) > beside.shape[1]:
        right = top_eigenpairs(beside.T @ beside, count)[1]
        left = beside @ right
    else:
        left = top_eigenpairs(beside @ beside.T, count)[1]
        right = beside.T @ left
    values = lengths(left.T) * lengths(right.T)
    return NoiseComponents(left.to(weight), right.to(weight), values.to(weight))


def theorem1_factors(
    gates: Vectors,
    next_weight: _Next,
    next_direction: _NextDirection,
    next_output_gradients: _NextGradients,
    *,
    learning_rate: float = 1.0,
) -> Theorem1Factors:
    """Return the primary and the noise part of every sample's weight change, as factors of its input.

    `ΔW = −η D W'ᵀg' xᵀ = (primary + noise) xᵀ`, with `primary = −η (Ĉ'ᵀg') D W'ᵀĈ'` and `noise = −η D W'ᵀ g'_⊥`,
    where `g'_⊥ = g' − Ĉ'Ĉ'ᵀg'` and Ĉ' = C'/‖C'‖. The two add up to −η g exactly.

    Args:
        gates: (n, h), σ'(z) of this layer: 0 and 1 for ReLU.
        next_weight: (m, h), W' of the layer above, without its biases.
        next_direction: (m,), C' of that layer, of any length.
        next_output_gradients: (n, m), g' = ∂loss_x/∂z' of single samples, not divided by n.
        learning_rate: η.

    Returns:
        Both factors, (n, h): float64 if gates, weight or gradients are, float32 otherwise. NaN where C' = 0 or a NaN
        enters.

    Raises:
        InvalidInput: if an argument is not floating-point or the shapes do not fit.

    Source: mlp2024, Theorem 1 and Eq. (5).

    >>> weight, direction = torch.tensor([[1.0, 1.0], [4.0, 1.0]]), torch.tensor([1.0, 0.0])
    >>> theorem1_factors(torch.ones(1, 2), weight, direction, torch.tensor([[2.0, 3.0]]))
    Theorem1Factors(primary=tensor([[-2., -2.]]), noise=tensor([[-12.,  -3.]]))
    """
    D, W, G = _chain(gates, next_weight, next_output_gradients)
    unit = unit_direction(next_direction, len(W), W.dtype)[0]
    along = product(G, unit)
    beside = G - torch.outer(along, unit)
    primary = torch.outer(along, product(unit, W))
    return Theorem1Factors(-learning_rate * D * primary, -learning_rate * D * product(beside, W))


def primary_strengths(
    inputs: Vectors,
    gates: Float[Tensor, "n h"],
    next_weight: _Next,
    next_direction: _NextDirection,
    next_output_gradients: _NextGradients,
    *,
    learning_rate: float = 1.0,
) -> Vector:
    """Return the strength of the primary component of every sample's weight change.

    `‖ΔW_primary|_x‖_F = η ‖D W'ᵀĈ'‖ |Ĉ'ᵀg'| ‖x‖` with Ĉ' = C'/‖C'‖. Its mean over samples (and steps) is S_primary.

    Args:
        inputs: (n, d), X: what this layer receives.
        gates: (n, h), σ'(z) of this layer: 0 and 1 for ReLU.
        next_weight: (m, h), W' of the layer above, without its biases.
        next_direction: (m,), C' of that layer, of any length.
        next_output_gradients: (n, m), g' = ∂loss_x/∂z' of single samples, not divided by n.
        learning_rate: η.

    Returns:
        (n,), from 0 to infinity, in the unit of the weights: float64 if a tensor other than C' is, float32
        otherwise. NaN where C' = 0 or a NaN enters.

    Raises:
        InvalidInput: if an argument is not floating-point or the shapes do not fit.

    Source: mlp2024, Theorem 1 and Table 1, in closed form.

    >>> inputs, gates, direction = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([1.0, 0.0])
    >>> primary_strengths(inputs, gates, torch.eye(2), direction, torch.tensor([[-2.0, 7.0]]), learning_rate=0.1)
    tensor([1.])
    """
    require_once(inputs=inputs, gates=gates)
    D, W, G = _chain(gates, next_weight, next_output_gradients)
    X = inputs.detach().to(precision(inputs))
    unit = unit_direction(next_direction, len(W), W.dtype)[0]
    along = wide(product(G, unit)).abs()
    return (learning_rate * lengths(D * product(unit, W)) * along * lengths(X)).to(precision(X, D))


def noise_strengths(
    inputs: Vectors,
    gates: Float[Tensor, "n h"],
    components: NoiseComponents,
    next_output_gradients: _NextGradients,
    *,
    learning_rate: float = 1.0,
) -> Float[Tensor, "n r"]:
    """Return the strength of every noise component of every sample's weight change.

    `‖ΔW_noise,k|_x‖_F = η Σ_kk ‖D U_k‖ |𝒱_kᵀg'| ‖x‖`. Their means over samples (and steps) are S_1, S_2, …, which do
    not fall with k.

    Args:
        inputs: (n, d), X: what this layer receives.
        gates: (n, h), σ'(z) of this layer: 0 and 1 for ReLU.
        components: `noise_components` of the layer above.
        next_output_gradients: (n, m), g' = ∂loss_x/∂z' of single samples, not divided by n.
        learning_rate: η.

    Returns:
        (n, r), from 0 to infinity, in the unit of the weights: float64 if a tensor is, float32 otherwise. NaN where
        a component or a NaN enters that is unknown.

    Raises:
        InvalidInput: if an argument is not floating-point or the shapes do not fit.

    Source: mlp2024, Theorem 1, Table 1 and Appendix G, in closed form.

    >>> components = noise_components(torch.diag(torch.tensor([1.0, 0.5])), torch.tensor([1.0, 0.0]), 1)
    >>> noise_strengths(torch.tensor([[3.0, 4.0]]), torch.ones(1, 2), components, torch.tensor([[9.0, -2.0]]))
    tensor([[5.]])
    """
    require_once(inputs=inputs, gates=gates, next_output_gradients=next_output_gradients)
    _require_fit(components.left, gates, components.right, next_output_gradients)
    dtype = precision(inputs, gates, components.left, next_output_gradients)
    gated = product(gates.detach().to(dtype).square(), components.left.to(dtype).square()).sqrt()
    along = product(next_output_gradients.detach().to(dtype), components.right.to(dtype)).abs()
    length = lengths(inputs.detach().to(dtype)).to(dtype)
    return learning_rate * gated * along * length[:, None]


def _beside(weight: Tensor, direction: Tensor) -> Tensor:
    """ε of a weight, (h, m), in float64."""
    exact, unit = wide(weight).T, unit_direction(direction, len(weight), torch.float64)[0]
    return torch.addr(exact, exact @ unit, unit, alpha=-1)


def _chain(gates: Tensor, next_weight: Tensor, next_gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """D, W' and G' in one precision, if they are those of two consecutive layers."""
    require_once(gates=gates, next_output_gradients=next_gradients)
    weight = as_matrix(next_weight, "next_weight")
    _require_fit(weight.T, gates, weight, next_gradients)
    dtype = precision(gates, weight, next_gradients)
    return gates.detach().to(dtype), weight.detach().to(dtype), next_gradients.detach().to(dtype)


def _require_fit(below: Tensor, gates: Tensor, above: Tensor, next_gradients: Tensor) -> None:
    wanted, received = (len(below), len(above)), (gates.shape[1], next_gradients.shape[1])
    require(
        wanted == received,
        f"a weight from {wanted[0]} to {wanted[1]} neurons has gates and output gradients of as many",
        f"{received[0]} and {received[1]}",
        "pass the weight of the next layer as (m, h), without its biases",
    )
