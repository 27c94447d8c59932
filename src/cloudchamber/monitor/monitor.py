"""The monitor: watches a model on a probe, in any training loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from types import TracebackType
from typing import Literal

import torch
import xarray as xr
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidInput, Unsupported, require
from cloudchamber._core.record import Observation, RecordBuffer
from cloudchamber._core.schema import MAX_IMAGE_SAMPLES, CoverageRow
from cloudchamber.anatomy import choose_layers
from cloudchamber.measures import select
from cloudchamber.monitor.losses import REDUCTIONS, Loss, Reduction
from cloudchamber.monitor.observer import Observer, Target
from cloudchamber.monitor.probe import Probe

OWN_LOOP = "# a training loop of the user's own\n"


class Monitor:
    """Observes a model on fixed samples while it trains.

    Entering records step 0; `observe(step)` records every `every`-th step with one extra forward and backward pass
    on the probe; leaving records the last step that was announced. Training is bit for bit what it would be
    without the monitor: parameters, `.grad`, buffers, train/eval flags, random states and the autocast state stay
    as they are, and no hook outlives an observation.

    Args:
        model: any `nn.Module` whose forward takes the probe's inputs and returns one tensor. Wrappers of
            `torch.compile`, `DataParallel` and `DistributedDataParallel` are seen through.
        probe: (inputs, targets), n samples each; copied.
        loss: takes (outputs, targets) as in training, with any reduction: gradients are always those of
            `loss_x`, the loss of one sample, not divided by n.
        every: observe steps that are multiples of this.
        images_every: take cosine images and costly measures at observed steps that are multiples of this; None = ten
            times `every`.
        image_samples: number of samples in the cosine images, at most 500.
        layers: names or shell patterns of the layers to observe; None = all that can be observed.
        measures: names of measures; None = all.
        mode: "eval" observes as in evaluation (no dropout, running statistics), "train" as in training.
        reduction: "mean", "sum" or "none" if the loss's reduction cannot be found out by trying.
        recipe: text that says what the run is; kept in the record.

    Raises:
        InvalidInput: if an argument breaks its rule; the message names the rule.

    Source: mlp2024, Section 2 (similarities); theory of per-sample gradients: G and X hold every first-order
    quantity, and nothing of size samples × weights is formed.

    >>> import torch, cloudchamber as cc
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> x, y = torch.randn(12, 4), torch.arange(12) % 3
    >>> with cc.Monitor(model, probe=(x, y), loss=torch.nn.functional.cross_entropy, every=5) as monitor:
    ...     for step in range(10):
    ...         _ = monitor.observe(step + 1)  # after the step's update
    >>> monitor.record.step.values.tolist()
    [0, 5, 10]
    """

    def __init__(
        self,
        model: nn.Module,
        probe: tuple[Tensor, Tensor],
        *,
        loss: Loss,
        every: int = 10,
        images_every: int | None = None,
        image_samples: int = 100,
        layers: str | Sequence[str] | None = None,
        measures: Sequence[str] | None = None,
        mode: Literal["eval", "train"] = "eval",
        reduction: Reduction | None = None,
        recipe: str = OWN_LOOP,
    ) -> None:
        _require_arguments(model, loss, mode, reduction)
        self._every = _whole("every", every, 1)
        self._images_every = _whole("images_every", 10 * every if images_every is None else images_every, 1)
        self._loss, self._recipe = loss, recipe
        self._reduction: Reduction | None = reduction
        self._image_samples = _whole("image_samples", image_samples, 2, MAX_IMAGE_SAMPLES)
        self._measures = select([measures] if isinstance(measures, str) else measures)
        model = _unwrapped(model)
        self._target = Target(model, choose_layers(model, layers), Probe.of(probe, _device(model)), mode == "train")
        self._observer: Observer | None = None
        self._buffer: RecordBuffer | None = None
        self._announced = 0

    def __enter__(self) -> Monitor:
        require(self._buffer is None, "a monitor is entered once", "a second time", "make a new Monitor")
        target = replace(self._target, probe=self._target.probe.to(_device(self._target.model)))
        observer = Observer.prepared(
            target, self._loss, self._reduction, self._measures, self._image_samples, self._recipe
        )
        buffer = RecordBuffer(observer.frame)
        buffer.append(observer.observe(0, images=True))
        self._observer, self._buffer = observer, buffer
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._observer is not None and self.buffer.last_step < self._announced:
                self._observe(self._observer, self._announced, images=True)
        finally:
            self._observer = None

    def observe(
        self,
        step: int,
        *,
        train_loss: float | Tensor | None = None,
        epoch: float | None = None,
        force: bool = False,
    ) -> Observation | None:
        """Record the model after `step` updates, if the schedule asks for it.

        Args:
            step: number of updates applied so far; grows from call to call.
            train_loss: the loss of the step's batch, to be kept beside the probe's.
            epoch: passes over the training data so far.
            force: record in any case, with cosine images.

        Returns:
            What was measured, or None where the schedule asks for nothing.

        Raises:
            InvalidInput: outside of the `with` block, or if `step` does not grow.
        """
        if self._observer is None:
            raise InvalidInput(
                "a monitor observes inside its `with` block; got a call outside. Remedy: enter it first."
            )
        announced = max(self._announced, self.buffer.last_step)
        self._announced = _whole("step", step, announced + 1)
        if not force and self._announced % self._every:
            return None
        images = force or self._announced % self._images_every == 0
        return self._observe(
            self._observer,
            self._announced,
            images=images,
            train_loss=_number("train_loss", train_loss),
            epoch=_number("epoch", epoch),
        )

    def _observe(self, observer: Observer, step: int, *, images: bool, **extra: float | None) -> Observation:
        observation = observer.observe(step, images=images, **extra)
        self.buffer.append(observation)
        return observation

    @property
    def record(self) -> xr.Dataset:
        """The record so far."""
        return self.buffer.dataset()

    @property
    def coverage(self) -> tuple[CoverageRow, ...]:
        """A row for every module that holds weights: "measured", or "skipped, because ..."."""
        return self.buffer.frame.coverage

    @property
    def buffer(self) -> RecordBuffer:
        """The observations so far, before they are built into a record."""
        if self._buffer is None:
            raise InvalidInput("a monitor has a record once entered; got none yet. Remedy: use `with Monitor(...)`.")
        return self._buffer

    def continue_from(self, buffer: RecordBuffer) -> None:
        """Take over the observations of an interrupted run of the same model.

        Raises:
            InvalidInput: if they are of another model or another monitor.
        """
        same = buffer.frame.layers == self.buffer.frame.layers and buffer.frame.recipe == self.buffer.frame.recipe
        require(same, "a continued record is of the same recipe and layers", "another one", "start a new run")
        self._buffer = buffer


def _require_arguments(model: object, loss: object, mode: object, reduction: object) -> None:
    require(
        isinstance(model, nn.Module),
        "`model` is an nn.Module",
        type(model).__name__,
        "pass the model itself",
    )
    require(
        callable(loss),
        "`loss` is callable",
        repr(loss),
        "pass for example torch.nn.functional.cross_entropy",
    )
    require(mode in ("eval", "train"), "`mode` is 'eval' or 'train'", repr(mode), "choose one of them")
    require(
        reduction is None or reduction in REDUCTIONS,
        f"`reduction` is None or one of {list(REDUCTIONS)}",
        repr(reduction),
        "leave it out to have it found out",
    )


def _unwrapped(model: nn.Module) -> nn.Module:
    while True:
        if type(model).__name__.startswith(("FullyShardedDataParallel", "FSDP")):
            raise Unsupported(
                f"a model is observed whole; got {type(model).__name__}, whose parameters are spread over processes. "
                "Remedy: observe a run without sharding."
            )
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _whole(name: str, value: object, low: int, high: float = math.inf) -> int:
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    limits = f"of at least {low}" if high == math.inf else f"in {low} … {high}"
    if number is None or not low <= number <= high:
        raise InvalidInput(f"`{name}` is a whole number {limits}; got {value!r}. Remedy: pass one that is.")
    return number


def _number(name: str, value: float | Tensor | None) -> float | None:
    try:
        return None if value is None else float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInput(f"`{name}` is a number; got {value!r}. Remedy: pass one number, or leave it out.") from error
