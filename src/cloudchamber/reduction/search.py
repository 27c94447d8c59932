"""How far to merge: as far as the output, measured on examples that were held out, stays within the tolerance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber.anatomy.batch import count_samples
from cloudchamber.anatomy.channels import Reader, Space, find_channels
from cloudchamber.reduction.change import Change, Fold
from cloudchamber.reduction.folding import better, change_of, closed_sum, left
from cloudchamber.reduction.grouping import Distances, Groups, Reading
from cloudchamber.reduction.guarantee import alike, bound_for_every_input, copies
from cloudchamber.reduction.moments import Moments, longest_inputs, moments_of
from cloudchamber.reduction.outputs import Difference, difference, few, halves
from cloudchamber.reduction.plan import Forward, LayerPlan, Plan, count, narrowed, run
from cloudchamber.reduction.weights import consumer, importance, tensor_of

LEVELS = (0.0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, sqrt(1 - 0.9**2))
"""How far a neuron may be from its leader: first those with the same weights; the last is the papers' cosine of 0.9."""
WIDEST_SEARCH = 1024
"""Beyond, least squares are tried once the groups are chosen, not for each level."""

Levels = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A space with what was seen of it."""

    space: Space
    readings: Mapping[str, Reading]
    consumers: Mapping[str, Tensor]
    distances: Distances

    @property
    def size(self) -> int:
        """How many neurons."""
        return self.space.size


class Search:
    """The layers of a model that could be narrower, and trials of how far.

    Args:
        model: a copy of the user's, in evaluation.
        inputs: samples.
        forward: how the model is called.
    """

    def __init__(self, model: nn.Module, inputs: Any, forward: Forward) -> None:
        self.model, self._forward = model, forward
        self._fitted, self._held, self.held_out = halves(inputs)
        self.fitted = count_samples(self._fitted)
        channels = find_channels(model, few(inputs), forward)
        self.skipped = [(name or "the model", reason) for name, reason in channels.untraced]
        spaces = [space for space in channels.spaces if self._may_change(space, few(inputs))]
        moments, self._fitted_wanted = moments_of(model, self._fitted, forward, spaces)
        checks, self._wanted = moments_of(model, self._held, forward, spaces)
        self.longest = longest_inputs(model, inputs, forward, [space.makers[0] for space in spaces])
        self.layers = [_layer(model, space, moments, checks) for space in spaces]
        self._groups: dict[tuple[int, int], Groups] = {}
        self._changes: dict[tuple[int, int, bool], Change] = {}

    def _may_change(self, space: Space, inputs: Any) -> bool:
        """Whether a space's channels need not stay, and the model runs with fewer of them."""
        reason = (
            space.pinned or ("" if space.readers else "nobody consumes it") or ("" if space.size > 1 else "it is one")
        )
        if not reason:
            reason = self._why_not_narrower(space, inputs)
        if reason and not reason.endswith("the model's output"):
            self.skipped.append((space.name, reason))
        return not reason

    def _why_not_narrower(self, space: Space, inputs: Any) -> str:
        h, g = space.size, space.size - 1
        folds = {key: Fold(torch.eye(h, g, dtype=torch.float64), torch.zeros(h)) for key in space.readers}
        try:
            run(narrowed(self.model, [Change(space, torch.arange(g), folds)]), inputs, self._forward)
        except Exception as error:  # the user's code can raise anything
            return f"the model does not run with fewer of its neurons ({type(error).__name__}: {error})".split("\n")[0]
        return ""

    def groups(self, layer: int, level: int) -> Groups:
        """Return the groups of a layer at a level, −1 for none."""
        if (layer, level) not in self._groups:
            self._groups[layer, level] = self.layers[layer].distances.groups(LEVELS[level])
        return self._groups[layer, level]

    def changes(self, levels: Levels, *, final: bool = False) -> list[Change]:
        """Return what is done at given levels of the layers; `final` tries least squares in wide layers as well."""
        return [self._change(at, level, final) for at, level in enumerate(levels) if self.narrower(at, level)]

    def narrower(self, layer: int, level: int) -> bool:
        """Whether a level makes a layer narrower."""
        return level >= 0 and len(self.groups(layer, level).kept) < self.layers[layer].size

    def _change(self, at: int, level: int, final: bool) -> Change:
        key = (at, level, final)
        if key not in self._changes:
            layer, groups = self.layers[at], self.groups(at, level)
            fit = final or layer.size <= WIDEST_SEARCH
            folds = {
                name: better(reading, groups, layer.consumers[name])
                if fit and self.held_out
                else closed_sum(reading, groups)
                for name, reading in layer.readings.items()
            }
            self._changes[key] = Change(layer.space, groups.kept, folds)
        return self._changes[key]

    def measure(self, changes: Sequence[Change], *, held_out: bool = True) -> Difference:
        """Return how far the changed model is from the model on the samples held out, or on those fitted."""
        inputs, wanted = (self._held, self._wanted) if held_out else (self._fitted, self._fitted_wanted)
        return difference(run(narrowed(self.model, list(changes)), inputs, self._forward), wanted)

    def groupings(self, levels: Levels) -> tuple[bytes, ...]:
        """Return something that tells whether two choices of levels come to the same."""
        return tuple(
            self.groups(at, level).labels.numpy().tobytes() if self.narrower(at, level) else b""
            for at, level in enumerate(levels)
        )


def find_plan(search: Search, tolerance: float) -> Plan:
    """Return the plan that merges as far as the tolerance allows: all layers alike first, then one after the other."""
    dtype = next((p.dtype for p in search.model.parameters() if p.is_floating_point()), torch.float32)
    allowed = max(tolerance, 256 * torch.finfo(dtype).eps)
    trial = _Trial(search, allowed)
    levels: Levels = (-1,) * len(search.layers)
    levels = trial.highest(lambda level: (level,) * len(search.layers), -1) if levels else levels
    for at in sorted(range(len(levels)), key=lambda place: -search.layers[place].size):
        before, start = levels, levels[at]
        levels = trial.highest(lambda level, at=at, before=before: (*before[:at], level, *before[at + 1 :]), start)
    return _plan_of(search, levels, tolerance)


class _Trial:
    """Looks for the highest level within what is allowed; groups that were tried are not tried again."""

    def __init__(self, search: Search, allowed: float) -> None:
        self._search, self._allowed = search, allowed
        self._known: dict[tuple[bytes, ...], bool] = {(b"",) * len(search.layers): True}

    def highest(self, levels: Any, start: int) -> Levels:
        """Return `levels(i)` for the highest i that is allowed, by bisection; `levels(start)` is."""
        low, high = start, len(LEVELS)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._fits(levels(middle)) else (low, middle)
        return levels(low)

    def _fits(self, levels: Levels) -> bool:
        key = self._search.groupings(levels)
        if key not in self._known:
            changes = self._search.changes(levels)
            halves = (True, False)  # also on the examples fitted: at rounding level these may be the worse ones
            self._known[key] = all(
                self._search.measure(changes, held_out=half).relative <= self._allowed for half in halves
            )
        return self._known[key]


def _layer(model: nn.Module, space: Space, moments: Mapping[str, Moments], checks: Mapping[str, Moments]) -> Layer:
    readings = {
        key: Reading(moments[key], checks[key], importance(model, reader), bool(reader.bias))
        for key, reader in space.readers.items()
    }
    consumers = {key: consumer(model, reader) for key, reader in space.readers.items()}
    return Layer(space, readings, consumers, Distances.of(readings, alike(model, space)))


def _plan_of(search: Search, levels: Levels, tolerance: float) -> Plan:
    changes, expected = search.changes(levels), search.measure(search.changes(levels))
    if any(layer.size > WIDEST_SEARCH for layer in search.layers):
        fitted = search.changes(levels, final=True)
        measured = search.measure(fitted)
        changes, expected = (fitted, measured) if measured.relative < expected.relative else (changes, expected)
    places = [at for at, level in enumerate(levels) if search.narrower(at, level)]
    layers = [_layer_plan(search, at, levels[at], change) for at, change in zip(places, changes, strict=True)]
    kept = [(layer.space.name, layer.size) for at, layer in enumerate(search.layers) if at not in places]
    parameters = (count(search.model), count(narrowed(search.model, changes)))
    examples = (search.fitted, search.held_out)
    return Plan(tuple(layers), tuple(kept), tuple(search.skipped), tolerance, expected, examples, parameters)


def _layer_plan(search: Search, at: int, level: int, change: Change) -> LayerPlan:
    layer, groups = search.layers[at], search.groups(at, level)
    sums = {key: closed_sum(reading, groups) for key, reading in layer.readings.items()}
    exact = torch.stack([copies(search.model, layer.space, groups, fold).exact for fold in sums.values()]).all(0)
    exact[groups.kept] = False
    constant = int((groups.labels < 0).sum())
    bounds = [
        _next_layer(search.model, layer, reader, groups, change.folds[reader.key])
        for reader in layer.space.readers.values()
    ]
    return LayerPlan(
        layer.space.name,
        layer.size,
        len(groups.kept),
        groups.labels,
        merged=layer.size - len(groups.kept) - constant,
        constant=constant,
        copies=int((exact & (groups.labels >= 0)).sum()),
        distance=_farthest(layer, groups),
        how=" and ".join(sorted({fold.how for fold in change.folds.values()})),
        bound=max(bound for bound, _ in bounds),
        changed=max(changed for _, changed in bounds),
        bound_for_every_input=bound_for_every_input(
            search.model, layer.space, groups, change.folds, search.longest.get(layer.space.makers[0], 0.0)
        ),
        change=change,
    )


def _next_layer(model: nn.Module, layer: Layer, reader: Reader, groups: Groups, fold: Fold) -> tuple[float, float]:
    """By how much what a consumer computes changes at most, and does change, relative to how much it varies."""
    check, weights = layer.readings[reader.key].check, layer.consumers[reader.key]
    blocks = weights.shape[1] // _outputs(model, reader)
    stride = getattr(model.get_submodule(reader.module), "stride", ())
    factor = sqrt(blocks * (torch.tensor(stride).prod().item() if stride else 1))
    spread = (weights * (check.second[:-1, :-1] @ weights)).sum() - (check.mean @ weights).square().sum()
    varies = spread.clamp(min=1e-300).sqrt()
    most = factor * (weights.norm(dim=1) * left(check, groups, fold)).sum()
    return float(most / varies), sqrt(change_of(check, groups, fold, weights)) / float(varies)


def _farthest(layer: Layer, groups: Groups) -> float:
    """The largest distance of a merged neuron from its leader."""
    member = groups.labels >= 0
    member[groups.kept] = False
    leaders = groups.kept[groups.labels[member]]
    return float(layer.distances.pairs[leaders, member.nonzero()[:, 0]].max()) if member.any() else 0.0


def _outputs(model: nn.Module, reader: Reader) -> int:
    """How many outputs the consumer has."""
    weight = tensor_of(model, reader.module, reader.weights[0].name)
    return weight.shape[0 if reader.weights[0].axis.dim else 1]
