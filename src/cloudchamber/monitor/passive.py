"""Passive observation: measures of a training batch from its own forward and backward pass.

What is heavy is computed while the pass runs, to small sums; the rest of it waits until many steps can be finished at
once, so that watching every step costs little.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.record import Observation
from cloudchamber.anatomy import FIELDS_OF_PASSES, Capture, LayerSnapshot, Passive, PassivePass, Plan, undisturbed
from cloudchamber.measures import Measure
from cloudchamber.measures.partials import Partial
from cloudchamber.monitor.evaluate import Place, fields_needed, scalars
from cloudchamber.monitor.history import with_history
from cloudchamber.monitor.observer import Observer

_log = logging.getLogger("cloudchamber")
MOST_PENDING = 64
"""How many steps wait at most before they are finished."""
MOST_BYTES = 2**26
"""How many bytes of features and gradients wait at most before they are summed up."""

Labels = Tensor | Sequence[Tensor]


def available(measure: Measure) -> bool:
    """Whether a training batch's own pass shows what a measure takes."""
    fields = fields_needed([measure]) - {"initial_weight"}
    own = measure.scope == "layer" and not measure.shuffled and measure.subset != "samples"
    return own and fields <= FIELDS_OF_PASSES


def is_streamed(measure: Measure) -> bool:
    """Whether what is heavy of a measure is a small sum over one tensor."""
    return measure.partials is not None and available(measure)


@dataclass(frozen=True)
class _Wanted:
    """What is taken at a step.

    Attributes:
        streamed: the measures whose sums are taken while the pass runs.
        whole: those that take whole tensors, after it.
        held: the fields that these take.
    """

    streamed: tuple[Measure, ...]
    whole: tuple[Measure, ...]
    held: frozenset[str]

    @classmethod
    def of(cls, due: Sequence[Measure], observer: Observer) -> _Wanted:
        """Divide the measures: what is held anyway need not be summed up beforehand."""
        held = with_history(fields_needed(m for m in due if not is_streamed(m)), observer.history)
        streamed = tuple(m for m in due if is_streamed(m) and held.isdisjoint(fields_needed([m])))
        return cls(streamed, tuple(m for m in due if m not in streamed), held & FIELDS_OF_PASSES)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields that are summed up."""
        return fields_needed(self.streamed) & FIELDS_OF_PASSES

    @cached_property
    def of_features(self) -> tuple[Measure, ...]:
        """The streamed measures of features."""
        return tuple(m for m in self.streamed if "features" in m.takes.values())

    @cached_property
    def of_gradients(self) -> tuple[Measure, ...]:
        """The streamed measures of gradients, class by class."""
        return tuple(m for m in self.streamed if "feature_gradients" in m.takes.values())


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
    values: dict[str, np.ma.MaskedArray]
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
    _wanted: dict[bool, _Wanted] = field(default_factory=dict)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The place of each layer in the record, by key."""
        return {key: number for number, key in enumerate(self.observer.evaluation.layers)}

    def wanted(self, *, images: bool) -> _Wanted:
        """What is taken at a step, with or without what is taken at image steps only."""
        if images not in self._wanted:
            due = [m for m in self.observer.evaluation.measures if available(m) and m.due(images=images, rare=images)]
            self._wanted[images] = _Wanted.of(due, self.observer)
        return self._wanted[images]

    def add(self, step: _Step) -> None:
        """Take a step that was seen; when many wait, they are finished."""
        self.pending.append(step)
        if len(self.pending) >= MOST_PENDING:
            self.done += self._finished()

    def finished(self) -> list[Observation]:
        """Finish the steps that wait and return them in their order."""
        done, self.done = self.done + self._finished(), []
        return done

    def _finished(self) -> list[Observation]:
        """Finish all steps that wait at once: that costs little more than one."""
        steps, self.pending = self.pending, []
        if not steps:
            return []
        places = {(index, place): parts for index, step in enumerate(steps) for place, parts in step.partials.items()}
        with undisturbed(self.observer.target.probe.device), torch.no_grad():
            found = self.observer.evaluation.finished(places)
        shape = (len(steps), len(self.numbers))
        tables = {m.name: np.full(shape, np.nan) for step in steps for m in step.streamed}
        known = {name: np.zeros(shape, dtype=bool) for name in tables}
        if found:
            one_type = len({value.dtype for value in found.values()}) == 1
            values = torch.stack([value if one_type else value.double() for value in found.values()]).cpu().numpy()
            for (index, (name, layer)), value in zip(found, values, strict=True):
                tables[name][index, layer], known[name][index, layer] = value, True
        masked = {name: np.ma.MaskedArray(tables[name], mask=~known[name]) for name in tables}
        return [
            Observation(
                step.step, {**step.values, **{m.name: masked[m.name][at] for m in step.streamed}, **_extra(step)}
            )
            for at, step in enumerate(steps)
        ]


class BatchPass:
    """The region in which a training batch is seen; `Monitor.batch` makes it.

    Attributes:
        train_loss: set it to the batch's loss to have it recorded.
    """

    def __init__(
        self,
        of: PassiveObserver,
        step: int,
        wanted: _Wanted,
        labels: Labels | None,
        scale: float | None,
        epoch: float | None,
    ) -> None:
        self.train_loss: float | Tensor | None = None
        self._of, self._step, self._scale, self._epoch = of, step, scale, epoch
        self._labels = _joined(labels, of.observer.target.probe.device)
        self._wanted, self._numbers = wanted, of.numbers
        self._sums: dict[tuple[int, Place], Partial] = {}
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
        self._of.add(_Step(self._step, self._wanted.streamed, counted, values, self.train_loss, self._epoch))

    def forward(self, number: int, key: str, field: str, tensor: Tensor) -> None:  # noqa: ARG002
        """Take features when they exist."""
        if key in self._numbers and len(tensor):
            self._take(_Waiting(number, key, self._of_positions(key, tensor)), gradients=False)

    def gradient(self, number: int, key: str, field: str, tensor: Tensor) -> None:  # noqa: ARG002
        """Take gradients when they exist."""
        if key in self._numbers:
            self._take(_Waiting(number, key, self._of_positions(key, tensor)), gradients=True)

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
                self._add(number, list(few), gradients=gradients)
            queue.clear()
        self._bytes = 0

    def _add(self, number: int, few: list[_Waiting], *, gradients: bool) -> None:
        tensors = [waiting.tensor for waiting in few]
        places = [self._numbers[waiting.key] for waiting in few]
        classes = self._classes(number, tensors[0]) if gradients else ()
        with torch.no_grad():
            for measure in self._wanted.of_gradients if gradients else self._wanted.of_features:
                if measure.partials is not None:
                    for place, parts in zip(places, measure.partials(tensors, *classes), strict=True):
                        self._sums[number, (measure.name, place)] = parts

    def _of_positions(self, key: str, tensor: Tensor) -> Tensor:
        chosen = self._of.observer.target.positions.of_features(tensor, self._of.observer.views[key])
        return tensor if chosen is None else chosen

    def _classes(self, number: int, tensor: Tensor) -> tuple[Tensor, int]:
        labels = self._of_samples((self._starts or self._pass.starts)[number], len(tensor), tensor.device)
        return labels, max(self._of.observer.frame.classes, 1)

    def _of_samples(self, start: int, count: int, device: torch.device) -> Tensor:
        """The classes of samples of the block; without labels all are one class."""
        if self._labels is None:
            return torch.zeros(count, dtype=torch.int64, device=device)
        require(
            start + count <= len(self._labels),
            "`labels` holds the class of every sample of the block's passes",
            f"{len(self._labels)} labels for at least {start + count} samples",
            "pass the labels of all micro-batches, in their order",
        )
        if start == 0 and count == len(self._labels):
            return self._labels
        return self._labels[start : start + count]

    def _counted(self, seen: Passive) -> dict[Place, Partial]:
        """The sums of the passes that count, put together."""
        merged: dict[Place, Partial] = {}
        for (number, place), parts in self._sums.items():
            if number in seen.passes:
                merged[place] = parts if place not in merged else _merged(merged[place], parts)
        return merged

    def _values(self, seen: Passive) -> dict[str, np.ma.MaskedArray]:
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


def _joined(labels: Labels | None, device: torch.device) -> Tensor | None:
    if labels is None:
        return None
    parts = [labels] if isinstance(labels, Tensor) else list(labels)
    shapes = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
    require(
        bool(parts) and all(isinstance(p, Tensor) and p.ndim == 1 and not p.is_floating_point() for p in parts),
        "`labels` is a tensor (n,) with the class of each sample, or one per micro-batch",
        shapes,
        "pass those, or leave it out where there are no classes",
    )
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    return whole.to(device, torch.int64)


def _merged(first: Partial, second: Partial) -> Partial:
    """The sums of two micro-batches: directions add up, lengths and classes come one after the other."""
    return (first[0] + second[0], *(torch.cat(parts) for parts in zip(first[1:], second[1:], strict=True)))


def _in_units(layer: LayerSnapshot, factors: Tensor) -> LayerSnapshot:
    scaled = {
        name: value * factors.to(value.dtype).view(-1, *[1] * (value.ndim - 1))
        for name in ("feature_gradients", "output_gradients")
        if (value := getattr(layer, name)) is not None
    }
    return replace(layer, **scaled)


def _number(value: float | Tensor | None) -> float | None:
    return None if value is None else float(value)
