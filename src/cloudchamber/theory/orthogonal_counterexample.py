"""Data on which neurons condense on more lines than the multiplicity of their activation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cloudchamber._core.errors import require


class Samples(NamedTuple):
    """Inputs (n, d) and residuals (n,), e = f − y, of a direction field."""

    inputs: Tensor
    residuals: Tensor


def orthogonal_counterexample(dimension: int, *, bias: bool = True) -> Samples:
    """Return data with d attracting lines for every p ≥ 3: more than p, and more than 2p directions, once d > p.

    d samples, orthogonal to each other and of equal length, with residuals −d: `φ(u) = σ^(p)(0)/p! Σ_i (u·x_i)^p`, an
    orthogonally decomposable form, whose maxima on the sphere are the lines of the x_i. With a positive coefficient,
    neurons with a > 0 grow along all of them; for odd p those with a < 0 along the opposite directions. There are
    further attractors of orientations, at which neurons shrink: for odd p the line of `Σ x_i`, for even p the 2^{d−1}
    lines of `±x_1 ± … ± x_d`. For p = 1 one line is left, for p = 2 φ is constant. So in the leading order, for inputs
    of d dimensions, the paper's conjecture does not hold that multiplicity p means at most 2p orientations; the general
    bound on critical lines is `((p−1)^d − 1)/(p − 2)`.

    A network of x² tanh x that is trained on these data shows all d lines if its neurons move at one speed (every
    step normalized per neuron). Under plain gradient flow one neuron runs away before the others have turned, and
    Adam, which normalizes every entry, turns neurons to other directions than those of the field.

    Args:
        dimension: d, of the weights including the bias, at least 2.
        bias: whether the last entry of each input is 1, as for a network with biases: the samples are then the corners
            of a regular simplex in d − 1 dimensions; otherwise they are `√d` times the axes.

    Returns:
        `inputs` (d, d) and `residuals` (d,), in float64; a network near 0 has these residuals for the targets y = d.

    Raises:
        InvalidInput: if `dimension` is less than 2.

    Source: zhou2022, Section 4.3, conjecture; ours.

    >>> data = orthogonal_counterexample(3)
    >>> (data.inputs @ data.inputs.T).round(decimals=12).abs()
    tensor([[3., 0., 0.],
            [0., 3., 0.],
            [0., 0., 3.]], dtype=torch.float64)
    """
    require(dimension >= 2, "`dimension` is at least 2", dimension, "count the bias as a dimension")
    size = dimension**0.5
    inputs = size * (_turned_to_the_last_axis(dimension) if bias else torch.eye(dimension, dtype=torch.float64))
    return Samples(inputs, inputs.new_full((dimension,), -float(dimension)))


def _turned_to_the_last_axis(dimension: int) -> Tensor:
    """The Householder reflection that takes the diagonal to the last axis: orthonormal rows, last column 1/√d."""
    identity = torch.eye(dimension, dtype=torch.float64)
    normal = identity[-1] - identity.sum(0) / dimension**0.5
    return identity - 2 * torch.outer(normal, normal) / (normal @ normal)
