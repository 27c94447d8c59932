"""Optimistic sample size: how many samples can be enough to recover a target, however wide the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jacrev

from cloudchamber._core.errors import require
from cloudchamber.theory.criticality import Parameters, exact


def optimistic_sample_size(
    target_width: int | Sequence[int],
    input_dim: int,
    outputs: int = 1,
    *,
    bias: bool = False,
    output_bias: bool = False,
    homogeneous: bool = False,
) -> int:
    """Return the optimistic sample size of a target: the parameter count of the narrowest network that is the target.

    `Σ_l h_l (h_{l−1} + 1_bias) + k (h_L + 1_output bias)`; for two layers and one output `m₀(d + 1)` without bias,
    `m₀(d + 2)` with. It does not depend on the width of the network that is trained: that one is condensed when it
    recovers the target. It is the dimension of the tangent functions `∂f/∂θ_i` there (`tangent_rank`): proven to be the
    exact optimistic sample size for two-layer tanh networks, an upper bound for deeper ones, and for special targets.
    "Optimistic": fewer samples cannot determine the target near that point; that training finds it is not promised.

    Args:
        target_width: m₀, neurons of the narrowest network that represents the target; for deeper ones the widths of
            its hidden layers. 0 for the zero function.
        input_dim: d.
        outputs: k.
        bias: whether hidden neurons have a bias.
        output_bias: whether outputs have a bias.
        homogeneous: whether σ(cz) = cσ(z) for c > 0 (ReLU): then scaling w up and a down is no change, and each
            hidden neuron has one dimension less (and less still where it is linear on all samples).

    Raises:
        InvalidInput: if a size is out of its range.

    Source: overview2025, Section 7.1; Zhang et al., Optimistic estimate uncovers the potential of nonlinear models
    (2023); for proof, Zhang et al., Local linear recovery guarantee (2025). "homogeneous" is our own count.

    >>> optimistic_sample_size(3, 5), optimistic_sample_size(3, 5, bias=True), optimistic_sample_size([4, 2], 5)
    (18, 21, 30)
    """
    widths = [target_width] if isinstance(target_width, int) else list(target_width)
    valid = len(widths) > 0 and min(widths) >= 0 and min(input_dim, outputs) >= 1
    require(valid, "widths are not negative, inputs and outputs at least 1", (widths, input_dim, outputs), "pass sizes")
    if 0 in widths:
        return outputs * output_bias
    hidden = sum(after * (before + bias) for before, after in pairwise([input_dim, *widths]))
    return hidden + outputs * (widths[-1] + output_bias) - homogeneous * sum(widths)


def optimistic_sample_size_linear(rank: int, input_dim: int, outputs: int = 1) -> int:
    """Return the number of values that can determine a linear map of a given rank learnt by a two-layer linear net.

    `r (d + k − r)`, the dimension of the matrices of rank r; matrix factorization.

    Args:
        rank: r of the target map.
        input_dim: d.
        outputs: k.

    Raises:
        InvalidInput: if the rank is negative or more than d or k.

    Source: Zhang et al., Optimistic estimate (2023), matrix factorization.

    >>> optimistic_sample_size_linear(1, 4, 4)
    7
    """
    valid = 0 <= rank <= min(input_dim, outputs)
    require(valid, f"`rank` is from 0 to {min(input_dim, outputs)}", rank, "pass the rank of the target")
    return rank * (input_dim + outputs - rank)


def tangent_rank(
    function: Callable[[Tensor, Tensor], Tensor],
    theta: Parameters,
    samples: Float[Tensor, "n d"],
    *,
    relative_zero: float = 1e-10,
) -> int:
    """Return the dimension of the space of tangent functions `∂f(·; θ)/∂θ_i` at a point, from samples of them.

    The optimistic sample size of a target is the least of it over all points θ that represent the target.

    Args:
        function: f, of parameters (P,) and samples (n, d) to outputs (n, k).
        theta: (P,), θ.
        samples: (n, d), in general position; more of them than the rank, or the rank found is theirs.
        relative_zero: singular values within this part of the largest count as zero.

    Raises:
        InvalidInput: if `theta` is not a floating-point vector.

    Source: Zhang et al., Optimistic estimate (2023), model rank.

    >>> tangent_rank(lambda theta, x: x * theta[0] * theta[1], torch.ones(2), torch.randn(9, 1, dtype=torch.float64))
    1
    """
    jacobian = jacrev(function)(exact(theta), samples.to(torch.float64)).flatten(0, -2)
    values = torch.linalg.svdvals(jacobian)
    return int((values > relative_zero * values.max()).sum())
