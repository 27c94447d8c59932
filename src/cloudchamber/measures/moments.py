"""The second moment of the samples' weight gradients: what common directions are made of.

It adds up over samples and steps, and has the size of the layer's width, however many inputs and samples there are.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber.measures.factors import Inputs, OutputGradients, as_factors, chunks, power_of_two
from cloudchamber.measures.vectors import lengths, product, wide


def gradient_moment(inputs: Inputs, output_gradients: OutputGradients) -> Float[Tensor, "h h"]:
    """Return the second moment of the samples' weight gradients, whose leading eigenvector is the common direction.

    `M = Σ_x (∂loss_x/∂W)(∂loss_x/∂W)ᵀ = Σ_x G_xᵀ (X_x X_xᵀ) G_x`, which is `Σ_x ‖x‖² g gᵀ` for a layer applied once.
    Moments of several steps add up; the learning rate scales all of them alike.

    Args:
        inputs: (n, d), or (n, P, d) for a layer applied P times per sample: X.
        output_gradients: (n, h) or (n, P, h): G = ∂loss_x/∂z of single samples, not divided by n.

    Returns:
        (h, h), in float64, in which squares of small gradients do not vanish and many steps add up; from products
        in float32 unless either argument is float64. All NaN if a NaN or infinity enters.

    Raises:
        InvalidInput: if the two are not floating-point tensors of 2 or 3 dimensions that agree in all but the last.

    Source: mlp2024, Lemma 1, in closed form.

    >>> gradient_moment(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 1.0], [0.0, 3.0]]))
    tensor([[ 4.,  4.],
            [ 4., 13.]], dtype=torch.float64)
    """
    X, G = as_factors(inputs, output_gradients)
    if X.shape[1] == 1:
        return _moment_of_rows(lengths(X[:, 0]), G[:, 0])
    add = _moment_by_positions if _positions_are_few(X, G) else _moment_by_gradients
    x_scale, g_scale = power_of_two(X), power_of_two(G)
    return _rescaled(add(X, G, x_scale, g_scale), x_scale * g_scale)


def gradient_rows(inputs: Inputs, output_gradients: OutputGradients) -> Float[Tensor, "N h"]:
    """Return rows A whose Gram matrix is the moment, `AᵀA = gradient_moment(X, G)`: few rows for few samples.

    `‖x‖ g` for a layer applied once. With fewer rows than neurons, `common_directions_of_rows` is the cheaper way:
    rows of several steps are put below each other.

    Args:
        inputs: (n, d), or (n, P, d) for a layer applied P times per sample: X.
        output_gradients: (n, h) or (n, P, h): G = ∂loss_x/∂z of single samples, not divided by n.

    Returns:
        (n·min(P, d), h), float64 if either is float64, float32 otherwise. NaN where a NaN enters.

    Raises:
        InvalidInput: if the two are not floating-point tensors of 2 or 3 dimensions that agree in all but the last.

    Source: mlp2024, Lemma 1, in closed form.

    >>> gradient_rows(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, -1.0, 0.0]]))
    tensor([[ 5., -5.,  0.]])
    """
    X, G = as_factors(inputs, output_gradients)
    _, P, d = X.shape
    if P == 1:
        return G[:, 0] * lengths(X[:, 0]).to(G.dtype)[:, None]
    mixing = X.mT if d <= P else torch.linalg.qr(X.mT, mode="r").R
    return product(mixing, G).flatten(0, 1)


def _moment_of_rows(length: Tensor, G: Tensor) -> Tensor:
    """`Σ_x ‖x‖² g gᵀ`, of samples whose inputs have these lengths (in float64)."""
    x_scale = power_of_two(length)
    rows = G * (length / x_scale).to(G.dtype)[:, None]
    scale = power_of_two(rows)
    rows /= scale
    return _rescaled(product(rows.T, rows), scale * x_scale)


def _rescaled(moment: Tensor, scale: float) -> Tensor:
    """In float64, in place; `scale * scale` because a power of a float raises where it overflows."""
    return wide(moment).mul_(scale * scale)


def _positions_are_few(X: Tensor, G: Tensor) -> bool:
    """Whether P × P products cost less than h × d gradients."""
    (_, P, d), h = X.shape, G.shape[2]
    return P * (P * (d + h) + h * h) <= h * d * (P + h)


def _moment_by_positions(X: Tensor, G: Tensor, x_scale: float, g_scale: float) -> Tensor:
    moment = G.new_zeros(G.shape[2], G.shape[2])
    for x, g in chunks(X, G, X.shape[1] * max(X.shape[1:] + G.shape[2:])):
        x, g = x / x_scale, g / g_scale
        weighted = product(product(x, x.mT), g)
        moment += product(g.flatten(0, 1).T, weighted.flatten(0, 1))
    return moment


def _moment_by_gradients(X: Tensor, G: Tensor, x_scale: float, g_scale: float) -> Tensor:
    moment = G.new_zeros(G.shape[2], G.shape[2])
    for x, g in chunks(X, G, X.shape[2] * G.shape[2]):
        side_by_side = product((g / g_scale).mT, x / x_scale).transpose(0, 1).flatten(1)
        moment += product(side_by_side, side_by_side.T)
    return moment
