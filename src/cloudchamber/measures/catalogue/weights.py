"""Sizes of weights and of their gradients, how far weights have moved, and whether layers read what others write."""

from __future__ import annotations

from cloudchamber._core.types import Scalar
from cloudchamber.measures.catalogue.entries import COSINE, POSITIVE, entry
from cloudchamber.measures.consecutive import layer_alignment
from cloudchamber.measures.drift import relative_distance
from cloudchamber.measures.factors import Inputs, OutputGradients
from cloudchamber.measures.norms import sample_gradient_norms, weight_norm
from cloudchamber.measures.registry import RARE


def mean_sample_gradient_norm(inputs: Inputs, output_gradients: OutputGradients) -> Scalar:
    """Return the mean over samples of `sample_gradient_norms`."""
    return sample_gradient_norms(inputs, output_gradients).mean()


entry(
    "weight_norm",
    "Frobenius norm of the weights, with the biases",
    "‖W‖",
    "mlp2024, Appendix I.5",
    POSITIVE,
    weight_norm,
    {"weight": "weight"},
    groups=("default",),
)

entry(
    "relative_distance",
    "distance of the weights from their start, relative to their start",
    "RD",
    "overview2025, Section 5, Eq. (5)",
    POSITIVE,
    relative_distance,
    {"weight": "weight", "initial_weight": "initial_weight", "initial_norm": "initial_norm"},
    groups=("default", "neurons"),
)

entry(
    "gradient_norm",
    "norm of the mean loss's gradient by the weights, without the biases",
    "‖E ∂loss|x/∂W‖",
    "mlp2024, Section 3.1.1",
    POSITIVE,
    weight_norm,
    {"weight": "mean_gradient"},
    groups=("mlp2024",),
    sparse=True,
)

entry(
    "sample_gradient_norm",
    "norm of one sample's gradient by the weights, without the biases, mean over samples",
    "E ‖∂loss|x/∂W‖",
    "mlp2024, Eq. (15)",
    POSITIVE,
    mean_sample_gradient_norm,
    {"inputs": "input_rows", "output_gradients": "output_gradient_rows"},
    groups=("mlp2024",),
    sparse=True,
)

entry(
    "layer_alignment",
    "cosine of the direction that a layer writes with the one that the next layer reads",
    "ζ",
    "xu2024, Eq. (20)",
    COSINE,
    layer_alignment,
    {"weight": "matrix", "next_weight": "reading_matrix"},
    at_most=RARE,
)
