"""A snapshot: what one layer received, computed and was told by the loss, at one step."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int, Shaped
from torch import Tensor

from cloudchamber.anatomy.view import LayerView

STORED_FIELDS = frozenset({"inputs", "outputs", "features"})
GRADIENT_FIELDS = frozenset({"feature_gradients", "output_gradients"})
GRAPH_FIELDS = GRADIENT_FIELDS | {"gates", "per_output_gradients"}
"""The fields for which a graph is needed."""
GRADIENT_OF = {"features": "feature_gradients", "outputs": "output_gradients"}
FIELDS = STORED_FIELDS | GRAPH_FIELDS | {"weight"}
"""What can be asked for."""


@dataclass(frozen=True)
class LayerSnapshot:
    """The tensors of one call of one layer; only what was asked for is there, the rest is None.

    Attributes:
        view: how to see its neurons and rows.
        activation: name of the activation found ("relu", "relu after addition"), or "none".
        next: key of the first layer that receives exactly this layer's feature, perhaps in another shape; "" if none.
        weight: (h, d) or (h, d + 1), one row (w, b) per neuron.
        inputs: X, (n, ...), what the layer received.
        outputs: Z, (n, ...), what it computed, before any activation.
        features: F, (n, ...), after its activation (its output if none follows). Where the output is added to
            another branch before the activation, the activation of the sum: the branches share it.
        output_gradients: G = ∂loss_x/∂z, like `outputs`; the loss of one sample, not divided by n.
        feature_gradients: Ḟ = ∂loss_x/∂F, like `features`, in the same units.
        gates: D = ∂F/∂Z entry by entry, like `outputs`; None where F is no entrywise function of Z.
        per_output_gradients: ∂f_o/∂z for every output o of the network, (m, k, ...) of `kernel_samples`.
        kernel_samples: (m,) the samples of `per_output_gradients`; None = all.
    """

    view: LayerView
    activation: str = "none"
    next: str = ""
    weight: Float[Tensor, "h d"] | None = None
    inputs: Shaped[Tensor, "n ..."] | None = None
    outputs: Float[Tensor, "n ..."] | None = None
    features: Float[Tensor, "n ..."] | None = None
    output_gradients: Float[Tensor, "n ..."] | None = None
    feature_gradients: Float[Tensor, "n ..."] | None = None
    gates: Float[Tensor, "n ..."] | None = None
    per_output_gradients: Float[Tensor, "m k ..."] | None = None
    kernel_samples: Int[Tensor, " m"] | None = None

    @property
    def module(self) -> str:
        """Qualified name of the module that holds the weight."""
        return self.view.module

    @property
    def input_rows(self) -> Tensor | None:
        """X, (n, P, d), such that `Σ_x G_xᵀ X_x` is the gradient of the weight; None where not known."""
        if self.view.exchanged:
            return self._rows_of(self.output_gradients)
        return None if self.inputs is None else self.view.input_rows(self.inputs)

    @property
    def gradient_rows(self) -> Tensor | None:
        """G, (n, P, h), the gradients of the outputs in the rows of `input_rows`; None where not known."""
        if self.view.exchanged:
            return None if self.inputs is None else self.view.input_rows(self.inputs)
        return self._rows_of(self.output_gradients)

    @property
    def feature_rows(self) -> Tensor | None:
        """F, (n, P', h): a row per position; None where its entries are not those of the neurons."""
        return self._rows_of_neurons(self.features)

    @property
    def feature_gradient_rows(self) -> Tensor | None:
        """Ḟ, (n, P', h), likewise."""
        return self._rows_of_neurons(self.feature_gradients)

    @property
    def gate_rows(self) -> Tensor | None:
        """D, (n, P, h), likewise."""
        return self._rows_of_neurons(self.gates)

    @property
    def per_output_rows(self) -> Tensor | None:
        """∂f_o/∂z, (m, k, P, h); None where not known, and for layers whose inputs and gradients are exchanged."""
        gradients = self.per_output_gradients
        if gradients is None or self.view.exchanged:
            return None
        rows = self.view.output_rows(gradients.flatten(0, 1))
        return None if rows is None else rows.unflatten(0, gradients.shape[:2])

    def per_output_factors(self, output: int) -> tuple[Tensor, Tensor] | None:
        """Return (X, G), (m, P, d) and (m, P, h), with `G_xᵀ X_x` the gradient of one output; None where not known.

        Args:
            output: number of the network's output.
        """
        if self.inputs is None or self.per_output_gradients is None:
            return None
        inputs = self.inputs if self.kernel_samples is None else self.inputs[self.kernel_samples]
        return self.view.factors(inputs, self.per_output_gradients[:, output])

    def _rows_of(self, tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else self.view.output_rows(tensor)

    def _rows_of_neurons(self, tensor: Tensor | None) -> Tensor | None:
        axis = self.view.neuron_axis
        if tensor is None or axis is None or tensor.ndim <= max(axis, 1) or tensor.shape[axis] != self.view.width:
            return None
        return self.view.output_rows(tensor)
