"""How large weights and their gradients are."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.types import Scalar, Weight
from cloudchamber.measures.factors import Inputs, OutputGradients, as_factors, chunks, sample_gradients
from cloudchamber.measures.vectors import as_matrix, lengths, product, total_length, wide


def weight_norm(weight: Weight) -> Scalar:
    """Return the Frobenius norm of a layer's weights, `‖W‖_F`.

    Args:
        weight: (h, d), with the biases as a last column where they count.

    Returns:
        A number from 0 to infinity: float64 for float64 weights, float32 otherwise. NaN where a NaN enters.

    Raises:
        InvalidInput: if `weight` is not a floating-point matrix with at least one column.

    Source: standard; mlp2024, Appendix I.5 penalises its square.

    >>> weight_norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(5.)
    """
    rows = as_matrix(weight, "weight").detach()
    return total_length(rows).to(rows)


def mean_gradient(inputs: Inputs, output_gradients: OutputGradients) -> Float[Tensor, "h d"]:
    """Return the gradient of the mean loss by the weight: minus the weight change of a step with rate 1.

    `(1/n) Σ_x G_xᵀ X_x`, one product of matrices.

    Args:
        inputs: (n, d), or (n, P, d) for a layer applied P times per sample: X.
        output_gradients: (n, h) or (n, P, h): G = ∂loss_x/∂z of single samples, not divided by n.

    Returns:
        (h, d): float64 if either is float64, float32 otherwise. NaN without samples and where a NaN enters.

    Raises:
        InvalidInput: if the two are not floating-point tensors of 2 or 3 dimensions that agree in all but the last.

    Source: mlp2024, Section 3.1.1 (ΔW̄ = −η times this).

    >>> mean_gradient(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0], [-1.0]]))
    tensor([[-1., -1.]])
    """
    X, G = as_factors(inputs, output_gradients)
    return product(G.flatten(0, 1).T, X.flatten(0, 1)) / len(X)


def sample_gradient_norms(inputs: Inputs, output_gradients: OutputGradients) -> Float[Tensor, " n"]:
    """Return the Frobenius norm of the gradient of each sample's loss by the weight.

    `‖∂loss_x/∂W‖_F = ‖G_xᵀ X_x‖_F`; for a layer applied once that is `‖g‖ ‖x‖`.

    Args:
        inputs: (n, d), or (n, P, d) for a layer applied P times per sample: X.
        output_gradients: (n, h) or (n, P, h): G = ∂loss_x/∂z of single samples, not divided by n.

    Returns:
        (n,), from 0 to infinity: float64 if either is float64, float32 otherwise. NaN where a NaN enters.

    Raises:
        InvalidInput: if the two are not floating-point tensors of 2 or 3 dimensions that agree in all but the last.

    Source: mlp2024, Eq. (15): a sample's gradient is the product of g and x.

    >>> sample_gradient_norms(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0]]))
    tensor([10.])
    >>> twice = torch.tensor([[[3.0, 4.0], [-3.0, -4.0]]])  # applied twice: the two parts cancel
    >>> sample_gradient_norms(twice, torch.tensor([[[2.0], [2.0]]]))
    tensor([0.])
    """
    X, G = as_factors(inputs, output_gradients)
    _, P, d = X.shape
    if P == 1:
        norms = lengths(X[:, 0]) * lengths(G[:, 0])
    elif P * (d + G.shape[2]) < d * G.shape[2]:
        norms = _norms_by_positions(X, G)
    else:
        norms = torch.cat([lengths(part.flatten(1)) for part in sample_gradients(X, G)])
    return norms.to(X.dtype)


def gradient_norm(inputs: Inputs, output_gradients: OutputGradients) -> Scalar:
    """Return the Frobenius norm of the gradient of the mean loss by the weight.

    `‖(1/n) Σ_x G_xᵀ X_x‖_F`. Beside the mean of `sample_gradient_norms` it says how far the samples agree: the two
    are equal if all pull the same way.

    Args:
        inputs: (n, d), or (n, P, d) for a layer applied P times per sample: X.
        output_gradients: (n, h) or (n, P, h): G = ∂loss_x/∂z of single samples, not divided by n.

    Returns:
        A number from 0 to infinity: float64 if either is float64, float32 otherwise. NaN without samples and where
        a NaN enters.

    Raises:
        InvalidInput: if the two are not floating-point tensors of 2 or 3 dimensions that agree in all but the last.

    Source: standard.

    >>> gradient_norm(torch.tensor([[1.0], [1.0]]), torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(2.5000)
    """
    mean = mean_gradient(inputs, output_gradients)
    return total_length(mean).to(mean)


def _norms_by_positions(X: Tensor, G: Tensor) -> Tensor:
    """`‖G_xᵀX_x‖² = ⟨X_x X_xᵀ, G_x G_xᵀ⟩`; in float64, because these terms may cancel."""
    squares = [
        (product(wide(x), wide(x).mT) * product(wide(g), wide(g).mT)).sum((1, 2))
        for x, g in chunks(X, G, X.shape[1] * max(X.shape[1:] + G.shape[2:]))
    ]
    return torch.cat(squares).clamp(min=0).sqrt().to(X.device)
