"""Which neurons do anything."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Scalar
from cloudchamber.measures.vectors import precision


def dead_fraction(features: Float[Tensor, "n ..."], *, neurons: int = -1) -> Scalar:
    """Return the fraction of neurons whose feature is exactly zero for all samples.

    `|{j : F_j|_x = 0 for all x}| / h`: such ReLU neurons have no gradient, and stay as they are.

    Args:
        features: (n, h) or (n, P, h), F, after the activation.
        neurons: the dimension of the neurons; 1 for what a convolution returns, (n, h, ...).

    Returns:
        A number in [0, 1]: float64 for float64 features, float32 otherwise. NaN without samples or neurons, and
        where a NaN enters.

    Raises:
        InvalidInput: if `features` is not floating-point, or has no such dimension beside that of the samples.

    Source: overview2025, Section 3 (static neurons: "for all inputs, neurons always output zero").

    >>> dead_fraction(torch.tensor([[0.0, 1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 3.0]]))
    tensor(0.5000)
    """
    by_neuron = neuron_rows(features, "features", neurons)
    largest = by_neuron.abs().amax(1) if by_neuron.shape[1] else by_neuron.new_full((len(by_neuron),), torch.nan)
    dead = torch.where(largest.isnan(), torch.nan, (largest == 0).to(precision(features)))
    return dead.mean()


def neuron_rows(tensor: Tensor, name: str, neurons: int) -> Float[Tensor, "h m"]:
    """Return one row per neuron: its values for all samples and positions.

    Raises:
        InvalidInput: if the tensor is not floating-point, or has no such dimension beside that of the samples.

    >>> neuron_rows(torch.zeros(5, 3, 2, 2), "features", 1).shape
    torch.Size([3, 20])
    """
    known = -tensor.ndim <= neurons < tensor.ndim and neurons % tensor.ndim > 0
    require(
        tensor.is_floating_point() and known,
        f"`{name}` is a floating-point tensor with samples first, and has dimension {neurons} for its neurons",
        f"{tensor.dtype} of shape {tuple(tensor.shape)}",
        "say which dimension the neurons are",
    )
    return tensor.detach().movedim(neurons, 0).flatten(1)
