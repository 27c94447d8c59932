"""A layer whose neurons may be merged: what was seen of it, its groups at a level, and what is done with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn

from cloudchamber.anatomy.channels import Reader, Space
from cloudchamber.reduction.change import Change, Fold
from cloudchamber.reduction.folding import better, change_of, closed_sum, left
from cloudchamber.reduction.grouping import Distances, Groups, Reading
from cloudchamber.reduction.guarantee import alike, bound_for_every_input, copies
from cloudchamber.reduction.moments import Moments
from cloudchamber.reduction.plan import LayerPlan
from cloudchamber.reduction.weights import consumer, importance, tensor_of

WIDEST_SEARCH = 1024
"""Beyond, least squares are tried once the groups are chosen, not for each level."""


@dataclass(frozen=True)
class NeuronLayer:
    """A space with what was seen of it.

    Attributes:
        space: its channels.
        readings: what each reader reads.
        consumers: with which weights.
        distances: of the channels from each other.
        longest: the norm of the longest input of the layer, with a 1.
    """

    space: Space
    readings: Mapping[str, Reading]
    consumers: Mapping[str, Tensor]
    distances: Distances
    longest: float

    @classmethod
    def of(
        cls,
        model: nn.Module,
        space: Space,
        moments: Mapping[str, Moments],
        checks: Mapping[str, Moments],
        longest: float,
    ) -> NeuronLayer:
        """Put together what was seen.

        Args:
            model: the model.
            space: of the layer.
            moments: by the readers' keys, over the examples fitted.
            checks: the same over those held out.
            longest: the norm of the longest input.
        """
        readings = {
            key: Reading(moments[key], checks[key], importance(model, reader), bool(reader.bias))
            for key, reader in space.readers.items()
        }
        consumers = {key: consumer(model, reader) for key, reader in space.readers.items()}
        return cls(space, readings, consumers, Distances.of(readings, alike(model, space)), longest)

    @property
    def name(self) -> str:
        """The layer, or the layers."""
        return self.space.name

    @property
    def size(self) -> int:
        """How many neurons."""
        return self.space.size

    @property
    def wide(self) -> bool:
        """Whether least squares are left for the end."""
        return self.size > WIDEST_SEARCH

    def groups(self, level: float) -> Groups:
        """Return the groups at a level."""
        return self.distances.groups(level)

    def key(self, groups: Groups) -> bytes:
        """Return something that tells whether two groupings are the same; empty if no neuron goes."""
        return groups.labels.numpy().tobytes() if len(groups.kept) < self.size else b""

    def change(self, groups: Groups, *, least_squares: bool) -> Change:
        """Return what is done: the closed sum, or the better of it and of least squares."""
        folds = {
            name: better(reading, groups, self.consumers[name]) if least_squares else closed_sum(reading, groups)
            for name, reading in self.readings.items()
        }
        return Change(self.space, groups.kept, folds)

    def plan(self, model: nn.Module, groups: Groups, change: Change) -> LayerPlan:
        """Return what is said of a change of the model."""
        sums = {key: closed_sum(reading, groups) for key, reading in self.readings.items()}
        exact = torch.stack([copies(model, self.space, groups, fold).exact for fold in sums.values()]).all(0)
        exact[groups.kept] = False
        constant = int((groups.labels < 0).sum())
        bounds = [
            _next_layer(model, self, reader, groups, change.folds[reader.key]) for reader in self.space.readers.values()
        ]
        return LayerPlan(
            self.space.name,
            self.size,
            len(groups.kept),
            groups.labels,
            merged=self.size - len(groups.kept) - constant,
            constant=constant,
            copies=int((exact & (groups.labels >= 0)).sum()),
            distance=_farthest(self, groups),
            how=" and ".join(sorted({fold.how for fold in change.folds.values()})),
            bound=max(bound for bound, _ in bounds),
            changed=max(changed for _, changed in bounds),
            bound_for_every_input=bound_for_every_input(model, self.space, groups, change.folds, self.longest),
            change=change,
        )


def _next_layer(
    model: nn.Module, layer: NeuronLayer, reader: Reader, groups: Groups, fold: Fold
) -> tuple[float, float]:
    """By how much what a consumer computes changes at most, and does change, relative to how much it varies."""
    check, weights = layer.readings[reader.key].check, layer.consumers[reader.key]
    blocks = weights.shape[1] // _outputs(model, reader)
    stride = getattr(model.get_submodule(reader.module), "stride", ())
    factor = sqrt(blocks * (torch.tensor(stride).prod().item() if stride else 1))
    spread = (weights * (check.second[:-1, :-1] @ weights)).sum() - (check.mean @ weights).square().sum()
    varies = spread.clamp(min=1e-300).sqrt()
    most = factor * (weights.norm(dim=1) * left(check, groups, fold)).sum()
    return float(most / varies), sqrt(change_of(check, groups, fold, weights)) / float(varies)


def _farthest(layer: NeuronLayer, groups: Groups) -> float:
    """The largest distance of a merged neuron from its leader."""
    member = groups.labels >= 0
    member[groups.kept] = False
    leaders = groups.kept[groups.labels[member]]
    return float(layer.distances.pairs[leaders, member.nonzero()[:, 0]].max()) if member.any() else 0.0


def _outputs(model: nn.Module, reader: Reader) -> int:
    """How many outputs the consumer has."""
    weight = tensor_of(model, reader.module, reader.weights[0].name)
    return weight.shape[0 if reader.weights[0].axis.dim else 1]
