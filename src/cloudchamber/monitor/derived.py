"""What measures take, made of the snapshots of one pass: each thing once, when it is asked for, and freed after.

A thing that a layer does not have (no rows, no next layer, no gates, several positions where a formula holds for one)
is None, and so is all that is made of it: the measures that take it are then not measured for that layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cloudchamber.anatomy import Capture, LayerSnapshot
from cloudchamber.measures import (
    CommonDirections,
    Measure,
    common_directions,
    common_directions_of_rows,
    gradient_moment,
    gradient_rows,
    lemma3_terms,
    mean_gradient,
    noise_components,
    noise_strengths,
    primary_strengths,
    weight_norm,
    weight_parts,
)
from cloudchamber.measures.catalogue.directions import DIRECTION_COUNT
from cloudchamber.measures.vectors import wide
from cloudchamber.monitor.probe import image_samples

FEW = 100
"""How many samples of the probe Theorem 1 and kernels take at most."""

ROW_NUMBERS = 2**25
"""How many numbers the rows of a layer take at most beyond the snapshot (128 MiB in float32): fewer samples then."""

NEXT = "next."
"""Begins the name of a thing of the next layer."""

_OUTSIDE = 0.01
"""Up to which part of a feature's gradient may come from elsewhere than the next layer, in Theorem 1."""


Initial = Callable[[str, Callable[[], Tensor]], Tensor]
"""Returns a thing of a layer, by its name, as it was first made; given how it is made now."""


@dataclass(frozen=True)
class Factors:
    """X (n, P, d) and G (n, P, h) of the samples whose rows fit, and their labels (n,).

    Attributes:
        X: what the layer received; for an embedding, whose inputs and gradients exchange their roles, the gradients.
        G: the gradients of what it computed; for an embedding the tokens.
        labels: the classes.
        exchanged: whether it is an embedding.
    """

    X: Tensor
    G: Tensor
    labels: Tensor
    exchanged: bool

    @property
    def received(self) -> Tensor | None:
        """X, (n, P, d), where that is what the layer received."""
        return None if self.exchanged else self.X

    def once(self, rows: Tensor) -> Tensor | None:
        """Return (n, d) or (n, h) for a layer applied once per sample, None for others."""
        return rows[:, 0] if rows.shape[1] == 1 and not self.exchanged else None


@dataclass(frozen=True)
class Chain:
    """What Theorem 1 takes of a layer whose features go to the next one only, of a few samples.

    Attributes:
        inputs: (n, d), X.
        gates: (n, h), D.
        next_weight: (m, h), W' without its biases.
        next_gradients: (n, m), g'.
    """

    inputs: Tensor
    gates: Tensor
    next_weight: Tensor
    next_gradients: Tensor


@dataclass(frozen=True)
class Derivation:
    """How a thing is made.

    Attributes:
        make: the function; not called where one of its arguments is None.
        takes: names of its arguments: others here, "snapshot", "labels", "few", "initial"; "next." before a name
            means that of the next layer.
        asks: the fields of the snapshot that it reads.
    """

    make: Callable[..., Any]
    takes: tuple[str, ...] = ("snapshot",)
    asks: frozenset[str] = frozenset()


def _of_snapshot(make: Callable[[LayerSnapshot], Tensor | None], *asks: str) -> Derivation:
    return Derivation(make, asks=frozenset(asks))


def _flat(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.flatten(1)


def _initial_weight(weight: Tensor, initial: Initial) -> Tensor:
    return initial("weight", weight.clone)


def _initial_norm(initial_weight: Tensor, initial: Initial) -> Tensor:
    return initial("norm", lambda: weight_norm(initial_weight))


def _input_changes(output_gradients: Tensor, weight: Tensor) -> Tensor:
    """`−Wᵀg`, a step of rate 1 of what the layer receives, as far as the layer itself asks for it."""
    dtype = torch.promote_types(torch.promote_types(output_gradients.dtype, weight.dtype), torch.float32)
    return -(output_gradients.to(dtype) @ weight.to(dtype))


def _output_rows(snapshot: LayerSnapshot) -> Tensor | None:
    if snapshot.outputs is None or snapshot.view.neuron_axis is None:
        return None
    return snapshot.view.output_rows(snapshot.outputs)


def factors_of(snapshot: LayerSnapshot, labels: Tensor) -> Factors | None:
    """Return X and G of as many samples as fit `ROW_NUMBERS`; None for a layer without rows."""
    inputs, gradients = snapshot.inputs, snapshot.output_gradients
    if inputs is None or gradients is None:
        return None
    one = snapshot.view.factors(inputs[:1], gradients[:1])
    if one is None:
        return None
    copied = sum(part.numel() for part in one if not _shares(part, inputs, gradients))
    affordable = max(2, ROW_NUMBERS // max(copied, 1))
    if len(labels) > affordable:
        chosen = image_samples(labels, affordable).to(labels.device)
        inputs, gradients, labels = inputs[chosen], gradients[chosen], labels[chosen]
    rows = snapshot.view.factors(inputs, gradients)
    return None if rows is None else Factors(*rows, labels, snapshot.view.exchanged)


def _shares(part: Tensor, *whole: Tensor) -> bool:
    storage = part.untyped_storage().data_ptr()
    return any(storage == tensor.untyped_storage().data_ptr() for tensor in whole)


def _directions(factors: Factors) -> CommonDirections:
    X, G = factors.X, factors.G
    count = min(DIRECTION_COUNT, G.shape[2])
    if len(X) * min(X.shape[1:]) < G.shape[2]:
        return common_directions_of_rows(gradient_rows(X, G), count)
    return common_directions(gradient_moment(X, G), count)


def _chain(
    factors: Factors,
    snapshot: LayerSnapshot,
    features_gradient: Tensor,
    next_weight: Tensor,
    next_gradients: Tensor,
    few: Tensor,
) -> Chain | None:
    inputs, gates = factors.once(factors.X), snapshot.gate_rows
    if inputs is None or gates is None or gates.shape[1] != 1:
        return None
    if not features_gradient.shape == gates[:, 0].shape == (len(next_gradients), next_weight.shape[1]):
        return None
    if len(inputs) < len(gates):
        return None
    chain = Chain(inputs[few], gates[few, 0], next_weight, next_gradients[few])
    received = wide(features_gradient[few])
    elsewhere = torch.linalg.vector_norm(received - wide(chain.next_gradients) @ wide(next_weight))
    return None if bool(elsewhere > _OUTSIDE * torch.linalg.vector_norm(received)) else chain


def _primary(chain: Chain, direction: Tensor) -> Tensor:
    return primary_strengths(chain.inputs, chain.gates, chain.next_weight, direction, chain.next_gradients)


def _noise(chain: Chain, direction: Tensor) -> Tensor:
    components = noise_components(chain.next_weight, direction)
    return noise_strengths(chain.inputs, chain.gates, components, chain.next_gradients)


def _reading_matrix(snapshot: LayerSnapshot, after: LayerSnapshot, next_weight: Tensor) -> Tensor | None:
    """The next layer's weight as (m·places, h): what it reads of each neuron at every place of its output."""
    width, columns, features = snapshot.view.width, next_weight.shape[1], snapshot.features
    if columns == width:
        return next_weight
    if features is not None and columns == features[0].numel():
        order = torch.arange(columns, dtype=torch.float64, device=features.device).view(1, *features.shape[1:])
        rows = LayerSnapshot(snapshot.view, features=order).feature_rows
        return None if rows is None else next_weight[:, rows[0].long()].flatten(0, 1)
    kernel = columns % width == 0 and _sees_all_channels(after)
    return next_weight.unflatten(1, (width, -1)).mT.flatten(0, 1) if kernel else None


def _sees_all_channels(after: LayerSnapshot) -> bool:
    """Whether a convolution has no groups: then it has as many rows as positions."""
    if after.inputs is None or after.outputs is None:
        return False
    rows = after.view.input_rows(after.inputs[:1])
    return rows is not None and rows.shape[1] * after.view.width == after.outputs[0].numel()


_FACTORS = frozenset({"inputs", "output_gradients"})

DERIVATIONS: dict[str, Derivation] = {
    "weight": _of_snapshot(lambda s: s.weight, "weight"),
    "initial_weight": Derivation(_initial_weight, ("weight", "initial"), frozenset({"initial_weight"})),
    "initial_norm": Derivation(_initial_norm, ("initial_weight", "initial")),
    "matrix": Derivation(lambda weight, s: weight[:, : s.view.fan_in], ("weight", "snapshot")),
    "planar_weight": Derivation(lambda weight: weight if weight.shape[1] == 2 else None, ("weight",)),
    "reading_matrix": Derivation(
        _reading_matrix,
        ("snapshot", "next.snapshot", "next.matrix"),
        frozenset({"features", "inputs", "outputs"}),
    ),
    "features": _of_snapshot(lambda s: _flat(s.features), "features"),
    "feature_gradients": _of_snapshot(lambda s: _flat(s.feature_gradients), "feature_gradients"),
    "feature_rows": _of_snapshot(lambda s: s.feature_rows, "features"),
    "output_rows": _of_snapshot(_output_rows, "outputs"),
    "factors": Derivation(factors_of, ("snapshot", "labels"), _FACTORS),
    "input_rows": Derivation(lambda factors: factors.X, ("factors",)),
    "output_gradient_rows": Derivation(lambda factors: factors.G, ("factors",)),
    "received_rows": Derivation(lambda factors: factors.received, ("factors",)),
    "row_labels": Derivation(lambda factors: factors.labels, ("factors",)),
    "single_inputs": Derivation(lambda factors: factors.once(factors.X), ("factors",)),
    "single_output_gradients": Derivation(lambda factors: factors.once(factors.G), ("factors",)),
    "input_changes": Derivation(_input_changes, ("single_output_gradients", "matrix")),
    "mean_gradient": Derivation(mean_gradient, ("input_rows", "output_gradient_rows")),
    "directions": Derivation(_directions, ("factors",)),
    "direction": Derivation(lambda directions: directions.vectors[0], ("directions",)),
    "weight_parts": Derivation(weight_parts, ("matrix", "direction")),
    "lemma3_terms": Derivation(lemma3_terms, ("single_inputs", "single_output_gradients", "matrix", "direction")),
    "chain": Derivation(
        _chain,
        ("factors", "snapshot", "feature_gradients", "next.matrix", "next.single_output_gradients", "few"),
        frozenset({"gates"}),
    ),
    "primary_strengths": Derivation(_primary, ("chain", "next.direction")),
    "noise_strengths": Derivation(_noise, ("chain", "next.direction")),
}
"""What layers have."""

_KERNEL = frozenset({"inputs", "per_output_gradients"})
_GIVEN = frozenset({"snapshot", "labels", "few", "initial"})


def fields_needed(measures: Iterable[Measure]) -> frozenset[str]:
    """Return the fields of a layer's snapshot that must be captured for the measures, and "initial_weight" if taken."""
    needed: set[str] = set()
    for measure in measures:
        if measure.scope == "layer":
            needed.update(*(_asked(name) for name in measure.takes.values()))
        elif any(name.startswith("kernel") for name in measure.takes.values()):
            needed.update(_KERNEL)
    return frozenset(needed)


def _asked(name: str) -> frozenset[str]:
    """What must be captured for one thing that layers have."""
    name = name.removeprefix(NEXT)
    if name in _GIVEN:
        return frozenset()
    derivation = DERIVATIONS[name]
    return derivation.asks.union(*(_asked(taken) for taken in derivation.takes))


@dataclass
class Derived:
    """The things of one pass, made when they are asked for.

    Attributes:
        seen: what the pass showed.
        labels: (n,) class of each probe sample.
        few: the samples for Theorem 1 and kernels.
        initial: returns a thing of a layer as it was first made, by key and name; given how it is made now.
    """

    seen: Capture
    labels: Tensor
    few: Tensor
    initial: Callable[[str, str, Callable[[], Tensor]], Tensor]
    _made: dict[tuple[str, str], Any] = field(default_factory=dict)

    def of_layer(self, key: str, name: str) -> Any:
        """Return a thing of a layer, None if the layer does not have it."""
        if (key, name) not in self._made:
            self._made[key, name] = self._make(key, name)
        return self._made[key, name]

    def forget(self, key: str) -> None:
        """Free what was made of a layer."""
        for place in [place for place in self._made if place[0] == key]:
            del self._made[place]

    def _make(self, key: str, name: str) -> Any:
        snapshot = self.seen.layers.get(key)
        if snapshot is None:
            return None
        if name.startswith(NEXT):
            return self.of_layer(snapshot.next, name.removeprefix(NEXT))
        if name in _GIVEN:
            return self._given(key, name, snapshot)
        derivation = DERIVATIONS[name]
        arguments = [self.of_layer(key, taken) for taken in derivation.takes]
        return None if any(argument is None for argument in arguments) else derivation.make(*arguments)

    def _given(self, key: str, name: str, snapshot: LayerSnapshot) -> Any:
        if name == "initial":
            return partial(self.initial, key)
        return snapshot if name == "snapshot" else getattr(self, name)
