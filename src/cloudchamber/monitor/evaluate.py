"""Applies the chosen measures to what one pass over the probe showed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cloudchamber._core.record import Later, Values, kept_dtype
from cloudchamber._core.registry import Quantity
from cloudchamber.anatomy import Capture
from cloudchamber.measures import Measure
from cloudchamber.measures.catalogue.directions import DIRECTION_COUNT
from cloudchamber.measures.catalogue.theorem1 import COMPONENT_COUNT
from cloudchamber.measures.partials import Partial
from cloudchamber.monitor.at_once import AtOnce
from cloudchamber.monitor.derived import FEW, Derived
from cloudchamber.monitor.derived import fields_needed as fields_needed
from cloudchamber.monitor.kernels import KernelSource, Network
from cloudchamber.monitor.probe import image_samples

Place = tuple[str, int | None]
"""The name of a measure, and the number of the layer that a value is of; None = of the network."""


Value = Tensor | float
"""What a measure is found to be."""


@dataclass(frozen=True)
class Due:
    """The measures that are taken together of one pass, by how they are computed."""

    measures: tuple[Measure, ...]

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields of snapshots that they need."""
        return fields_needed(self.measures)

    @cached_property
    def is_calm(self) -> bool:
        """Whether they are known to draw no random numbers: those that native code can take."""
        return all(measure.at_once is not None for measure in self.measures)

    @cached_property
    def of_layers(self) -> tuple[Measure, ...]:
        """Those that every layer has."""
        return tuple(measure for measure in self.measures if measure.scope == "layer")

    @cached_property
    def of_network(self) -> tuple[Measure, ...]:
        """Those of the whole network."""
        return tuple(measure for measure in self.measures if measure.scope == "network")

    @cached_property
    def in_parts(self) -> tuple[Measure, ...]:
        """Those that are computed of all layers together."""
        return tuple(measure for measure in self.of_layers if measure.partials is not None)

    @cached_property
    def at_once(self) -> AtOnce | None:
        """How these are computed in one call; None if they have no such function."""
        return AtOnce.of(self.in_parts)

    @cached_property
    def summed(self) -> Mapping[str, str]:
        """What each of these is of, by name."""
        return {measure.name: measure.summed for measure in self.in_parts}


@dataclass(frozen=True)
class Evaluation:
    """The measures of a monitor with what they need beside a capture.

    Attributes:
        measures: the chosen ones.
        layers: the keys of the observed layers, in the order of the record.
        labels: (n,) class of each probe sample, from 0 on.
        samples: the samples of the cosine images.
        neurons: per layer, the neurons of the cosine images.
        initial_weights: per layer, the weight at the start; of layers without one, that of the first observation.
        targets: (n, k) what the network should give, as numbers (one-hot for classes); None = unknown.
        kernel_source: where the kernel comes from.
    """

    measures: tuple[Measure, ...]
    layers: tuple[str, ...]
    labels: Tensor
    samples: Tensor
    neurons: Mapping[str, Tensor]
    initial_weights: Mapping[str, Tensor] = field(default_factory=dict)
    targets: Tensor | None = None
    kernel_source: KernelSource = field(default_factory=KernelSource)
    _first: dict[tuple[str, str], Tensor] = field(default_factory=dict, repr=False, compare=False)
    _due: dict[tuple[bool, bool], tuple[Due, Due]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def values(
        self, seen: Capture, *, images: bool, rare: bool | None = None, shuffled: Capture | None = None
    ) -> Values:
        """Return an array per measure, without the step dimension; masked where a layer could not be measured.

        They are measured now, and put in order when they are asked for.

        Args:
            seen: the pass over the probe.
            images: whether what is taken at image steps is taken now.
            rare: whether what is limited to a few steps of a run is; by default where images are.
            shuffled: the pass over the probe with shuffled inputs; without it, null values are left out.
        """
        straight, null = self.due(images=images, rare=images if rare is None else rare)
        found = self._found(seen, straight)
        if shuffled is not None:
            found |= self._found(shuffled, null)
        arrays, measures = _arrays(found), straight.measures + (() if shuffled is None else null.measures)
        return Later(lambda: self._in_order(arrays, measures))

    def due(self, *, images: bool, rare: bool) -> tuple[Due, Due]:
        """Return the measures that are taken at such an observation, and those of the shuffled probe."""
        if (images, rare) not in self._due:
            due = [measure for measure in self.measures if measure.due(images=images, rare=rare)]
            each = (tuple(m for m in due if m.shuffled is shuffled) for shuffled in (False, True))
            self._due[images, rare] = Due(next(each)), Due(next(each))
        return self._due[images, rare]

    def arrays(self, found: Mapping[Place, Value], measures: Sequence[Measure]) -> dict[str, np.ma.MaskedArray]:
        """Return an array per measure from what was found of them; masked where there is nothing."""
        return self._in_order(_arrays(found), measures)

    def _in_order(
        self, arrays: Mapping[Place, np.ndarray | float], measures: Sequence[Measure]
    ) -> dict[str, np.ma.MaskedArray]:
        values = {m.name: self._of_layers(m.quantity, arrays) for m in measures if m.scope == "layer"}
        whole = {name: np.ma.MaskedArray(array, mask=False) for (name, layer), array in arrays.items() if layer is None}
        return values | whole

    @cached_property
    def few(self) -> Tensor:
        """The samples for Theorem 1 and kernels: at most 100, equally many of each class."""
        if len(self.labels) <= FEW:
            return torch.arange(len(self.labels), device=self.labels.device)
        return image_samples(self.labels, FEW).to(self.labels.device)

    @cached_property
    def class_count(self) -> int:
        """The number of classes that the labels are counted in."""
        return int(self.labels.max()) + 1

    @cached_property
    def _sizes(self) -> dict[str, int]:
        neurons, samples = max((len(ids) for ids in self.neurons.values()), default=0), len(self.samples)
        return {
            "sample": samples,
            "sample_other": samples,
            "neuron": neurons,
            "neuron_other": neurons,
            "direction": DIRECTION_COUNT,
            "component": COMPONENT_COUNT,
        }

    def _found(self, seen: Capture, due: Due) -> dict[Place, Value]:
        """The value of every measure of every layer that has one, and of the network."""
        derived = Derived(seen, self.labels, self.few, self._initial)
        found: dict[Place, Value] = {}
        in_parts: dict[Place, dict[str, Any]] = {}
        for number, key in enumerate(self.layers):
            for measure in due.of_layers:
                arguments = self._arguments(measure, derived, key)
                if arguments is not None and measure.partials is None:
                    found[measure.name, number] = measure.function(**arguments)
                elif arguments is not None:
                    in_parts[measure.name, number] = arguments
            derived.forget(key)
        return found | self._in_parts(due, in_parts) | self._of_network(seen, due.of_network)

    def _arguments(self, measure: Measure, derived: Derived, key: str) -> dict[str, Any] | None:
        arguments = {argument: derived.of_layer(key, name) for argument, name in measure.takes.items()}
        if any(value is None for value in arguments.values()):
            return None
        chosen = {"samples": self.samples, "neurons": self.neurons.get(key)}.get(measure.subset)
        if chosen is None:
            return arguments
        return {argument: value[chosen.to(value.device)] for argument, value in arguments.items()}

    def _in_parts(self, due: Due, arguments: Mapping[Place, Mapping[str, Any]]) -> dict[Place, Value]:
        """The measures that come in parts, of all layers at once."""
        vectors = {place: next(iter(each.values())) for place, each in arguments.items()}
        classes = self.labels if any(len(each) > 1 for each in arguments.values()) else None
        count = self.class_count if classes is not None else 1
        found = None if due.at_once is None or not vectors else due.at_once(_by_field(due, vectors), classes, count)
        if found is None:
            return _one_after_the_other(due.in_parts, vectors, classes, count)
        return {(name, number): value for name, values in found.items() for number, value in values.items()}

    def _initial(self, key: str, name: str, make: Callable[[], Tensor]) -> Tensor:
        if name == "weight" and key in self.initial_weights:
            return self.initial_weights[key]
        if (key, name) not in self._first:
            self._first[key, name] = make()
        return self._first[key, name]

    def _of_network(self, seen: Capture, measures: Sequence[Measure]) -> dict[Place, Value]:
        if not measures:
            return {}
        network = Network(seen, self.labels, self.targets, self.few, self.kernel_source, partial(self._initial, ""))
        found: dict[Place, Value] = {}
        for measure in measures:
            arguments = {argument: getattr(network, name) for argument, name in measure.takes.items()}
            if all(value is not None for value in arguments.values()):
                fast = None if measure.at_once is None else measure.at_once(**arguments)
                found[measure.name, None] = measure.function(**arguments) if fast is None else fast
        return found

    def _of_layers(self, item: Quantity, arrays: Mapping[Place, np.ndarray | float]) -> np.ma.MaskedArray:
        shape = (len(self.layers), *(self._sizes[dim] for dim in item.dims[2:]))
        data, mask = np.full(shape, np.nan, kept_dtype(item)), np.ones(shape, dtype=bool)
        for number in range(len(self.layers)):
            found = arrays.get((item.name, number))
            if found is not None:
                array = np.asarray(found)
                place = (number, *map(slice, array.shape))
                data[place], mask[place] = array, False
        return np.ma.MaskedArray(data, mask)


def _by_field(due: Due, vectors: Mapping[Place, Tensor]) -> dict[str, dict[int | None, Tensor]]:
    """The tensors of measures of layers, by field and layer."""
    found: dict[str, dict[int | None, Tensor]] = {measure.summed: {} for measure in due.in_parts}
    for (name, number), tensor in vectors.items():
        found[due.summed[name]][number] = tensor
    return found


def _one_after_the_other(
    measures: Sequence[Measure], vectors: Mapping[Place, Tensor], classes: Tensor | None, count: int
) -> dict[Place, Value]:
    """The measures that come in parts, part by part."""
    sums = partial_sums(measures, vectors, classes, count)
    found: dict[Place, Value] = {}
    short = dict(zip(sums, shortened_sums(measures, [name for name, _ in sums], list(sums.values())), strict=True))
    for measure in measures:
        own = {place: parts for place, parts in short.items() if place[0] == measure.name}
        if own:
            found |= zip(own, finished_partials(measure, list(own.values())).unbind(), strict=True)
    return found


def partial_sums(
    measures: Sequence[Measure], vectors: Mapping[Place, Tensor], classes: Tensor | None, count: int
) -> dict[Place, Partial]:
    """Return the partials of measures of layers, given the tensor that each is of: with one call where that does."""
    found: dict[Place, Partial] = {}
    for function in {measure.partials for measure in measures} - {None}:
        own = {measure.name: "labels" in measure.takes for measure in measures if measure.partials is function}
        alike = [place for place in vectors if place[0] in own and not own[place[0]]]
        by_class = [place for place in vectors if place[0] in own and own[place[0]]]
        if function is not None:
            tensors = [vectors[place] for place in alike], [vectors[place] for place in by_class]
            found |= zip(alike + by_class, function(*tensors, classes, count), strict=True)
    return found


def shortened_sums(measures: Sequence[Measure], names: Sequence[str], sums: Sequence[Partial]) -> list[Partial]:
    """Return what is needed of complete partials, given the name of the measure of each."""
    found = list(sums)
    for function in {measure.shorten for measure in measures} - {None}:
        own = {measure.name for measure in measures if measure.shorten is function}
        numbers = [number for number, name in enumerate(names) if name in own]
        short = function([sums[number] for number in numbers]) if function is not None else []
        for number, parts in zip(numbers, short, strict=True):
            found[number] = parts
    return found


def finished_partials(measure: Measure, partials: Sequence[Partial]) -> Tensor:
    """Return the values of a measure from its shortened partials, all of one precision at once: (m,)."""
    assert measure.finish is not None
    dtypes = {parts[0].dtype for parts in partials}
    if len(dtypes) > 1:
        values = torch.empty(len(partials), dtype=torch.float64, device=partials[0][0].device)
        for dtype in dtypes:
            numbers = [number for number, parts in enumerate(partials) if parts[0].dtype == dtype]
            values[numbers] = finished_partials(measure, [partials[number] for number in numbers]).double()
        return values
    return measure.finish(*(torch.stack(parts) for parts in zip(*partials, strict=True)))


def _arrays(found: Mapping[Place, Value]) -> dict[Place, np.ndarray | float]:
    """Bring values to the CPU, as they are now: those of one type on an accelerator in one transfer."""
    arrays = {place: _as_it_is(value) for place, value in found.items() if _is_near(value)}
    far = {place: value for place, value in found.items() if isinstance(value, Tensor) and place not in arrays}
    for dtype in {value.dtype for value in far.values()}:
        chosen = {place: value for place, value in far.items() if value.dtype == dtype}
        flat = torch.cat([value.detach().flatten() for value in chosen.values()]).cpu().numpy()
        ends = np.cumsum([value.numel() for value in chosen.values()])
        for (place, value), part in zip(chosen.items(), np.split(flat, ends[:-1]), strict=True):
            arrays[place] = part.reshape(value.shape)
    return arrays


def _is_near(value: Value) -> bool:
    return not isinstance(value, Tensor) or value.is_cpu


def _as_it_is(value: Value) -> np.ndarray | float:
    """A copy: a measure may return what the training changes."""
    return value.detach().numpy().copy() if isinstance(value, Tensor) else value


def scalars(**values: float | None) -> dict[str, np.ma.MaskedArray]:
    """Return the numbers that were given as arrays without dimension; None = not measured."""
    return {
        name: np.ma.MaskedArray(np.float64(value), mask=False) for name, value in values.items() if value is not None
    }
