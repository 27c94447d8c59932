"""The gradient of a weight by one sample as two small factors: `∂loss_x/∂W = G_xᵀ X_x`, never all of them at once.

X_x holds what the layer received, G_x = ∂loss_x/∂z what it was told, one row for each of the P times that the layer
is applied to the sample: positions of a convolution, tokens, time steps, uses of a shared weight. Summing over them
before the product is wrong. P is 1, and its dimension may be left out, where the layer is applied once.

With biases, give X a last column of ones: the gradient is then that of (W, b).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.measures.vectors import precision, product, wide

Inputs = Float[Tensor, "n *p d"]
OutputGradients = Float[Tensor, "n *p h"]
PerApplication = Float[Tensor, "n *p"]
Direction = Float[Tensor, " h"]

CHUNK = 2**22


def as_factors(inputs: Tensor, output_gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Return X (n, P, d) and G (n, P, h), detached and in one precision of statistics.

    Raises:
        InvalidInput: if they are not floating-point tensors of 2 or 3 dimensions that agree in all but the last.
    """
    X, G = _stacked(inputs, "inputs"), _stacked(output_gradients, "output_gradients")
    require(
        inputs.shape[:-1] == output_gradients.shape[:-1],
        "`inputs` and `output_gradients` hold the same samples, and the same positions of each",
        f"{tuple(inputs.shape)} and {tuple(output_gradients.shape)}",
        "pass X and G of the same call of one layer",
    )
    dtype = precision(X, G)
    return X.to(dtype), G.to(dtype)


def require_once(**tensors: Tensor) -> None:
    """Raise `InvalidInput` unless each is a floating-point matrix of the same number of samples."""
    samples = {len(tensor) for tensor in tensors.values() if tensor.ndim}
    for name, tensor in tensors.items():
        require(
            tensor.is_floating_point() and tensor.ndim == 2 and tensor.shape[1] > 0 and len(samples) == 1,
            f"`{name}` is a floating-point matrix with one row per sample, as of a layer applied once to each",
            f"{tensor.dtype} of shape {tuple(tensor.shape)}",
            "choose a layer that is applied once per sample, and pass the same samples everywhere",
        )


def unit_direction(direction: Tensor, size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return Ĉ = C/‖C‖ and ‖C‖; NaN for C = 0, which is no direction.

    Raises:
        InvalidInput: if `direction` is not a floating-point vector with one entry for each of `size` neurons.
    """
    require(
        direction.is_floating_point() and tuple(direction.shape) == (size,),
        f"`direction` holds one floating-point number for each of the {size} neurons",
        f"{direction.dtype} of shape {tuple(direction.shape)}",
        "pass one row of `common_directions(...).vectors` of the same layer",
    )
    exact = wide(direction)
    length = torch.linalg.vector_norm(exact)
    device = exact.device if dtype == torch.float64 else direction.device
    return (exact / length).to(device, dtype), length.to(device, dtype)


def chunks(X: Tensor, G: Tensor, entries: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield X and G of a few samples at a time, so few that what takes so many entries per sample stays bounded."""
    few = max(1, CHUNK // entries)
    return zip(X.split(few), G.split(few), strict=True)


def sample_gradients(X: Float[Tensor, "n P d"], G: Float[Tensor, "n P h"]) -> Iterator[Float[Tensor, "c h d"]]:
    """Yield ∂loss_x/∂W = G_xᵀ X_x of a few samples at a time."""
    for x, g in chunks(X, G, X.shape[2] * G.shape[2]):
        yield product(g.mT, x)


def power_of_two(tensor: Tensor) -> float:
    """Return a power of two of the size of the largest entry: 1 if all are zero, NaN or infinity if one is.

    Divided by it nothing is rounded, and squares are safe.
    """
    ends = torch.aminmax(tensor) if tensor.numel() else (tensor.new_zeros(()),)
    largest = float(torch.stack([*ends]).abs().amax())
    return 2.0 ** (math.frexp(largest)[1] - 1) if 0 < largest < math.inf else largest or 1.0


def _stacked(tensor: Tensor, name: str) -> Tensor:
    require(
        tensor.is_floating_point() and tensor.ndim in (2, 3) and tensor.shape[-1] > 0,
        f"`{name}` is a floating-point tensor of shape (n, size) or (n, P, size)",
        f"{tensor.dtype} of shape {tuple(tensor.shape)}",
        "give it one row per sample and application of the layer (unfold a convolution's inputs)",
    )
    return tensor.detach() if tensor.ndim == 3 else tensor.detach().unsqueeze(1)
