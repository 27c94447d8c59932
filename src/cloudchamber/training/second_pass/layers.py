"""What a layer received and was told on one training batch: the one place where the second pass looks into a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber.anatomy import LayerSnapshot, Plan, capture, choose_views
from cloudchamber.measures.vectors import wide
from cloudchamber.monitor.losses import SampleLoss
from cloudchamber.training.session import Session

FIELDS = frozenset({"weight", "inputs", "output_gradients", "gates"})


@dataclass(frozen=True)
class SeenLayer:
    """A layer on one batch, in float64.

    Attributes:
        weight: (h, d), W before the update, without its biases.
        inputs: X, (n, d), or (n, P, d) for a layer applied P times per sample.
        output_gradients: G = ∂loss_x/∂z of single samples, like `inputs`.
        gates: D = σ'(z), (n, h); None for a layer that is applied several times, or whose feature is not entrywise.
        above: the layer that receives exactly this layer's features, "" if there is none.
    """

    weight: Float[Tensor, "h d"]
    inputs: Float[Tensor, "n *p d"]
    output_gradients: Float[Tensor, "n *p h"]
    gates: Float[Tensor, "n h"] | None
    above: str

    def of(self, chosen: Int[Tensor, " m"]) -> SeenLayer:
        """Return the same of some of the samples."""
        gates = None if self.gates is None else self.gates[chosen]
        return replace(self, inputs=self.inputs[chosen], output_gradients=self.output_gradients[chosen], gates=gates)


class Viewer:
    """Looks at the chosen layers of a session's model: names or patterns, None = all."""

    def __init__(self, session: Session, patterns: str | Sequence[str] | None) -> None:
        self._session = session
        self._chosen = choose_views(session.model, patterns)
        self._plan: Plan | None = None

    def look(self, step: int) -> dict[str, SeenLayer]:
        """Return what the layers see on the batch of update number `step`, just before it; nothing changes.

        Where layers couple the batch (batch normalization), G is `∂(Σ loss)/∂z`. Layers without rows are left out.
        """
        inputs, targets = self._session.batches.of_step(step)
        loss = SampleLoss(self._session.loss, targets, "mean")
        model, plan = self._session.model, self._plan
        seen = capture(model, inputs, loss.summed, layers=self._chosen, fields=FIELDS, training_mode=True, plan=plan)
        self._plan = seen.plan
        found = {name: _seen(snapshot) for name, snapshot in seen.layers.items()}
        return {name: layer for name, layer in found.items() if layer is not None}


def _seen(snapshot: LayerSnapshot) -> SeenLayer | None:
    inputs, gradients, weight = snapshot.input_rows, snapshot.gradient_rows, snapshot.weight
    if inputs is None or gradients is None or weight is None:
        return None
    own, gates = wide(weight)[:, : snapshot.view.fan_in], snapshot.gate_rows
    if inputs.shape[1] > 1:
        return SeenLayer(own, wide(inputs), wide(gradients), None, snapshot.next)
    gates = None if gates is None else wide(gates[:, 0])
    return SeenLayer(own, wide(inputs[:, 0]), wide(gradients[:, 0]), gates, snapshot.next)
