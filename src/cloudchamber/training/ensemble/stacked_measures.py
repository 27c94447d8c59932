"""The measures of many members at once, in one `vmap`, where they are pure tensor code.

A measure that decides something by its numbers, or reads them out, is no pure tensor code, nor is what is kept of each
member from one observation to the next: those are taken of one member after the other (`stacked_observer`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.func import vmap

from cloudchamber.anatomy import Capture, LayerSnapshot
from cloudchamber.measures import Measure
from cloudchamber.monitor.derived import Derived, Factors, fields_needed
from cloudchamber.monitor.evaluate import Evaluation, Place
from cloudchamber.monitor.observer import Target
from cloudchamber.training.ensemble.stacked_derivatives import StackedTensor
from cloudchamber.training.ensemble.stacked_pass import StackedCapture, snapshots_of, without_rules

NOT_STACKED = RuntimeError
"""What is raised by a model or a measure that `vmap` does not accept."""

_OF_OUTPUTS = frozenset({"network_outputs", "labels"})
"""What measures of the whole network may take here: others keep something of each member."""


def may_be_stacked(measure: Measure) -> bool:
    """Whether a measure can be taken of many members at once, as far as what it takes tells."""
    if measure.scope == "network":
        return measure.needs <= _OF_OUTPUTS
    return "gates" not in fields_needed([measure])  # whether there are gates depends on the member


@dataclass(frozen=True)
class Answers:
    """What the members should say, as measures take it.

    Attributes:
        labels: (n,) the class of each sample.
        samples: the samples of the cosine images.
    """

    labels: StackedTensor
    samples: StackedTensor


@dataclass(frozen=True)
class StackedMeasures:
    """Measures of many members at once.

    Attributes:
        evaluation: what a monitor of one member has.
        target: what is observed.
        empty: a snapshot of each layer without tensors.
    """

    evaluation: Evaluation
    target: Target
    empty: Mapping[str, LayerSnapshot]

    def found(
        self, seen: StackedCapture, measures: Sequence[Measure], answers: Answers, initial: Mapping[str, Tensor]
    ) -> dict[Place, Tensor]:
        """Return the value of every measure of every layer that has one, (m, ...), and of the network.

        Args:
            seen: what a pass showed.
            measures: pure tensor code all of them.
            answers: labels and samples.
            initial: (m, h, d) the weights at the start, by layer.

        Raises:
            RuntimeError: if a measure is not pure tensor code.
        """
        given = {"labels": answers.labels, "samples": answers.samples}
        tensors = {key: {name: each.value for name, each in fields.items()} for key, fields in seen.layers.items()}
        axes = {key: {name: each.axis for name, each in fields.items()} for key, fields in seen.layers.items()}
        places: list[Place] = []

        def of_member(
            tensors: dict[str, dict[str, Tensor]],
            outputs: Tensor,
            answers: dict[str, Tensor],
            initial: dict[str, Tensor],
        ) -> tuple[Tensor, ...]:
            layers = snapshots_of(self.empty, tensors, seen.kernel_samples)
            found = _OneMember(self, layers, outputs, initial, **answers).found(measures)
            places[:] = found
            return tuple(found.values())

        in_dims = (axes, 0, {name: each.axis for name, each in given.items()}, 0 if initial else None)
        with without_rules():
            values = vmap(of_member, in_dims=in_dims, randomness="same")(
                tensors, seen.outputs, {name: each.value for name, each in given.items()}, dict(initial)
            )
        return dict(zip(places, values, strict=True))

    def arrays(
        self, found: Mapping[Place, Tensor], measures: Sequence[Measure], members: int
    ) -> dict[str, np.ma.MaskedArray]:
        """Return an array (m, ...) per measure, as `Evaluation.arrays` does of one member."""
        one = self.evaluation.arrays({place: value[0] for place, value in found.items()}, measures)
        arrays: dict[str, np.ma.MaskedArray] = {}
        for name, like in one.items():
            data = np.full((members, *like.shape), np.nan, like.dtype)
            for number, value in ((number, value) for (of, number), value in found.items() if of == name):
                array = value.detach().cpu().numpy()
                first = () if number is None else (number,)
                data[(slice(None), *first, *map(slice, array.shape[1:]))] = array
            arrays[name] = np.ma.MaskedArray(data, np.broadcast_to(np.ma.getmaskarray(like), data.shape))
        return arrays


@dataclass
class _OneMember:
    """One member as `vmap` sees it.

    Attributes:
        of: the measures with what is the same for all members.
        layers: its snapshots.
        outputs: (n, ...).
        initial: its weights at the start, by layer.
        labels: (n,).
        samples: those of the cosine images.
    """

    of: StackedMeasures
    layers: Mapping[str, LayerSnapshot]
    outputs: Tensor
    initial: Mapping[str, Tensor]
    labels: Tensor
    samples: Tensor

    def found(self, measures: Sequence[Measure]) -> dict[Place, Tensor]:
        """Return the value of every measure of every layer that has one, and of the network."""
        target, evaluation = self.of.target, self.of.evaluation
        layers = {key: target.of_positions(layer) for key, layer in self.layers.items()}
        capture = Capture(layers, self.outputs, 0.0, {}, target.plans[0])
        derived = _Derived(capture, self.labels, evaluation.few, self._first)
        found: dict[Place, Tensor] = {}
        for number, key in enumerate(evaluation.layers):
            for measure in (measure for measure in measures if measure.scope == "layer"):
                arguments = self._of_layer(measure, derived, key)
                if arguments is not None:
                    found[measure.name, number] = measure.function(**arguments)
            derived.forget(key)
        return found | self._of_network([measure for measure in measures if measure.scope == "network"])

    def _of_layer(self, measure: Measure, derived: Derived, key: str) -> dict[str, Any] | None:
        arguments = {argument: derived.of_layer(key, name) for argument, name in measure.takes.items()}
        if any(value is None for value in arguments.values()):
            return None
        chosen = {"samples": self.samples, "neurons": self.of.evaluation.neurons.get(key)}.get(measure.subset)
        if chosen is None:
            return arguments
        return {argument: value[chosen.to(value.device)] for argument, value in arguments.items()}

    def _of_network(self, measures: Sequence[Measure]) -> dict[Place, Tensor]:
        given = {"network_outputs": self.outputs, "labels": self.labels}
        return {(m.name, None): m.function(**{a: given[name] for a, name in m.takes.items()}) for m in measures}

    def _first(self, key: str, name: str, make: Callable[[], Tensor]) -> Tensor:
        return self.initial[key] if name == "weight" else make()


class _Derived(Derived):
    """What measures take, of one member as `vmap` sees it: its tensors have no storage that could be compared."""

    def of_layer(self, key: str, name: str) -> Any:
        """Return a thing of a layer, None if the layer does not have it."""
        if name == "factors" and (key, name) not in self._made:
            self._made[key, name] = self._factors(key)
        return super().of_layer(key, name)

    def _factors(self, key: str) -> Factors | None:
        snapshot = self.seen.layers.get(key)
        if snapshot is None or snapshot.inputs is None or snapshot.output_gradients is None:
            return None
        rows = snapshot.view.factors(snapshot.inputs, snapshot.output_gradients)
        return None if rows is None else Factors(*rows, self.labels, snapshot.view.exchanged)
