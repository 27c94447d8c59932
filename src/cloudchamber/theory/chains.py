"""A chain of fully connected layers as plain matrices: what the landscape's functions take and return.

Layer l is `W^l` of shape (h_l, h_{l−1}) or, with its bias as a last column, (h_l, h_{l−1} + 1); rows are neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require

Matrix = Float[Tensor, "_ _"]
Activation = Callable[[Tensor], Tensor]


def chain_output(
    weights: Sequence[Matrix], samples: Float[Tensor, "n d"], activation: Activation
) -> Float[Tensor, "n k"]:
    """Return the output of a chain of fully connected layers.

    `F⁰ = x`, `F^l = σ(W^l F^{l−1} + b^l)` for l < L, output `W^L F^{L−1} + b^L`.

    Args:
        weights: (h_l, h_{l−1}) for each layer, or (h_l, h_{l−1} + 1) with the bias as a last column.
        samples: (n, d), x.
        activation: σ, entry by entry.

    Raises:
        InvalidInput: if a matrix does not fit onto the one before it.

    Source: overview2025, Eq. (3), for two layers.

    >>> w_in, w_out = torch.tensor([[1.0, 0.0], [-2.0, 1.0]]), torch.tensor([[3.0, 1.0]])
    >>> chain_output([w_in, w_out], torch.tensor([[1.0], [-1.0]]), torch.relu)
    tensor([[3.],
            [3.]])
    """
    features = samples
    for number, weight in enumerate(weights, start=1):
        require_fit(weight, features.shape[1])
        size = features.shape[1]
        features = features @ weight[:, :size].T + weight[:, size:].sum(1)
        features = activation(features) if number < len(weights) else features
    return features


def flatten(weights: Sequence[Matrix]) -> Float[Tensor, " P"]:
    """Return all entries of a chain as one vector.

    >>> flatten([torch.eye(2), torch.ones(1, 2)])
    tensor([1., 0., 0., 1., 1., 1.])
    """
    return torch.cat([weight.reshape(-1) for weight in weights])


def unflatten(theta: Float[Tensor, " P"], like: Sequence[Matrix]) -> list[Matrix]:
    """Return a vector as matrices of the same shapes as those of `like`.

    >>> [part.shape[0] for part in unflatten(torch.zeros(6), [torch.eye(2), torch.ones(1, 2)])]
    [2, 1]
    """
    parts = theta.split([weight.numel() for weight in like])
    return [part.reshape(weight.shape) for part, weight in zip(parts, like, strict=True)]


def require_fit(weight: Matrix, size: int) -> None:
    """Raise unless a matrix takes `size` inputs, with or without a bias.

    Raises:
        InvalidInput: if it does not.
    """
    fits = weight.ndim == 2 and weight.shape[1] - size in (0, 1)
    require(
        fits,
        f"a matrix after {size} features has {size} columns, or {size + 1} with its bias",
        tuple(weight.shape),
        "pass rows as neurons, the bias as a last column",
    )


def require_chain(weights: Sequence[Matrix]) -> None:
    """Raise unless there are two matrices or more, each fitting onto the one before it.

    Raises:
        InvalidInput: if there are not.
    """
    require(len(weights) >= 2, "a chain has a hidden layer: two matrices or more", len(weights), "pass all layers")
    for before, after in pairwise(weights):
        require_fit(after, len(before))
