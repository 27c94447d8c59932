"""The monitor: watches a model on a probe, in any training loop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Literal

import xarray as xr
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber._core.record import Observation, RecordBuffer
from cloudchamber._core.schema import MAX_IMAGE_SAMPLES, CoverageRow
from cloudchamber.anatomy import Forward, choose_views, default_forward
from cloudchamber.measures import Measure, select
from cloudchamber.monitor.cost import Costs, measured_costs
from cloudchamber.monitor.history import History
from cloudchamber.monitor.labels import Labels
from cloudchamber.monitor.losses import REDUCTIONS, Loss, Reduction
from cloudchamber.monitor.observer import Observer, Target
from cloudchamber.monitor.passive import BatchPass, PassiveObserver
from cloudchamber.monitor.positions import PositionChoice, Positions
from cloudchamber.monitor.probe import Probe
from cloudchamber.monitor.schedule import Schedule, as_schedule, positive_whole, sparser
from cloudchamber.monitor.wanted import available
from cloudchamber.monitor.wrappers import device_of_model, unwrapped

_log = logging.getLogger("cloudchamber")
OWN_LOOP = "# a training loop of the user's own\n"

Layers = str | type[nn.Module] | Sequence[str | type[nn.Module]] | None


class Monitor:
    """Observes a model on fixed samples while it trains.

    Entering records step 0; `observe(step)` records every `every`-th step with one extra forward and backward pass
    on the probe; leaving records the last step that was announced. Training is bit for bit what it would be
    without the monitor: parameters, `.grad`, buffers, train/eval flags, random states and the autocast state stay
    as they are, and no hook outlives an observation.

    Args:
        model: any `nn.Module`. `torch.compile`, `DataParallel` and `DistributedDataParallel` are seen through.
        probe: (inputs, targets), n samples each; copied. Inputs are a tensor, or tuples, lists and dicts of tensors.
        loss: takes (outputs, targets) as in training, with any reduction: gradients are always those of
            `loss_x`, the loss of one sample, not divided by n.
        every: observe steps that are multiples of this; or a schedule: `cc.logarithmic()`, or any function of the step
            that says whether to observe; None = only on request, `observe(step, force=True)`.
        images_every: when to take cosine images and costly measures, at steps that are observed: likewise. By default
            at about every tenth observation; with a function as schedule, on request and at the first and last step.
        image_samples: number of samples in the cosine images, at most 500.
        layers: the layers to observe: names or shell patterns ("blocks.*.fc1", "lstm.l0.*"), classes (`nn.Conv2d`) or
            their names; None = all that can be observed.
        measures: names of measures or groups ("light", "mlp2024", "theorem1", "kernel", "neurons", "all"); None = what
            can be left on. `cost()` tells what they cost here.
        forward: called as `forward(model, inputs)`, returns the tensor that the loss takes: for models with several
            inputs, or outputs in a dict.
        positions: which positions of a sequence make up a sample's feature: "all", "first", "last", a number, a slice,
            or a mask (n, T) of those that count. Gradients of weights include every position.
        mode: "eval" observes as in evaluation (no dropout, running statistics), "train" as in training.
        reduction: "mean", "sum" or "none" if the loss's reduction cannot be found out by trying.
        passive: observe training batches in their own passes (`batch`) instead of the probe, which then only shows what
            the model is like. Measures that need more than such a pass shows are left out.
        history: keep sums over steps and a few snapshots in bounded memory, so that `monitor.history` can tell the
            common directions of the first phase once it is known when that ended.
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
        probe: tuple[Any, Tensor],
        *,
        loss: Loss,
        every: int | Schedule | None = 10,
        images_every: int | Schedule | None = None,
        image_samples: int = 100,
        layers: Layers = None,
        measures: str | Sequence[str] | None = None,
        forward: Forward = default_forward,
        positions: PositionChoice = "all",
        mode: Literal["eval", "train"] = "eval",
        reduction: Reduction | None = None,
        passive: bool = False,
        history: bool = False,
        recipe: str = OWN_LOOP,
    ) -> None:
        _require_arguments(model, loss, mode, reduction, forward)
        self._schedule = as_schedule("every", every)
        self._images = sparser(self._schedule) if images_every is None else as_schedule("images_every", images_every)
        self._loss, self._recipe = loss, recipe
        self._reduction: Reduction | None = reduction
        self._image_samples = positive_whole("image_samples", image_samples, low=2, high=MAX_IMAGE_SAMPLES)
        self._measures = select([measures] if isinstance(measures, str) else measures)
        model = unwrapped(model)
        samples = Probe.of(probe, device_of_model(model))
        chosen = choose_views(model, layers)
        places = Positions.of(positions, len(samples.targets))
        self._target = Target(model, chosen, samples, mode == "train", forward, places)
        self._observer: Observer | None = None
        self._buffer: RecordBuffer | None = None
        self._announced = 0
        self._history = History() if history else None
        self._is_passive, self._began = passive, False
        self._passive: PassiveObserver | None = None
        if passive:
            require(
                not isinstance(positions, Tensor),
                "a passive monitor takes the same positions of every batch",
                "a mask for the samples of the probe",
                "choose 'all', 'first', 'last', a number or a slice",
            )
            _require_available(self._measures, chosen=measures is not None)

    def __enter__(self) -> Monitor:
        require(self._buffer is None, "a monitor is entered once", "a second time", "make a new Monitor")
        observer = self._prepared()
        buffer = RecordBuffer(observer.frame)
        if self._is_passive:
            self._passive = PassiveObserver(observer)
        else:
            buffer.append(observer.observe(0, images=True, rare=True))
        self._observer, self._buffer = observer, buffer
        return self

    def _prepared(self) -> Observer:
        target = self._target.on_device()
        options = (self._loss, self._reduction, self._measures, self._image_samples, self._recipe)
        return Observer.prepared(target, *options, self._history)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._passive is not None:
                self._finish()
            elif kind is None and self._observer is not None and self.buffer.last_step < self._announced:
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
        if self._passive is not None:
            raise InvalidInput(
                "`observe` looks at the probe; got a passive monitor, which looks at training batches. "
                "Remedy: use `with monitor.batch(step, labels):` around the forward and backward pass."
            )
        announced = max(self._announced, self.buffer.last_step)
        self._announced = positive_whole("step", step, low=announced + 1)
        if not force and not self._schedule(self._announced):
            return None
        return self._observe(
            self._observer,
            self._announced,
            images=force or self._images(self._announced),
            train_loss=_number("train_loss", train_loss),
            epoch=_number("epoch", epoch),
        )

    def batch(
        self, step: int, labels: Labels | None = None, *, scale: float | None = None, epoch: float | None = None
    ) -> AbstractContextManager[BatchPass | None]:
        """Return the region in which a passive monitor sees a training batch's own forward and backward pass.

        Nothing is run a second time; hooks are there for this region only, and only if the schedule asks for `step`.
        A forward pass without a backward pass (evaluation) does not count; several of both (accumulated gradients) are
        put together. The weights are to be updated after the region.

        Args:
            step: number of updates applied before this batch; grows from call to call.
            labels: (n,) the class of each sample, or a sequence of such tensors, one for each micro-batch; without them
                all samples are of one class.
            scale: what the loss was multiplied by before its backward pass (`GradScaler.get_scale()`; 1/4 if it was
                divided by 4 micro-batches): cosines do not depend on it, sizes of gradients do.
            epoch: passes over the training data so far.

        Returns:
            A context manager; its value has an attribute `train_loss` to be set, or is None where nothing is seen.

        Raises:
            InvalidInput: if the monitor is not passive, outside of its `with` block, or if `step` does not grow.
            Unsupported: if the model is compiled.

        >>> import torch, cloudchamber as cc
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        >>> x, y, loss = torch.randn(12, 4), torch.arange(12) % 3, torch.nn.functional.cross_entropy
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with cc.Monitor(model, probe=(x, y), loss=loss, every=2, passive=True, measures="light") as monitor:
        ...     for step in range(4):
        ...         with monitor.batch(step, y):
        ...             loss(model(x), y).backward()
        ...         optimizer.step()
        >>> monitor.record.step.values.tolist()
        [0, 2]
        """
        passive, observer = self._passive, self._observer
        if passive is None or observer is None:
            raise InvalidInput(
                "`batch` is for a monitor made with passive=True, inside its `with` block; got "
                f"{'a call outside' if self._is_passive else 'one that observes a probe'}. "
                "Remedy: Monitor(..., passive=True), or call `observe` after the update."
            )
        self._announced = positive_whole("step", step, low=self._announced + 1 if self._began else 0)
        self._began = True
        if not self._schedule(self._announced):
            return nullcontext()
        wanted = passive.wanted(images=self._images(self._announced))
        return BatchPass(passive, self._announced, wanted, labels, scale, _number("epoch", epoch))

    def _observe(self, observer: Observer, step: int, *, images: bool, **extra: float | None) -> Observation:
        observation = observer.observe(step, images=images, rare=images and self._rare_is_due(), **extra)
        self.buffer.append(observation)
        return observation

    def _rare_is_due(self) -> bool:
        """Whether what is limited to a few steps of a run is taken now: at the first image steps, then ever fewer."""
        rare = [measure for measure in self._measures if measure.at_most is not None]
        if not rare:
            return False
        names = {measure.name for measure in rare}
        seen = [o for o in self.buffer.observations if self._has_images(o) or self._images(o.step)]
        taken = [bool(names & o.values.keys()) for o in seen]
        used, since = sum(taken), len(taken) - max((i + 1 for i, was in enumerate(taken) if was), default=0)
        limit = min(measure.at_most for measure in rare if measure.at_most is not None)
        return used < limit and since + 1 >= 2 ** max(0, used - limit // 2)

    def _has_images(self, observation: Observation) -> bool:
        return any(measure.at_image_steps and measure.name in observation.values for measure in self._measures)

    def observes(self, step: int) -> bool:
        """Whether the schedule asks for an observation after so many updates."""
        return self._schedule(step)

    def cost(self, repeats: int = 5) -> Costs:
        """Measure what each chosen measure costs on this model and probe, and how that adds up; it prints as a table.

        Args:
            repeats: how often each is timed; the median counts.

        Returns:
            Seconds of the pass over the probe and of every measure by itself (what several of them share is counted for
            each, so that together they cost less than their sum).
        """
        return measured_costs(self._observer or self._prepared(), repeats)

    @property
    def record(self) -> xr.Dataset:
        """The record so far."""
        return self.buffer.dataset()

    @property
    def history(self) -> History:
        """What spans the observed steps: common directions of windows, and kept snapshots.

        Raises:
            InvalidInput: if the monitor was made without one.
        """
        if self._history is None:
            raise InvalidInput("a monitor keeps a history if asked to; got none. Remedy: Monitor(..., history=True).")
        return self._history

    @property
    def coverage(self) -> tuple[CoverageRow, ...]:
        """A row for every module that holds weights: "measured", or "skipped, because ..."."""
        return self.buffer.frame.coverage

    @property
    def buffer(self) -> RecordBuffer:
        """The observations so far, before they are built into a record."""
        if self._buffer is None:
            raise InvalidInput("a monitor has a record once entered; got none yet. Remedy: use `with Monitor(...)`.")
        self._finish()
        return self._buffer

    def _finish(self) -> None:
        """Bring what waits of passive observation into the buffer."""
        if self._passive is not None and self._buffer is not None:
            for observation in self._passive.finished():
                self._buffer.append(observation)

    def continue_from(self, buffer: RecordBuffer) -> None:
        """Take over the observations of an interrupted run of the same model.

        Raises:
            InvalidInput: if they are of another model or another monitor.
        """
        same = buffer.frame.layers == self.buffer.frame.layers and buffer.frame.recipe == self.buffer.frame.recipe
        require(same, "a continued record is of the same recipe and layers", "another one", "start a new run")
        self._buffer = buffer


def _require_arguments(model: object, loss: object, mode: object, reduction: object, forward: object) -> None:
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
    require(
        callable(forward),
        "`forward` is a function of the model and its inputs",
        repr(forward),
        "leave it out or define one",
    )
    require(mode in ("eval", "train"), "`mode` is 'eval' or 'train'", repr(mode), "choose one of them")
    require(
        reduction is None or reduction in REDUCTIONS,
        f"`reduction` is None or one of {list(REDUCTIONS)}",
        repr(reduction),
        "leave it out to have it found out",
    )


def _require_available(measures: Sequence[Measure], *, chosen: bool) -> None:
    lost = [measure.name for measure in measures if not available(measure)]
    require(
        len(lost) < len(measures),
        "a passive monitor takes a measure that a training batch's own pass shows",
        lost,
        "choose for example measures='light', or observe a probe",
    )
    if lost and chosen:
        _log.info("Not taken from training batches: %s.", ", ".join(lost))


def _number(name: str, value: float | Tensor | None) -> float | None:
    try:
        return None if value is None else float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInput(f"`{name}` is a number; got {value!r}. Remedy: pass one number, or leave it out.") from error
