"""Observing the stacked members of an ensemble like one model."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import xarray as xr
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidInput, Unsupported, require
from cloudchamber._core.members_buffer import MembersBuffer, MembersFrame, MembersObservation
from cloudchamber._core.record import Values
from cloudchamber._core.schema import MAX_IMAGE_SAMPLES, CoverageRow
from cloudchamber.anatomy import Forward, default_forward, undisturbed
from cloudchamber.measures import select
from cloudchamber.monitor.losses import Loss, Reduction
from cloudchamber.monitor.positions import PositionChoice
from cloudchamber.monitor.schedule import as_schedule, positive_whole, sparser
from cloudchamber.training.ensemble.layout import Layout
from cloudchamber.training.ensemble.member_observers import How, MemberObservers
from cloudchamber.training.ensemble.probes import Probes
from cloudchamber.training.ensemble.rare import RareSteps
from cloudchamber.training.ensemble.stacked_observer import (
    MOST_NUMBERS,
    Rows,
    StackedObserver,
    looped_values,
    why_looped,
)
from cloudchamber.training.ensemble.watch import Watch

_log = logging.getLogger("cloudchamber")

Path = Literal["auto", "stacked", "looped"]
PerMember = Tensor | np.ndarray | Sequence[float] | float | None


class EnsembleObserver:
    """Observes members whose weights lie in the rows of one matrix, as `Monitor` observes one model.

    At an observed step all members are run on the probe in one `vmap`, and one backward pass gives the gradients of all
    layers of all of them. Measures that are pure tensor code are taken of all members at once, the others of one after
    the other; the first member is measured in both ways to tell which are which. Every value is the one that
    `Monitor` would have measured of that member alone, to rounding.

    Members may be observed in any grouping, chunk after chunk, as long as the steps of each member grow.

    Args:
        module: the architecture; it stays as it is.
        layout: where each trainable parameter of a member lies in a row.
        watch: what is observed, and when.
        loss: takes (outputs, targets) as in training, with any reduction.
        members: K, the number of members.
        recipes: YAML text of each member's recipe, to be kept in the record; () = `watch.recipe` for all.
        forward: called as `forward(module, inputs)`, returns the tensor that the loss takes.
        positions: which positions of a sequence make up a sample's feature.
        reduction: "mean", "sum" or "none" if the loss's reduction cannot be found out by trying.
        path: "stacked" insists on one pass for all members, "looped" observes one after the other; "auto" takes
            the first where `vmap` accepts the module.

    Raises:
        InvalidInput: if an argument breaks its rule; the message names the rule.

    Source: mlp2024, Section 2, as `Monitor`.

    >>> import torch
    >>> models = [nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)) for _ in range(5)]
    >>> layout, x, y = Layout.of(models[0]), torch.randn(12, 4), torch.arange(12) % 3
    >>> watch = Watch(probe=(x, y), every=1, measures=["feature_cosine"])
    >>> observer = EnsembleObserver(models[0], layout, watch, nn.functional.cross_entropy, members=5)
    >>> observer.observe(0, layout.flat(models), {}, range(5))
    True
    >>> observer.record.feature_cosine.dims, observer.record.feature_cosine.shape
    (('member', 'step', 'layer'), (5, 1, 2))
    """

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        watch: Watch,
        loss: Loss,
        members: int,
        *,
        recipes: Sequence[str] = (),
        forward: Forward = default_forward,
        positions: PositionChoice = "all",
        reduction: Reduction | None = None,
        path: Path = "auto",
    ) -> None:
        self._module, self._layout, self._watch = module, layout, watch
        self._count = positive_whole("members", members)
        require(
            len(recipes) in (0, self._count),
            f"there is a recipe for each of the {self._count} members, or none",
            f"{len(recipes)} recipes",
            "pass one per member",
        )
        require(path in ("auto", "stacked", "looped"), "`path` is 'auto', 'stacked' or 'looped'", repr(path), "choose")
        positive_whole("image_samples", watch.image_samples, low=2, high=MAX_IMAGE_SAMPLES)
        self._schedule = as_schedule("every", watch.every)
        given = watch.images_every
        self._images = sparser(self._schedule) if given is None else as_schedule("images_every", given)
        names = [watch.measures] if isinstance(watch.measures, str) else watch.measures
        self._how = How(loss, select(names), forward, positions, reduction)
        self._rare = RareSteps(self._how.measures)
        self._recipes, self._path = tuple(recipes), path
        self._observers: MemberObservers | None = None
        self._stacked: StackedObserver | None = None
        self._buffer: MembersBuffer | None = None

    def observes(self, step: int) -> bool:
        """Whether the schedule asks for an observation after so many updates."""
        return self._schedule(step)

    def observe(
        self,
        step: int,
        flat: Tensor,
        fixed: Mapping[str, Tensor],
        members: Sequence[int] | Tensor,
        *,
        train_loss: PerMember = None,
        epoch: PerMember = None,
        force: bool = False,
    ) -> bool:
        """Record some members after `step` updates, if the schedule asks for it or one is observed for the first time.

        Args:
            step: updates applied so far; grows from call to call for each member.
            flat: (m, P) the weights of these members.
            fixed: (m, ...) by name: buffers, and parameters that are not trained, where members have their own.
            members: (m,) their numbers, from 0 to K − 1.
            train_loss: (m,) the losses of the step's batch.
            epoch: passes over the training data so far: (m,), or a number for all.
            force: record in any case, with cosine images.

        Returns:
            Whether anything was recorded.

        Raises:
            InvalidInput: if `step` does not grow, or the arguments do not fit.
        """
        step = positive_whole("step", step, low=0)
        numbers = members.tolist() if isinstance(members, Tensor) else [int(member) for member in members]
        self._require_members(flat, numbers)
        groups = self._groups(step, numbers, force=force)
        if self._buffer is not None:
            self._buffer.require_next(step, [numbers[row] for chosen in groups.values() for row in chosen])
        rows = Rows(numbers, flat, fixed)
        extra = {"train_loss": _per_member(train_loss, len(numbers)), "epoch": _per_member(epoch, len(numbers))}
        for (images, rare), chosen in groups.items():
            some = rows if len(chosen) == len(numbers) else rows.of(chosen)
            given = {name: value[chosen] for name, value in extra.items() if value is not None}
            self._observe(step, some, given, images=images, rare=rare)
        return bool(groups)

    @property
    def record(self) -> xr.Dataset:
        """The record so far, with a leading dimension `member`."""
        return self.buffer.dataset()

    def finish(self, stopped_at: Sequence[int] | Tensor) -> xr.Dataset:
        """Return the record of an ensemble whose members are done.

        Args:
            stopped_at: (K,) updates applied to each member.
        """
        stopped = [int(step) for step in stopped_at]
        require(len(stopped) == self._count, f"`stopped_at` has {self._count} entries", len(stopped), "pass one each")
        return self.buffer.dataset(stopped)

    @property
    def buffer(self) -> MembersBuffer:
        """The observations so far, before they are built into a record."""
        if self._buffer is None:
            raise InvalidInput("an ensemble has a record once it was observed; got none yet. Remedy: call `observe`.")
        return self._buffer

    @property
    def coverage(self) -> tuple[CoverageRow, ...]:
        """A row for every module that holds weights: "measured", or "skipped, because ..."."""
        return self.buffer.frame.coverage

    @property
    def stacked(self) -> frozenset[str]:
        """The measures that are taken of all members at once; empty if members are observed one after the other."""
        return frozenset() if self._stacked is None else self._stacked.stacked

    def _require_members(self, flat: Tensor, numbers: Sequence[int]) -> None:
        require(
            flat.ndim == 2 and len(flat) == len(numbers) and len(set(numbers)) == len(numbers) > 0,
            "`flat` has one row for each of `members`, each of them once",
            f"shape {tuple(flat.shape)} for members {numbers[:20]}",
            "pass the rows of the members that are observed",
        )
        low, high = min(numbers), max(numbers)
        require(
            low >= 0 and high < self._count,
            f"a member is one of 0 … {self._count - 1}",
            low if low < 0 else high,
            "pass the numbers of the rows in the whole ensemble",
        )

    def _groups(self, step: int, numbers: Sequence[int], *, force: bool) -> dict[tuple[bool, bool], list[int]]:
        """Return the rows that are observed, by whether images are taken of them, and what is rare."""
        seen = [self._buffer is not None and self._buffer.last_step(member) >= 0 for member in numbers]
        due = self._schedule(step)
        images = due and self._images(step)
        groups: dict[tuple[bool, bool], list[int]] = defaultdict(list)
        for row, member in enumerate(numbers):
            forced = force or not seen[row]
            if forced or due:
                groups[forced or images, (forced or images) and self._rare.due(member)].append(row)
        return groups

    def _observe(self, step: int, rows: Rows, extra: Mapping[str, np.ndarray], *, images: bool, rare: bool) -> None:
        with undisturbed(rows.flat.device):
            rows = rows.usable()
            if self._observers is None:
                self._prepare(step, rows)
            values = self._values(step, rows, images=images, rare=rare)
        given = {name: np.ma.MaskedArray(value, mask=np.zeros(value.shape, bool)) for name, value in extra.items()}
        self.buffer.append(MembersObservation(step, tuple(rows.members), {**values, **given}))
        if images:
            self._rare.taken(rows.members, rare=rare)

    def _values(self, step: int, rows: Rows, *, images: bool, rare: bool) -> Values:
        if self._stacked is not None:
            return self._stacked.values(rows, images=images, rare=rare)
        assert self._observers is not None
        return looped_values(self._observers, step, rows, images=images, rare=rare)

    def _prepare(self, step: int, rows: Rows) -> None:
        """Look at the first member."""
        probes = Probes.of(self._watch.probe, rows.flat, self._count if self._watch.probe_per_member else None)
        first, (row, fixed) = rows.members[0], rows.one(0)
        observers = MemberObservers.prepared(
            self._module, self._layout, self._watch, self._how, probes, row, fixed, first
        )
        stacked = self._chosen_path(observers, step, rows.of([0]))
        buffer = MembersBuffer(observers.single.frame, self._members(observers))
        self._observers, self._stacked, self._buffer = observers, stacked, buffer

    def _chosen_path(self, observers: MemberObservers, step: int, first: Rows) -> StackedObserver | None:
        if self._path == "looped":
            return None
        stacked, reason = None, why_looped(observers)
        if not reason:
            stacked = StackedObserver(observers, self._count)
            reason = "" if stacked.try_out(step, first) else "vmap does not accept the module"
        if self._path == "stacked" and reason:
            raise Unsupported(f"members are observed at once; got: {reason}. Remedy: path='looped'.")
        if self._path == "auto" and stacked is not None and stacked.numbers > MOST_NUMBERS:
            reason = "nothing is gained by running members of this size at once"
        if reason:
            _log.info("Members are observed one after the other: %s.", reason)
        return None if reason else stacked

    def _members(self, observers: MemberObservers) -> MembersFrame:
        own = range(self._count) if observers.probes.own else ()
        constants = {
            name: np.broadcast_to(np.asarray(value, dtype=np.float64), (self._count, *np.shape(value)))
            for name, value in observers.single.frame.constants.items()
        }
        if own:
            constants["constant_predictor_loss"] = np.array([observers.constant_loss(member) for member in own])
        classes = tuple(observers.sample_classes(member) for member in own)
        return MembersFrame(self._count, self._recipes, classes if len(set(classes)) > 1 else (), constants)


def _per_member(value: PerMember, members: int) -> np.ndarray | None:
    if value is None:
        return None
    given = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    return np.broadcast_to(np.asarray(given, dtype=np.float64), (members,))
