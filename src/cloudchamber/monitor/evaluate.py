"""Applies the chosen measures to what one pass over the probe showed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloudchamber.anatomy import Capture, LayerSnapshot
from cloudchamber.measures import Measure


@dataclass(frozen=True)
class Evaluation:
    """The measures of a monitor with what they need beside a capture.

    Attributes:
        measures: the chosen ones.
        layers: the keys of the observed layers, in the order of the record.
        labels: (n,) class of each probe sample.
        samples: the samples of the cosine images.
        neurons: per layer, the neurons of the cosine images.
        initial_weights: per layer, the weight at the start; empty if no measure takes it.
    """

    measures: tuple[Measure, ...]
    layers: tuple[str, ...]
    labels: Tensor
    samples: Tensor
    neurons: Mapping[str, Tensor]
    initial_weights: Mapping[str, Tensor]

    def values(self, seen: Capture, *, images: bool) -> dict[str, np.ma.MaskedArray]:
        """Return an array per measure, without the step dimension; masked where a layer could not be measured."""
        chosen = [measure for measure in self.measures if images or not measure.at_image_steps]
        return {measure.name: self._value(measure, seen) for measure in chosen}

    def _value(self, measure: Measure, seen: Capture) -> np.ma.MaskedArray:
        if measure.scope == "network":
            return _array(measure.function(**{name: self._network(seen, at) for name, at in measure.takes.items()}))
        rows = [self._of_layer(measure, key, seen.layers.get(key)) for key in self.layers]
        return _stack(rows, self._shape(measure))

    def _network(self, seen: Capture, name: str) -> Tensor:
        return self.labels if name == "labels" else seen.outputs

    def _of_layer(self, measure: Measure, key: str, snapshot: LayerSnapshot | None) -> np.ma.MaskedArray | None:
        if snapshot is None:
            return None
        arguments = {name: self._field(at, key, snapshot) for name, at in measure.takes.items()}
        if any(value is None for value in arguments.values()):
            return None
        return _array(measure.function(**{name: self._subset(measure, key, v) for name, v in arguments.items()}))

    def _field(self, name: str, key: str, snapshot: LayerSnapshot) -> Tensor | None:
        if name == "labels":
            return self.labels
        if name == "initial_weight":
            return self.initial_weights.get(key)
        value = getattr(snapshot, name)
        return value if value is None or name == "weight" else value.flatten(1)

    def _subset(self, measure: Measure, key: str, value: Tensor | None) -> Tensor | None:
        chosen = {"samples": self.samples, "neurons": self.neurons.get(key)}.get(measure.subset)
        return value if chosen is None or value is None else value[chosen.to(value.device)]

    def _shape(self, measure: Measure) -> tuple[int, ...]:
        sizes = {
            "": (),
            "samples": (len(self.samples),) * 2,
            "neurons": (max(len(ids) for ids in self.neurons.values()),) * 2,
        }
        return sizes[measure.subset]


def _array(value: Tensor) -> np.ma.MaskedArray:
    kept = torch.float32 if value.ndim == 2 else torch.float64
    return np.ma.MaskedArray(value.detach().to("cpu", kept).numpy(), mask=False)


def _stack(rows: Sequence[np.ma.MaskedArray | None], shape: tuple[int, ...]) -> np.ma.MaskedArray:
    missing = np.full((len(rows), *shape), np.nan, np.float32 if shape else np.float64)
    stacked = np.ma.MaskedArray(missing, mask=True)
    for index, row in enumerate(rows):
        if row is not None:
            stacked[(index, *(slice(size) for size in row.shape))] = row
    return stacked


def scalars(**values: float | None) -> dict[str, np.ma.MaskedArray]:
    """Return the numbers that were given as arrays without dimension; None = not measured."""
    return {
        name: np.ma.MaskedArray(np.float64(value), mask=False) for name, value in values.items() if value is not None
    }


def fields_needed(measures: Iterable[Measure]) -> frozenset[str]:
    """Return the fields of a layer's snapshot that the measures take."""
    return frozenset(field for measure in measures if measure.scope == "layer" for field in measure.needs)
