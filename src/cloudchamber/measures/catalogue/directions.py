"""Common directions of the weight changes that this observation's samples ask for, and what happens along them.

C_1 … C_k are those of Lemma 1 for the gradients of one observation: they fit the changes of all its single samples
best; overall, not per class. The learning rate is 1, so that `ΔW|x = −∂loss_x/∂W`. Directions that span the steps of a
phase come from accumulators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.nulls import PERMUTED
from cloudchamber._core.types import Labels, Scalar, Vectors, Weight
from cloudchamber.measures.alignment import shuffled_step_alignment, sign_agreement, step_alignment
from cloudchamber.measures.catalogue.entries import COSINE, FRACTION, LAYER, POSITIVE, REAL, entry
from cloudchamber.measures.decomposition import WeightParts, direction_strengths
from cloudchamber.measures.directions import CommonDirections
from cloudchamber.measures.enhancement import Lemma3Terms, self_enhancement
from cloudchamber.measures.factors import Direction, Inputs, OutputGradients
from cloudchamber.measures.registry import Field

DIRECTION_COUNT = 3
"""How many common directions have a place in a record."""

_Rows = Float[Tensor, "n h"]
_Takes = Mapping[str, Field]
_ROWS: _Takes = {
    "inputs": "received_rows",
    "output_gradients": "output_gradient_rows",
    "direction": "direction",
    "labels": "row_labels",
}
_SINGLE: _Takes = {
    "inputs": "single_inputs",
    "output_gradients": "single_output_gradients",
    "weight": "matrix",
    "direction": "direction",
    "feature_changes": "input_changes",
}


def strengths(mean_gradient: Weight, directions: CommonDirections) -> Float[Tensor, " k"]:
    """Return `s_i = ‖E[∂loss_x/∂W]ᵀ C_i‖`: how far a step of rate 1 moves the weights along C_i.

    The form of mlp2024, Appendix F, for one step; but C_i fit all single samples' changes (Lemma 1), where Appendix F
    fits C_2, … to mean changes of many steps.
    """
    return direction_strengths(mean_gradient, directions.vectors)


def share(directions: CommonDirections) -> Scalar:
    """Return the part of all squares of the samples' changes that lies along C_1."""
    return directions.shares[0]


def size_along(parts: WeightParts) -> Scalar:
    """Return ‖V‖, for C_1 of length 1."""
    return parts.along


def share_beside(parts: WeightParts) -> Scalar:
    """Return ‖ε‖/‖W‖: 0 if the weights of all neurons are multiples of one V, as C_1 says, 1 if V = 0."""
    return parts.beside / parts.total


def mean_common_term(terms: Lemma3Terms) -> Scalar:
    """Return the mean over samples of the first term of Lemma 3."""
    return terms.common.mean()


def mean_noise_term(terms: Lemma3Terms) -> Scalar:
    """Return the mean over samples of the second term of Lemma 3, which may have either sign."""
    return terms.noise.mean()


def mean_enhancement(
    inputs: Vectors, output_gradients: _Rows, weight: Weight, direction: Direction, feature_changes: Vectors
) -> Scalar:
    """Return the mean of o over those samples that have one, ΔV of the sample alone and ΔF = −Wᵀg."""
    o = self_enhancement(inputs, output_gradients, weight, direction, feature_changes=feature_changes)
    return o.nanmean()


def mean_step_enhancement(
    inputs: Vectors, output_gradients: _Rows, weight: Weight, direction: Direction, feature_changes: Vectors
) -> Scalar:
    """Return the mean of o over those samples that have one, ΔV of a step on all samples and ΔF = −Wᵀg."""
    o = self_enhancement(inputs, output_gradients, weight, direction, feature_changes=feature_changes, whole_step=True)
    return o.nanmean()


def mean_alignment(inputs: Inputs, output_gradients: OutputGradients, direction: Direction, labels: Labels) -> Scalar:
    """Return the mean over samples and positions of `step_alignment`, with one sign α per class."""
    return step_alignment(inputs, output_gradients, direction, labels).nanmean()


def mean_permuted_alignment(
    inputs: Inputs, output_gradients: OutputGradients, direction: Direction, labels: Labels
) -> Scalar:
    """Return the mean over samples, positions and draws of `shuffled_step_alignment`."""
    return shuffled_step_alignment(inputs, output_gradients, direction, labels).nanmean()


def _entry(
    name: str,
    long_name: str,
    symbol: str,
    section: str,
    bounds: tuple[float, float],
    function: Callable[..., Tensor],
    takes: _Takes,
    *,
    dims: tuple[str, ...] = LAYER,
    null: bool = False,
) -> None:
    paper = f"mlp2024, {section}"
    entry(
        name, long_name, symbol, paper, bounds, function, takes, dims=dims, groups=("mlp2024",), sparse=True, null=null
    )


_entry(
    "direction_strength",
    "size of the mean gradient along each common direction",
    "s_i",
    "Appendix F, Figure 3",
    POSITIVE,
    strengths,
    {"mean_gradient": "mean_gradient", "directions": "directions"},
    dims=(*LAYER, "direction"),
)
_entry(
    "direction_share",
    "part of the squares of all samples' gradients that lies along the common direction",
    "E ‖ΔV|x Cᵀ‖² / E ‖ΔW|x‖²",
    "Lemma 1",
    FRACTION,
    share,
    {"directions": "directions"},
    null=True,
)
_entry(
    "weight_along_direction",
    "size of the weights along the common direction",
    "‖V‖",
    "Lemma 2",
    POSITIVE,
    size_along,
    {"parts": "weight_parts"},
)
_entry(
    "weight_beside_direction",
    "size of the weights beside the common direction, relative to all",
    "‖ε‖ / ‖W‖",
    "Lemma 2",
    FRACTION,
    share_beside,
    {"parts": "weight_parts"},
)
_entry(
    "common_term",
    "first term of Lemma 3, mean over samples",
    "E ΔVᵀF VᵀV CᵀC ΔVᵀF",
    "Lemma 3, Figure 52",
    POSITIVE,
    mean_common_term,
    {"terms": "lemma3_terms"},
)
_entry(
    "noise_term",
    "second term of Lemma 3, mean over samples",
    "E ΔVᵀF Vᵀε ΔεᵀF",
    "Lemma 3, Figure 52",
    REAL,
    mean_noise_term,
    {"terms": "lemma3_terms"},
)
_entry(
    "self_enhancement",
    "whether features and weights pull each other the same way, by single samples, mean over samples",
    "E cos(ΔV|x, F|x) cos(V, ΔF|x)",
    "Lemma 3, Figure 5",
    COSINE,
    mean_enhancement,
    _SINGLE,
    null=True,
)
_entry(
    "self_enhancement_step",
    "whether features and weights pull each other the same way, by a step on all samples, mean over samples",
    "E cos(ΔV, F|x) cos(V, ΔF|x)",
    "Lemma 3, Figure 5",
    COSINE,
    mean_step_enhancement,
    _SINGLE,
    null=True,
)
_entry(
    "step_alignment",
    "cosine of a step's weight change along the common direction with the features, mean over samples",
    "E cos(α_c ΔV, F|x)",
    "Figure 4, Theorem 2",
    COSINE,
    mean_alignment,
    _ROWS,
    null=True,
)
_entry(
    "step_alignment" + PERMUTED,
    "the same with the pushes of the samples dealt out to others, mean over 20 draws",
    "E cos(α_c ΔV, F|x) (permuted)",
    "Figure 4, Theorem 2",
    COSINE,
    mean_permuted_alignment,
    _ROWS,
)
_entry(
    "sign_agreement",
    "how often two samples of a class push the weights the same way along the common direction",
    "P(Cᵀg|x Cᵀg|x′ > 0)",
    "Theorem 2",
    FRACTION,
    sign_agreement,
    {"output_gradients": "single_output_gradients", "direction": "direction", "labels": "labels"},
    null=True,
)
