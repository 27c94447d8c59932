"""Passive observation: measures of a training batch from its own forward and backward pass.

What is heavy is computed while the pass runs, to small sums; the rest of it waits until many steps can be finished at
once, so that watching every step costs little.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.record import Observation, Values
from cloudchamber.anatomy import Capture, LayerSnapshot, Passive, PassivePass, Plan, undisturbed
from cloudchamber.anatomy.quiet import without_autocast
from cloudchamber.measures import Measure
from cloudchamber.measures.partials import Partial
from cloudchamber.monitor.at_once import Known
from cloudchamber.monitor.evaluate import (
    Place,
    finished_partials,
    partial_sums,
    scalars,
    shortened_sums,
)
from cloudchamber.monitor.labels import Labels, joined_labels
from cloudchamber.monitor.observer import Observer
from cloudchamber.monitor.wanted import Wanted, available

_log = logging.getLogger("cloudchamber")
MOST_PENDING = 64
"""How many steps whose sums were taken wait at most before they are finished."""
MOST_SUMS = 2**22
"""How many bytes of sums wait at most before they are shortened: what fits a cache."""
MOST_BYTES = 2**26
"""How many bytes of features and gradients wait at most before they are summed up."""


@dataclass(slots=True)
class _Waiting:
    """A tensor of a layer in a forward pass that waits to be summed up with others."""

    number: int
    key: str
    tensor: Tensor
    version: int = field(init=False)

    def __post_init__(self) -> None:
        self.version = _version(self.tensor)

    @property
    def unchanged(self) -> bool:
        """Whether nobody has changed it in place since."""
        return _version(self.tensor) == self.version


@dataclass
class _Step:
    """What is known of one observed step until it is finished."""

    step: int
    streamed: tuple[Measure, ...]
    partials: dict[Place, Partial]
    known: Known | None
    values: Values
    train_loss: float | Tensor | None = None
    epoch: float | None = None


@dataclass
class PassiveObserver:
    """An observer that is told what the training batches show.

    Attributes:
        observer: the layers, the measures and the frame.
        plan: what earlier passes taught.
        pending: steps that are not finished yet.
        done: observations of finished steps.
        overwritten: the layers whose features the model overwrites in place.
    """

    observer: Observer
    plan: Plan | None = None
    pending: list[_Step] = field(default_factory=list)
    done: list[Observation] = field(default_factory=list)
    overwritten: set[str] = field(default_factory=set)
    _wanted: dict[bool, Wanted] = field(default_factory=dict)
    _bytes: int = 0
    _shortened: int = 0
    _summed: int = 0

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The place of each layer in the record, by key."""
        return {key: number for number, key in enumerate(self.observer.evaluation.layers)}

    def wanted(self, *, images: bool) -> Wanted:
        """What is taken at a step, with or without what is taken at image steps only."""
        if images not in self._wanted:
            due = [m for m in self.observer.evaluation.measures if available(m) and m.due(images=images, rare=images)]
            self._wanted[images] = Wanted.of(due, self.observer)
        return self._wanted[images]

    def add(self, step: _Step) -> None:
        """Take a step that was seen; when many wait for more than to be put in order, they are finished."""
        self.pending.append(step)
        if not step.partials:
            return
        self._summed += 1
        self._bytes += sum(parts[0].nbytes for parts in step.partials.values())
        if self._summed >= MOST_PENDING:
            self.done += self._finished()
        elif self._bytes > MOST_SUMS:
            self._shorten()

    def _shorten(self) -> None:
        """Shorten the sums of the steps that wait."""
        self._bytes = 0
        waiting = self.pending[self._shortened :]
        self._shortened = len(self.pending)
        places = [(step, place) for step in waiting for place in step.partials]
        sums = [step.partials[place] for step, place in places]
        short = shortened_sums(self._all_streamed(waiting), [name for _, (name, _) in places], sums)
        for (step, place), parts in zip(places, short, strict=True):
            step.partials[place] = parts

    def finished(self) -> list[Observation]:
        """Finish the steps that wait and return them in their order."""
        done, self.done = self.done + self._finished(), []
        return done

    def _finished(self) -> list[Observation]:
        """Finish all steps that wait at once: that costs little more than one."""
        self._shorten()
        steps, self.pending, self._shortened, self._summed = self.pending, [], 0, 0
        if not steps:
            return []
        with undisturbed(self.observer.target.probe.device), torch.no_grad():
            tables = {m.name: self._table(m, steps) for m in self._all_streamed(steps)}
        return [
            Observation(
                step.step, {**step.values, **{m.name: tables[m.name][at] for m in step.streamed}, **_extra(step)}
            )
            for at, step in enumerate(steps)
        ]

    @staticmethod
    def _all_streamed(steps: Sequence[_Step]) -> list[Measure]:
        return list({m.name: m for step in steps for m in step.streamed}.values())

    def _table(self, measure: Measure, steps: Sequence[_Step]) -> list[np.ma.MaskedArray]:
        """The values of a measure at several steps: (layers,) each."""
        data, mask = np.full((len(steps), len(self.numbers)), np.nan), np.ones((len(steps), len(self.numbers)), bool)
        name = measure.name
        for at, step in enumerate(steps):
            if step.known is not None and name in step.known:
                own = {self.numbers[key]: value for key, value in step.known[name].items() if key in self.numbers}
                data[at, list(own)], mask[at, list(own)] = list(own.values()), False
        found = [(at, place[1], p) for at, s in enumerate(steps) for place, p in s.partials.items() if place[0] == name]
        if found:
            rows, layers, partials = zip(*found, strict=True)
            data[rows, layers], mask[rows, layers] = finished_partials(measure, partials).cpu().numpy(), False
        return [np.ma.MaskedArray(*both) for both in zip(data, mask, strict=True)]


class BatchPass:
    """The region in which a training batch is seen; `Monitor.batch` makes it.

    Attributes:
        train_loss: set it to the batch's loss to have it recorded.
    """

    def __init__(
        self,
        of: PassiveObserver,
        step: int,
        wanted: Wanted,
        labels: Labels | None,
        scale: float | None,
        epoch: float | None,
    ) -> None:
        self.train_loss: float | Tensor | None = None
        self._of, self._step, self._scale, self._epoch = of, step, scale, epoch
        self._labels = joined_labels(labels, of.observer.target.probe.device)
        self._wanted, self._numbers = wanted, of.numbers
        self._sums: dict[tuple[int, Place], Partial] = {}
        self._known: Known | None = None
        self._starts: list[int] = []
        self._waiting: dict[bool, list[_Waiting]] = {False: [], True: []}
        self._bytes = 0
        target = of.observer.target
        self._pass = PassivePass(
            target.model,
            target.layers,
            held=wanted.held,
            streamed=wanted.fields,
            sink=self,
            plan=of.plan,
            most_bytes=MOST_BYTES,
        )

    def __enter__(self) -> BatchPass:
        self._pass.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._starts = self._pass.starts
        self._pass.__exit__(kind, error, trace)
        if kind is not None:
            return
        self._sum_up()
        seen = self._pass.result
        self._of.plan = seen.plan
        if seen.reason:
            _log.warning("Step %d was not observed: %s.", self._step, seen.reason)
            return
        counted, values = self._counted(seen), self._values(seen)
        self._of.add(
            _Step(self._step, self._wanted.streamed, counted, self._known, values, self.train_loss, self._epoch)
        )

    def forward(self, number: int, key: str, field: str, tensor: Tensor) -> None:  # noqa: ARG002
        """Take features when they exist."""
        if key in self._numbers and len(tensor):
            self._take(_Waiting(number, key, self._of_positions(key, tensor)), gradients=False)

    def gradient(self, number: int, key: str, field: str, tensor: Tensor) -> None:  # noqa: ARG002
        """Take gradients when they exist."""
        if key in self._numbers:
            self._take(_Waiting(number, key, self._of_positions(key, tensor)), gradients=True)

    def together(self, number: int, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Sum up many tensors that were kept."""
        some = next((each for by_key in tensors.values() for each in by_key.values()), None)
        if some is None or not len(some):
            return
        if self._of.observer.target.positions.choice != "all":
            tensors = {
                name: {key: self._of_positions(key, each) for key, each in by_key.items() if key in self._numbers}
                for name, by_key in tensors.items()
            }
        at_once = self._wanted.at_once if len(self._starts) == 2 else None  # of a block with one forward pass
        if at_once is not None:
            classes = self._classes(number, len(some), some.device) if at_once.by_class else (None, 1)
            self._known = at_once(tensors, *classes)
        if self._known is None:
            with without_autocast(some.device):
                self._add(number, len(some), tensors)

    def _take(self, waiting: _Waiting, *, gradients: bool) -> None:
        """Let a tensor wait, so that many are summed up at once; not one that the model overwrites."""
        self._waiting[gradients].append(waiting)
        self._bytes += waiting.tensor.nbytes
        if self._bytes > MOST_BYTES or (not gradients and waiting.key in self._of.overwritten):
            self._sum_up()

    def _sum_up(self) -> None:
        """Sum up what waits; what was overwritten meanwhile is lost, and summed up at once from the next step on."""
        for gradients, queue in self._waiting.items():
            known = [waiting for waiting in queue if waiting.unchanged]
            self._of.overwritten.update(waiting.key for waiting in queue if not waiting.unchanged)
            for number, few in groupby(known, key=lambda waiting: waiting.number):
                tensors = {waiting.key: waiting.tensor for waiting in few}
                samples = len(next(iter(tensors.values())))
                self._add(number, samples, {"feature_gradients" if gradients else "features": tensors})
            queue.clear()
        self._bytes = 0

    def _add(self, number: int, samples: int, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Sum up tensors of a forward pass, by field and layer."""
        vectors: dict[Place, Tensor] = {
            (measure.name, self._numbers[key]): tensor
            for measure in self._wanted.streamed
            for key, tensor in tensors.get(measure.summed, {}).items()
            if key in self._numbers
        }
        classes: tuple[Tensor | None, int] = (None, 1)
        if tensors.get("feature_gradients"):
            classes = self._classes(number, samples, next(iter(vectors.values())).device)
        for place, parts in partial_sums(self._wanted.streamed, vectors, *classes).items():
            self._sums[number, place] = parts

    def _of_positions(self, key: str, tensor: Tensor) -> Tensor:
        chosen = self._of.observer.target.positions.of_features(tensor, self._of.observer.views[key])
        return tensor if chosen is None else chosen

    def _classes(self, number: int, samples: int, device: torch.device) -> tuple[Tensor, int]:
        labels = self._of_samples((self._starts or self._pass.starts)[number], samples, device)
        return labels, max(self._of.observer.frame.classes, 1)

    def _of_samples(self, start: int, count: int, device: torch.device) -> Tensor:
        """The classes of samples of the block; without labels all are one class."""
        if self._labels is None:
            return torch.zeros(count, dtype=torch.int64, device=device)
        if start == 0 and count == len(self._labels):
            return self._labels
        require(
            start + count <= len(self._labels),
            "`labels` holds the class of every sample of the block's passes",
            f"{len(self._labels)} labels for at least {start + count} samples",
            "pass the labels of all micro-batches, in their order",
        )
        return self._labels[start : start + count]

    def _counted(self, seen: Passive) -> dict[Place, Partial]:
        """The sums of the passes that count, put together."""
        merged: dict[Place, Partial] = {}
        for (number, place), parts in self._sums.items():
            if number in seen.passes:
                merged[place] = parts if place not in merged else _added(merged[place], parts)
        return merged

    def _values(self, seen: Passive) -> Values:
        """The measures that take whole tensors."""
        history = self._of.observer.history
        if not self._wanted.whole and history is None:
            return {}
        factors = self._factors(seen)
        place = self._of.observer.target.of_positions
        layers = {key: place(_in_units(layer, factors)) for key, layer in seen.layers.items()}
        counted = zip(seen.passes, seen.samples, strict=True)
        labels = torch.cat([self._of_samples(self._starts[n], m, factors.device) for n, m in counted])
        evaluation = replace(self._of.observer.evaluation, measures=self._wanted.whole, labels=labels)
        nothing = Capture(layers, factors[:0], 0.0, {}, seen.plan) if seen.plan is not None else None
        with undisturbed(factors.device), torch.no_grad():
            if history is not None:
                history.update(self._step, layers, labels)
            return {} if nothing is None else evaluation.values(nothing, images=True, rare=True)

    def _factors(self, seen: Passive) -> Tensor:
        """For every sample, what makes its gradient that of `loss_x`: n for the mean over n samples."""
        mean = self._of.observer.sample_loss.reduction == "mean"
        scale = 1.0 if self._scale is None else float(self._scale)
        each = [torch.full((count,), (count if mean else 1.0) / scale) for count in seen.samples]
        return torch.cat(each).to(self._of.observer.target.probe.device)


def _extra(step: _Step) -> dict[str, np.ma.MaskedArray]:
    return scalars(train_loss=_number(step.train_loss), epoch=step.epoch)


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _added(first: Partial, second: Partial) -> Partial:
    """The sums of two micro-batches."""
    return tuple(one + other for one, other in zip(first, second, strict=True))


def _in_units(layer: LayerSnapshot, factors: Tensor) -> LayerSnapshot:
    scaled = {
        name: value * factors.to(value.dtype).view(-1, *[1] * (value.ndim - 1))
        for name in ("feature_gradients", "output_gradients")
        if (value := getattr(layer, name)) is not None
    }
    return replace(layer, **scaled)


def _number(value: float | Tensor | None) -> float | None:
    return None if value is None else float(value)
