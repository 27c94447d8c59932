"""How far to merge: as far as the output, measured on examples that were held out, stays within the tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from cloudchamber.anatomy.batch import count_samples
from cloudchamber.anatomy.channels import Space, find_channels
from cloudchamber.reduction.change import Change, Fold
from cloudchamber.reduction.heads import Host, find_hosts
from cloudchamber.reduction.heads.layer import HeadLayer, head_moments
from cloudchamber.reduction.moments import longest_inputs, moments_of
from cloudchamber.reduction.neurons import NeuronLayer
from cloudchamber.reduction.outputs import Difference, difference, failure, few, halves
from cloudchamber.reduction.plan import LayerPlan, Plan
from cloudchamber.reduction.recurrent import take_apart_where_it_runs
from cloudchamber.reduction.running import AnyChange, Forward, count, narrowed, run

LEVELS = (0.0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, sqrt(1 - 0.9**2))
"""How far a neuron may be from its leader: first those with the same weights; the last is the papers' cosine of 0.9."""

Levels = tuple[int, ...]


@runtime_checkable
class Layer(Protocol):
    """What the search needs of a layer: its neurons or heads, in groups at each level."""

    @property
    def name(self) -> str:
        """The layer."""
        ...

    @property
    def size(self) -> int:
        """How many neurons or heads."""
        ...

    @property
    def wide(self) -> bool:
        """Whether the better change is left for the end."""
        ...

    def groups(self, level: float) -> Any:
        """Return the groups at a level."""
        ...

    def key(self, groups: Any) -> bytes:
        """Return something that tells whether two groupings are the same; empty if nothing goes."""
        ...

    def change(self, groups: Any, *, least_squares: bool) -> AnyChange:
        """Return what is done."""
        ...

    def plan(self, model: nn.Module, groups: Any, change: Any) -> LayerPlan:
        """Return what is said of it."""
        ...


class Search:
    """The layers of a model that could be narrower, and trials of how far.

    Args:
        model: a copy of the user's, in evaluation.
        inputs: samples.
        forward: how the model is called.
    """

    def __init__(self, model: nn.Module, inputs: Any, forward: Forward) -> None:
        self.model, self._forward = take_apart_where_it_runs(model, few(inputs), forward), forward
        self._fitted, self._held, self.held_out = halves(inputs)
        self.fitted = count_samples(self._fitted)
        self.skipped: list[tuple[str, str]] = []
        hosts = self._hosts(few(inputs))
        spaces = self._spaces(few(inputs), hosts)
        self.layers: list[Layer] = [*self._of_neurons(spaces, inputs), *self._of_heads(hosts)]
        self._groups: dict[tuple[int, int], Any] = {}
        self._changes: dict[tuple[int, int, bool], AnyChange] = {}

    def _hosts(self, inputs: Any) -> list[Host]:
        """The attentions that may have other heads and run with fewer of them."""
        hosts, skipped = find_hosts(self.model, inputs, self._forward)
        self.skipped += skipped
        return hosts

    def _spaces(self, inputs: Any, hosts: list[Host]) -> list[Space]:
        """The spaces that may change; those of attentions are looked at by themselves."""
        channels = find_channels(self.model, inputs, self._forward)
        attentions = {host.module for host in hosts}
        projections = {name for host in hosts for name in host.projections}
        self.skipped += [(name or "the model", why) for name, why in channels.untraced if name not in attentions]
        spaces = [space for space in channels.spaces if not projections.issuperset(space.makers)]
        return [space for space in spaces if self._may_change(space, inputs)]

    def _of_neurons(self, spaces: list[Space], inputs: Any) -> list[Layer]:
        moments, self._fitted_wanted = moments_of(self.model, self._fitted, self._forward, spaces)
        checks, self._wanted = moments_of(self.model, self._held, self._forward, spaces)
        longest = longest_inputs(self.model, inputs, self._forward, [space.makers[0] for space in spaces])
        return [
            NeuronLayer.of(self.model, space, moments, checks, longest.get(space.makers[0], 0.0)) for space in spaces
        ]

    def _of_heads(self, hosts: list[Host]) -> list[Layer]:
        moments = head_moments(self.model, self._fitted, self._forward, hosts)
        return [HeadLayer.of(self.model, host, moments[host.module]) for host in hosts if host.module in moments]

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
        narrower = narrowed(self.model, [Change(space, torch.arange(g), folds)])
        raised = failure(lambda: run(narrower, inputs, self._forward))
        return f"the model does not run with fewer of its neurons ({raised})" if raised else ""

    def groups(self, layer: int, level: int) -> Any:
        """Return the groups of a layer at a level, −1 for none."""
        if (layer, level) not in self._groups:
            self._groups[layer, level] = self.layers[layer].groups(LEVELS[level])
        return self._groups[layer, level]

    def changes(self, levels: Levels, *, final: bool = False) -> list[AnyChange]:
        """Return what is done at given levels of the layers; `final` tries least squares in wide layers as well."""
        return [self._change(at, level, final) for at, level in enumerate(levels) if self.narrower(at, level)]

    def narrower(self, layer: int, level: int) -> bool:
        """Whether a level makes a layer narrower."""
        return level >= 0 and bool(self._key(layer, level))

    def _key(self, layer: int, level: int) -> bytes:
        return self.layers[layer].key(self.groups(layer, level)) if level >= 0 else b""

    def _change(self, at: int, level: int, final: bool) -> AnyChange:
        key = (at, level, final)
        if key not in self._changes:
            layer = self.layers[at]
            fit = (final or not layer.wide) and bool(self.held_out)
            self._changes[key] = layer.change(self.groups(at, level), least_squares=fit)
        return self._changes[key]

    def measure(self, changes: Sequence[AnyChange], *, held_out: bool = True) -> Difference:
        """Return how far the changed model is from the model on the samples held out, or on those fitted."""
        inputs, wanted = (self._held, self._wanted) if held_out else (self._fitted, self._fitted_wanted)
        return difference(run(narrowed(self.model, list(changes)), inputs, self._forward), wanted)

    def groupings(self, levels: Levels) -> tuple[bytes, ...]:
        """Return something that tells whether two choices of levels come to the same."""
        return tuple(self._key(at, level) for at, level in enumerate(levels))


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


def _plan_of(search: Search, levels: Levels, tolerance: float) -> Plan:
    changes, expected = search.changes(levels), search.measure(search.changes(levels))
    if any(layer.wide for layer in search.layers):
        fitted = search.changes(levels, final=True)
        measured = search.measure(fitted)
        changes, expected = (fitted, measured) if measured.relative < expected.relative else (changes, expected)
    places = [at for at, level in enumerate(levels) if search.narrower(at, level)]
    layers = [
        search.layers[at].plan(search.model, search.groups(at, levels[at]), change)
        for at, change in zip(places, changes, strict=True)
    ]
    kept = [(layer.name, layer.size) for at, layer in enumerate(search.layers) if at not in places]
    parameters = (count(search.model), count(narrowed(search.model, changes)))
    examples = (search.fitted, search.held_out)
    return Plan(tuple(layers), tuple(kept), tuple(search.skipped), tolerance, expected, examples, parameters)
