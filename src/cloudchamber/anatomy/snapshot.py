"""A snapshot: what one layer received, computed and was told by the loss, at one step."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Shaped
from torch import Tensor


@dataclass(frozen=True)
class LayerSnapshot:
    """The tensors of one call of one layer; only what some measure needs is there, the rest is None.

    Attributes:
        module: qualified name of the layer's module.
        weight: (h, d) one row (w, b) per neuron.
        activation: name of the activation found, or "none".
        inputs: X, (n, ...), what the layer received.
        outputs: Z, (n, ...), what it computed, before any activation.
        features: F, (n, ...), after its activation (its output if none follows).
        output_gradients: G = ∂loss_x/∂z, like `outputs`; the loss of one sample, not divided by n.
        feature_gradients: Ḟ = ∂loss_x/∂F, like `features`, in the same units.
    """

    module: str
    weight: Float[Tensor, "h d"]
    activation: str = "none"
    inputs: Shaped[Tensor, "n ..."] | None = None
    outputs: Float[Tensor, "n ..."] | None = None
    features: Float[Tensor, "n ..."] | None = None
    output_gradients: Float[Tensor, "n ..."] | None = None
    feature_gradients: Float[Tensor, "n ..."] | None = None
