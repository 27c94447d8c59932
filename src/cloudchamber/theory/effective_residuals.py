"""Condensation in a hidden layer of a deep network, from the gradients in its features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber.theory.field_data import finite


@dataclass(frozen=True)
class EffectiveResiduals:
    """The residuals and output weights that one layer of a network acts as if it had.

    Attributes:
        residuals: (n,), e.
        output_weights: (h,), a, with mean square 1 and its largest entry positive.
        share: the part of `‖Ḟ‖²_F` that `e aᵀ` explains, in [0, 1]; 1 if all neurons move in one direction field.
            Where it is well below 1 each neuron has a field of its own: pass `feature_gradients[:, j]` as its
            residuals, and match it with output weight 1. NaN if all gradients are zero.
    """

    residuals: Float[Tensor, " n"]
    output_weights: Float[Tensor, " h"]
    share: float


def effective_residuals(feature_gradients: Float[Tensor, "n h"]) -> EffectiveResiduals:
    """Return the residuals and output weights that explain the gradients in a layer's features best, `Ḟ ≈ e aᵀ`.

    In layer k of zhou2022 `Ḟ_ij = e_i (E^[k+1:L] a)_j`, where E depends on the sample through σ'. While the layers
    above are in their linear range (p = 1) it does not, and one direction field moves all neurons; with several
    outputs, or p > 1 above, Ḟ is no product, and `share` says how far it is from one. The sign of the pair is a
    convention: (−e, −a) predicts the same attractors.

    Args:
        feature_gradients: (n, h), `∂loss_i/∂F_ij` of each sample's own loss, not divided by n (theory: Ḟ).

    Returns:
        The leading singular pair, in float64.

    Raises:
        InvalidInput: if the gradients are not a finite floating-point matrix.

    Source: zhou2022, Eq. (10) (the reduction to a pair is ours).

    >>> effective_residuals(torch.tensor([[3.0, -3.0], [4.0, -4.0]])).residuals
    tensor([3.0000, 4.0000], dtype=torch.float64)
    """
    gradients = finite(feature_gradients, "feature_gradients", "n h")
    left, strengths, right = torch.linalg.svd(gradients, full_matrices=False)
    largest, size = right[0, right[0].abs().argmax()], gradients.shape[1] ** 0.5
    sign = 1.0 if largest >= 0 else -1.0
    total = float(strengths.square().sum())
    share = float(strengths[0].square()) / total if total else torch.nan
    return EffectiveResiduals(sign / size * strengths[0] * left[:, 0], sign * size * right[0], share)
