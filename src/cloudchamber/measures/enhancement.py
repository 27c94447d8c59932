"""Whether features and the weights along the common direction pull each other the same way (mlp2024, Lemma 3).

V = WᵀC/CᵀC is the weight along the common direction C, F what the layer receives, ΔV and ΔF their changes by a sample.
The system enhances itself where `cos(ΔV, F)·cos(V, ΔF) ≥ 0`, which Lemma 3 derives from the smallness of the weight
beside C. For layers applied once per sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Vector, Vectors
from cloudchamber.measures.factors import Direction, require_once, unit_direction
from cloudchamber.measures.vectors import as_matrix, lengths, precision, product, unit_rows, wide


@dataclass(frozen=True)
class Lemma3Terms:
    """The two terms of the assumption of Lemma 3, of every sample; the first is never negative.

    Attributes:
        common: (n,), `ΔVᵀF VᵀV CᵀC ΔVᵀF`.
        noise: (n,), `ΔVᵀF Vᵀε ΔεᵀF`; the lemma assumes that it is small beside the first.
    """

    common: Float[Tensor, " n"]
    noise: Float[Tensor, " n"]


def self_enhancement(
    inputs: Vectors,
    output_gradients: Float[Tensor, "n h"],
    weight: Float[Tensor, "h d"],
    direction: Direction,
    *,
    feature_changes: Float[Tensor, "n d"] | None = None,
    whole_step: bool = False,
) -> Vector:
    """Return o of every sample: whether its features and the weights along C pull each other the same way.

    `o_x = cos(ΔV, F_x) · cos(V, ΔF_x)`. With ΔV of the sample alone the first factor is exactly ±1, so that
    `o_x = −sign(Cᵀg_x) cos(V, ΔF_x)`, as in Lemma 3; with `whole_step`, ΔV is that of a step on all samples given.

    Args:
        inputs: (n, d), X: F, the features below the layer.
        output_gradients: (n, h): G = ∂loss_x/∂z of single samples, not divided by n.
        weight: (h, d), W, without its biases.
        direction: (h,), C, per class or overall, of any length.
        feature_changes: (n, d), ΔF: the actual changes of the features, or −Ḟ. By default `−Wᵀg`, which is −Ḟ where
            nothing but this layer takes the features.
        whole_step: whose weight change ΔV is.

    Returns:
        (n,), in [−1, 1]: float64 if a tensor other than C is, float32 otherwise. NaN where one of the four vectors is
        zero (F = 0, Cᵀg = 0, WᵀC = 0, ΔF = 0) and where a NaN enters.

    Raises:
        InvalidInput: if an argument is not floating-point or the shapes do not fit.

    Source: mlp2024, Lemma 3 and Figure 5.

    >>> inputs, gradients, weight = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]), torch.eye(2)
    >>> self_enhancement(inputs, gradients, weight, torch.tensor([1.0, 0.0]))
    tensor([0.7071])
    """
    X, G, W = _layer(inputs, output_gradients, weight)
    unit = unit_direction(direction, len(W), W.dtype)[0]
    changes = -product(G, W) if feature_changes is None else _changes(feature_changes, X)
    pushes = -product(G, unit)
    moved = product(pushes, X)[None] if whole_step else pushes[:, None] * X
    along = product(unit, W)[None]
    return (_cosines(moved, X) * _cosines(along, changes)).to(X.dtype)


def lemma3_terms(
    inputs: Vectors,
    output_gradients: Float[Tensor, "n h"],
    weight: Float[Tensor, "h d"],
    direction: Direction,
    *,
    learning_rate: float = 1.0,
) -> Lemma3Terms:
    """Return the two terms of which Lemma 3 assumes that the first is much the larger.

    With `ΔVᵀF = −η (Cᵀg)‖x‖²/CᵀC`: `ΔVᵀF VᵀV CᵀC ΔVᵀF` and `ΔVᵀF Vᵀε ΔεᵀF = −η ‖x‖² ΔVᵀF (εᵀV)ᵀg`. Their sum is
    `−η ‖x‖² (ΔVᵀF)(VᵀḞ)`, whose sign is that of o where ΔF = −Ḟ.

    Args:
        inputs: (n, d), X: F, the features below the layer.
        output_gradients: (n, h): G = ∂loss_x/∂z of single samples, not divided by n.
        weight: (h, d), W, without its biases.
        direction: (h,), C, of any length.
        learning_rate: η.

    Returns:
        Both terms, (n,), computed in float64: float64 if a tensor other than C is, float32 otherwise. NaN where C = 0
        or a NaN enters.

    Raises:
        InvalidInput: if an argument is not floating-point or the shapes do not fit.

    Source: mlp2024, Lemma 3 and Figure 52 (which shows their sizes).

    >>> inputs, gradients, weight = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 1.0]]), torch.eye(2)
    >>> lemma3_terms(inputs, gradients, weight, torch.tensor([1.0, 0.0]))
    Lemma3Terms(common=tensor([4.]), noise=tensor([0.]))
    """
    X, G, W = _layer(inputs, output_gradients, weight)
    unit, length = unit_direction(direction, len(W), torch.float64)
    weights, gradients = wide(W), wide(G)
    along = unit @ weights
    beside = weights @ along
    beside = beside - unit * (unit @ beside)
    step = -learning_rate * wide(lengths(X)).square()
    overlap = step * (gradients @ unit)
    common = overlap.square() * (along @ along) / length.square()
    noise = overlap * step * (gradients @ beside) / length.square()
    return Lemma3Terms(common.to(X), noise.to(X))


def _layer(inputs: Tensor, output_gradients: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """X, G and W in one precision, if they are those of one layer."""
    require_once(inputs=inputs, output_gradients=output_gradients)
    rows = as_matrix(weight, "weight")
    wanted = (output_gradients.shape[1], inputs.shape[1])
    require(
        tuple(rows.shape) == wanted,
        "`weight` has a row per output gradient and a column per input",
        f"{tuple(rows.shape)} for {wanted}",
        "pass W of the same layer, without its biases",
    )
    dtype = precision(inputs, output_gradients, rows)
    return inputs.detach().to(dtype), output_gradients.detach().to(dtype), rows.detach().to(dtype)


def _changes(feature_changes: Tensor, X: Tensor) -> Tensor:
    require_once(inputs=X, feature_changes=feature_changes)
    require(
        feature_changes.shape == X.shape,
        "`feature_changes` has the shape of `inputs`",
        f"{tuple(feature_changes.shape)} and {tuple(X.shape)}",
        "pass the changes of what the layer receives",
    )
    return feature_changes.detach().to(X)


def _cosines(a: Float[Tensor, "r d"], b: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Row by row, or of a single row with each; NaN where one has no direction."""
    return (unit_rows(a) * unit_rows(b)).sum(1).clamp(-1, 1)
