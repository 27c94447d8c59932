"""Observing many members in one pass: measures for all at once where they can be, else one member after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloudchamber._core.record import Values
from cloudchamber.anatomy import FIELDS, Capture
from cloudchamber.measures import Measure
from cloudchamber.monitor.derived import FEW, fields_needed
from cloudchamber.monitor.losses import SampleLoss
from cloudchamber.training.ensemble.member_observers import MemberObservers
from cloudchamber.training.ensemble.stacked_derivatives import StackedTensor, shared_if_equal
from cloudchamber.training.ensemble.stacked_measures import NOT_STACKED, Answers, StackedMeasures, may_be_stacked
from cloudchamber.training.ensemble.stacked_pass import StackedCapture, StackedPass

CHUNK_NUMBERS = 2**23
"""How many numbers a pass holds at most of all members that it runs at once (32 MiB in float32)."""

MOST_NUMBERS = 2**21
"""With more numbers than this of one member (4 layers of 512 neurons, 200 samples) nothing is gained by several."""

_AGREE = {torch.float64: 1e-8}
_AGREE_SINGLE = 1e-3


@dataclass(frozen=True)
class Rows:
    """Some members with their weights.

    Attributes:
        members: their numbers, m of them.
        flat: (m, P).
        fixed: (m, ...) by name.
    """

    members: Sequence[int]
    flat: Tensor
    fixed: Mapping[str, Tensor]

    def of(self, rows: slice | Sequence[int]) -> Rows:
        """Return some of them."""
        chosen = range(len(self.members))[rows] if isinstance(rows, slice) else rows
        index = rows if isinstance(rows, slice) else torch.as_tensor(rows, device=self.flat.device)
        fixed = {name: tensor[index] for name, tensor in self.fixed.items()}
        return Rows([self.members[row] for row in chosen], self.flat[index], fixed)

    def usable(self) -> Rows:
        """Return the same as tensors that can be part of a graph: those made in inference mode cannot."""
        fixed = {name: _usable(tensor) for name, tensor in self.fixed.items()}
        return Rows(self.members, _usable(self.flat), fixed)

    def one(self, row: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weights of one of them."""
        return self.flat[row], {name: tensor[row] for name, tensor in self.fixed.items()}

    def chunks(self, size: int) -> Iterator[Rows]:
        """Yield them, at most so many at a time."""
        for start in range(0, len(self.members), size):
            yield self.of(slice(start, start + size))


def _usable(tensor: Tensor) -> Tensor:
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def looped_values(observers: MemberObservers, step: int, rows: Rows, *, images: bool, rare: bool) -> Values:
    """Return what is measured of some members, one after the other: arrays (m, ...) by quantity."""
    found: list[Values] = []
    for row, member in enumerate(rows.members):
        observers.load(*rows.one(row))
        found.append(observers.observe(step, member, images=images, rare=rare))
    return stacked_values(found)


def why_looped(observers: MemberObservers) -> str:
    """Return why members cannot be observed at once, as far as their layers and probes tell; "" if they can."""
    target, measures = observers.single.target, observers.single.evaluation.measures
    plan = target.plans[0]
    if plan.composites:
        return "the calls of a module that fuses several layers (LSTM, attention) are computed once more for each"
    if plan.follows_functions:
        return "the activation of a layer is neither a module nor what another layer receives"
    kernels = "per_output_gradients" in fields_needed(measures)
    if kernels and observers.probes.own and observers.probes.samples > FEW:
        return f"kernels are taken of {FEW} samples of each member's own probe"
    return ""


class StackedObserver:
    """Observes many members in one pass.

    Args:
        observers: observe one after the other.
        count: K, the number of members.
    """

    def __init__(self, observers: MemberObservers, count: int) -> None:
        self._observers, self._count = observers, count
        self._initial: dict[str, Tensor] = {}
        self._known: set[int] = set()
        single, plan = observers.single, observers.single.target.plans[0]
        loss = single.sample_loss

        def summed(outputs: Tensor, targets: Tensor) -> Tensor:
            return SampleLoss(loss.loss, targets, loss.reduction).summed(outputs)

        self._pass = StackedPass(single.target.model, plan, single.target.forward, summed)
        self._measures = StackedMeasures(single.evaluation, single.target, plan.empty_snapshots)
        self._all = self._all_answers()
        self.stacked: frozenset[str] = frozenset()
        self.numbers, self._chunk = 0, 1

    def try_out(self, step: int, rows: Rows) -> bool:
        """Find out, with one member, which measures can be taken of many at once; False if the model cannot be run so.

        What counts is that a measure can be taken in `vmap` and is there what a monitor measures.
        """
        observers, evaluation = self._observers, self._observers.single.evaluation
        observers.load(*rows.one(0))
        expected = observers.observe(step, rows.members[0], images=True, rare=True)
        try:
            seen, null = self._passes(rows, evaluation.measures)
        except NOT_STACKED:
            return False
        self.numbers = seen.numbers + (0 if null is None else null.numbers)
        self._chunk = max(1, CHUNK_NUMBERS // max(self.numbers, 1))
        tolerance = _AGREE.get(rows.flat.dtype, _AGREE_SINGLE)
        candidates = [measure for measure in evaluation.measures if may_be_stacked(measure)]
        self._remember(rows, seen)
        with torch.no_grad():
            tried = self._tried(candidates, seen, null, rows)
        self.stacked = frozenset(name for name, values in tried.items() if _agree(values[0], expected[name], tolerance))
        return True

    def values(self, rows: Rows, *, images: bool, rare: bool) -> Values:
        """Return what is measured of some members: arrays (m, ...) by quantity."""
        return joined_values([self._values(part, images=images, rare=rare) for part in rows.chunks(self._chunk)])

    def _values(self, rows: Rows, *, images: bool, rare: bool) -> Values:
        each = self._observers.single.evaluation.due(images=images, rare=rare)
        due = [measure for some in each for measure in some.measures]
        seen, null = self._passes(rows, due)
        self._remember(rows, seen)
        with torch.no_grad():
            at_once = [measure for measure in due if measure.name in self.stacked]
            values = dict(self._at_once(at_once, seen, null, rows))
            others = tuple(measure for measure in due if measure.name not in self.stacked)
            if others:
                values |= self._one_by_one(others, seen, null, rows, images=images, rare=rare)
        losses = seen.losses.double().cpu().numpy() / self._observers.probes.samples
        return values | {"probe_loss": np.ma.MaskedArray(losses, mask=np.zeros(losses.shape, dtype=bool))}

    def _passes(self, rows: Rows, measures: Iterable[Measure]) -> tuple[StackedCapture, StackedCapture | None]:
        """Run the probe through the members, and the shuffled one if one of the measures asks for it."""
        straight = self._run(rows, [measure for measure in measures if not measure.shuffled], shuffled=False)
        null = [measure for measure in measures if measure.shuffled]
        return straight, self._run(rows, null, shuffled=True) if null else None

    def _run(self, rows: Rows, measures: Sequence[Measure], *, shuffled: bool) -> StackedCapture:
        observers = self._observers
        fields = FIELDS.intersection(fields_needed(measures))
        few = observers.single.evaluation.few if "per_output_gradients" in fields else None
        probe = observers.probes.stacked(rows.members, shuffled=shuffled)
        return self._pass.run(observers.layout.views(rows.flat), rows.fixed, probe, fields, few)

    def _remember(self, rows: Rows, seen: StackedCapture) -> None:
        """Keep the weights of members that are seen for the first time, where a measure takes them."""
        new = [row for row, member in enumerate(rows.members) if member not in self._known]
        if not new or not self._observers.needs_initial:
            return
        members = [rows.members[row] for row in new]
        for key, fields in seen.layers.items():
            weight = fields["weight"].value
            if key not in self._initial:
                self._initial[key] = weight.new_empty(self._count, *weight.shape[1:])
            self._initial[key][members] = weight[new]
        for member in members:
            self._observers.initial[member].update({key: each[member] for key, each in self._initial.items()})
        self._known.update(members)

    def _at_once(
        self, measures: Sequence[Measure], seen: StackedCapture, null: StackedCapture | None, rows: Rows
    ) -> Values:
        initial = {key: weights[list(rows.members)] for key, weights in self._initial.items()}
        answers, found = self._answers(rows), {}
        for capture, shuffled in ((seen, False), (null, True)):
            wanted = [measure for measure in measures if measure.shuffled == shuffled]
            if wanted and capture is not None:
                found |= self._measures.found(capture, wanted, answers, initial)
        return self._measures.arrays(found, measures, len(rows.members))

    def _answers(self, rows: Rows) -> Answers:
        return Answers(*(each.rows(rows.members) for each in (self._all.labels, self._all.samples)))

    def _all_answers(self) -> Answers:
        observers, single = self._observers, self._observers.single.evaluation
        if not observers.probes.own:
            samples = single.samples.to(single.labels.device)
            return Answers(StackedTensor(single.labels, shared=True), StackedTensor(samples, shared=True))
        each = [observers.observer(member).evaluation for member in range(self._count)]
        labels = torch.stack([one.labels for one in each])
        return Answers(shared_if_equal(labels), shared_if_equal(torch.stack([one.samples for one in each]).to(labels)))

    def _tried(
        self, measures: Sequence[Measure], seen: StackedCapture, null: StackedCapture | None, rows: Rows
    ) -> Values:
        """Return what comes of those measures that can be taken at once: first of all together, else of each alone."""
        try:
            return self._at_once(measures, seen, null, rows)
        except NOT_STACKED:
            halves = [measures[: len(measures) // 2], measures[len(measures) // 2 :]] if len(measures) > 1 else []
            return {name: value for half in halves for name, value in self._tried(half, seen, null, rows).items()}

    def _one_by_one(
        self,
        measures: tuple[Measure, ...],
        seen: StackedCapture,
        null: StackedCapture | None,
        rows: Rows,
        *,
        images: bool,
        rare: bool,
    ) -> Values:
        found: list[Values] = []
        for row, member in enumerate(rows.members):
            self._observers.load(*rows.one(row))
            one = self._capture(seen, row)
            other = None if null is None else self._capture(null, row)
            found.append(self._observers.evaluated(member, one, other, measures, images=images, rare=rare))
        return stacked_values(found)

    def _capture(self, seen: StackedCapture, row: int) -> Capture:
        target = self._observers.single.target
        layers = seen.snapshots(self._measures.empty, row)
        chosen = {key: target.of_positions(layer) for key, layer in layers.items()}
        return Capture(chosen, seen.outputs[row], float(seen.losses[row]), {}, target.plans[0])


def stacked_values(found: Sequence[Values]) -> Values:
    """Return arrays (m, ...) of what was measured of m members; masked where one of them lacks a quantity."""
    like = {name: array for values in reversed(found) for name, array in values.items()}
    return {
        name: _stacked([values.get(name, np.ma.masked_all_like(array)) for values in found])
        for name, array in like.items()
    }


def _stacked(arrays: Sequence[np.ma.MaskedArray]) -> np.ma.MaskedArray:
    return np.ma.MaskedArray(np.stack([a.data for a in arrays]), np.stack([np.ma.getmaskarray(a) for a in arrays]))


def joined_values(parts: Sequence[Values]) -> Values:
    """Return arrays of all members of several parts, in their order; all of them have the same quantities."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.ma.concatenate([part[name] for part in parts]) for name in parts[0]}


def _agree(array: np.ma.MaskedArray, expected: np.ma.MaskedArray, tolerance: float) -> bool:
    same_mask = bool((np.ma.getmaskarray(array) == np.ma.getmaskarray(expected)).all())
    one, other = array.filled(np.nan), expected.filled(np.nan)
    largest = np.abs(other[np.isfinite(other)]).max(initial=0.0)
    return same_mask and bool(np.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True))
