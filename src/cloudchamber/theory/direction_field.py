"""The direction field of two-layer networks: how the input weights of a neuron move, per unit of its output weight.

For `f = Σ a_j σ(w_j·x)` under gradient flow of `1/(2n) Σ e²` with e = f − y, `ẇ_j = a_j ∇Φ(w_j)`: every neuron moves in
one field, uphill if its output weight is positive, downhill if it is negative. Inputs that are augmented by 1 carry the
bias as the last entry of w. (The loss without ½ or another mean only rescales time.)

In a deeper layer k, x is the layer's input `x^[k−1]` and what replaces `a_j e_i` is `(E^[k+1:L] a)_j e_i`, the gradient
of the loss of sample i in the feature of neuron j: see `layer_velocity` and `effective_residuals`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.theory.elementwise import Activation, derivative, elementwise
from cloudchamber.theory.field_data import finite, points_of, samples

_BLOCK = 2**22

Points = Float[Tensor, "m d"]
Inputs = Float[Tensor, "n d"]
Residuals = Float[Tensor, " n"]
PerPoint = Float[Tensor, " m"]


def potential(points: Points, inputs: Inputs, residuals: Residuals, activation: Activation) -> PerPoint:
    """Return the potential of the direction field, `Φ(ω) = −(1/n) Σ e_i σ(ω·x_i)`.

    It is what a neuron of output weight 1 at ω takes from the loss, to first order. At 0 it is `−σ(0) mean(e)`.

    Args:
        points: (m, d), ω, with the bias as a last entry where the inputs have a last entry 1.
        inputs: (n, d), x_i.
        residuals: (n,), e_i = f(x_i) − y_i.
        activation: σ, a function of tensors or a module, of any kind that acts on every entry.

    Returns:
        (m,), Φ in float64.

    Raises:
        InvalidInput: if shapes do not fit, or inputs or residuals hold NaN or infinity.
        Unsupported: if the activation cannot be called with a float64 tensor.

    Source: zhou2022, Section 4.4.

    >>> potential(torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([-3.0]), torch.square)
    tensor([12.], dtype=torch.float64)
    """
    rows, errors = samples(inputs, residuals)
    evaluate = elementwise(activation)
    with torch.no_grad():
        parts = [-(evaluate(z) @ errors) / len(rows) for z in _preactivations(points, rows)]
    return torch.cat(parts)


def direction_field(points: Points, inputs: Inputs, residuals: Residuals, activation: Activation) -> Points:
    """Return the direction field of zhou2022, `ω̇ = −(1/n) Σ e_i x_i σ'(ω·x_i) = ∇Φ(ω)`.

    Args:
        points: (m, d), ω, with the bias as a last entry where the inputs have a last entry 1.
        inputs: (n, d), x_i.
        residuals: (n,), e_i = f(x_i) − y_i.
        activation: σ; its derivative is taken by autograd.

    Returns:
        (m, d), in float64: the velocity of a neuron at ω with output weight 1, and minus that with −1.

    Raises:
        InvalidInput: if shapes do not fit, or inputs or residuals hold NaN or infinity.
        Unsupported: if the activation cannot be called with a float64 tensor, or not be differentiated.

    Source: zhou2022, Section 4.4 (Figure 6).

    >>> direction_field(torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([-3.0]), torch.square)
    tensor([[12.]], dtype=torch.float64)
    """
    rows, errors = samples(inputs, residuals)
    evaluate = elementwise(activation)
    return torch.cat([-(derivative(evaluate, z) * errors) @ rows / len(rows) for z in _preactivations(points, rows)])


def layer_velocity(
    weights: Float[Tensor, "h d"], inputs: Inputs, feature_gradients: Float[Tensor, "n h"], activation: Activation
) -> Float[Tensor, "h d"]:
    """Return the velocity of a layer's weights under gradient flow, in a network of any depth.

    `ẇ_j = −(1/n) Σ_i Ḟ_ij σ'(w_j·x_i) x_i`, where `Ḟ_ij` is the gradient of the loss of sample i in the feature of
    neuron j: `e_i a_j` in the last hidden layer and `e_i (E^[k+1:L] a)_j` in layer k of zhou2022.

    Args:
        weights: (h, d), w_j, with the bias as a last entry where the inputs have a last entry 1.
        inputs: (n, d), the inputs x_i of the layer.
        feature_gradients: (n, h), Ḟ, of the loss per sample: not divided by n.
        activation: σ of this layer.

    Returns:
        (h, d), in float64: minus the gradient of the mean loss.

    Raises:
        InvalidInput: if shapes do not fit, or inputs or gradients hold NaN or infinity.
        Unsupported: if the activation cannot be called with a float64 tensor, or not be differentiated.

    Source: zhou2022, Eq. (10) and Eq. (33).

    >>> ones = torch.ones(1, 1)
    >>> layer_velocity(2 * ones, ones, -3 * ones, torch.square)
    tensor([[12.]], dtype=torch.float64)
    """
    rows, gradients = finite(inputs, "inputs", "n d"), finite(feature_gradients, "feature_gradients", "n h")
    exact_weights = points_of(weights, rows.shape[1], "weights").to(rows.device)
    wanted = (len(rows), len(exact_weights))
    fits = tuple(gradients.shape) == wanted
    rule = f"`feature_gradients` is of shape {wanted}, samples by neurons"
    require(fits, rule, tuple(gradients.shape), "pass Ḟ of this layer for the same samples")
    slope = derivative(elementwise(activation), rows @ exact_weights.T)
    return -(gradients.to(rows.device) * slope).T @ rows / len(rows)


def _preactivations(points: Tensor, rows: Tensor) -> list[Tensor]:
    """ω·x_i for blocks of points."""
    exact_points = points_of(points, rows.shape[1]).to(rows.device)
    return [block @ rows.T for block in exact_points.split(max(1, _BLOCK // len(rows)))]
