"""The loop for the members of one chunk: updates, observations, and letting go of members that are done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cloudchamber.training.ensemble.batches import StackedBatches
from cloudchamber.training.ensemble.gradients import Gradients
from cloudchamber.training.ensemble.layout import Flat, Layout
from cloudchamber.training.ensemble.optimizers import Optimizer, State
from cloudchamber.training.ensemble.step import Step
from cloudchamber.training.flow.stops import Progress

_IDLE = 8
"""Members that are done are computed on until they are one of so many: leaving costs a copy of all others."""


Ends = list[tuple[str, Bool[Tensor, " k"]]]
"""Reasons, and which members have each."""


@runtime_checkable
class Rule(Protocol):
    """A rule to stop by, for each member alone: those that are done already may still be among those asked about.

    Attributes:
        reason: the word for it in the result.
    """

    reason: str

    def met(self, progress: Progress) -> Bool[Tensor, " k"]:
        """Which members are done."""
        ...


@runtime_checkable
class Observing(Protocol):
    """What observes members; see `EnsembleObserver`."""

    def observes(self, step: int) -> bool:
        """Whether the schedule asks for an observation after so many updates."""
        ...

    def observe(
        self,
        step: int,
        flat: Flat,
        fixed: dict[str, Tensor],
        members: Int[Tensor, " k"],
        *,
        train_loss: Float[Tensor, " k"] | None,
        epoch: float | None,
        force: bool = False,
    ) -> bool:
        """Measure those members; False where the schedule does not ask for it."""
        ...

    def finish(self, stopped_at: Int[Tensor, " k"]) -> xr.Dataset:
        """Return the record."""
        ...


@dataclass(frozen=True)
class Plan:
    """What all chunks of an ensemble have in common.

    Attributes:
        layout: of the parameters.
        optimizer: what updates them.
        steps: updates at most.
        rules: when a member stops earlier, checked in order.
        losses_every: every so-many-th loss is kept.
        per_epoch: updates in a pass over the data.
        observer: what observes, if anything.
        snapshot_steps: after which updates parameters are kept, rising.
    """

    layout: Layout
    optimizer: Optimizer
    steps: int
    rules: Sequence[Rule]
    losses_every: int
    per_epoch: int
    observer: Observing | None = None
    snapshot_steps: Sequence[int] = ()


@dataclass
class Outcome:
    """What became of the members of a chunk, in their order; NaN for losses and snapshots that were not reached."""

    flat: Flat
    fixed: dict[str, Tensor]
    reasons: list[str]
    stopped_at: Int[Tensor, " k"]
    loss: Float[Tensor, " k"]
    losses: Float[Tensor, "k s"]
    snapshots: Float[Tensor, "k c p"]

    @classmethod
    def of(cls, flat: Flat, fixed: Mapping[str, Tensor], kept: int, snapshots: int) -> Outcome:
        """Return that of members that were not trained yet."""
        count = len(flat)
        return cls(
            flat=flat.clone(),
            fixed={name: value.clone() for name, value in fixed.items()},
            reasons=["steps"] * count,
            stopped_at=torch.zeros(count, dtype=torch.long, device=flat.device),
            loss=flat.new_full((count,), torch.nan),
            losses=flat.new_full((count, kept), torch.nan),
            snapshots=flat.new_full((count, snapshots, flat.shape[1]), torch.nan),
        )


@dataclass
class Rows:
    """The members under way, and some that are done: `places` in the chunk, and which of them are `alive`."""

    flat: Flat
    state: State
    places: Int[Tensor, " k"]
    alive: Bool[Tensor, " k"]
    first_loss: Float[Tensor, " k"]

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all others."""
        count = len(self.flat)
        self.state = {name: value[rows] if len(value) == count else value for name, value in self.state.items()}
        self.flat, self.places, self.alive = self.flat[rows], self.places[rows], self.alive[rows]
        self.first_loss = self.first_loss[rows]


class Chunk:
    """Some members of an ensemble, trained together."""

    def __init__(
        self,
        plan: Plan,
        gradients: Gradients,
        step: Step,
        batches: StackedBatches,
        flat: Flat,
        members: Int[Tensor, " k"],
    ) -> None:
        self._plan, self._gradients, self._step, self._batches = plan, gradients, step, batches
        self._members, self._idle = members, 0
        places = torch.arange(len(flat), device=flat.device)
        self._rows = Rows(flat.clone(), plan.optimizer.state(flat, plan.layout), places, places >= 0, flat[:, 0])
        self._outcome = Outcome.of(flat, gradients.fixed, plan.steps // plan.losses_every, len(plan.snapshot_steps))

    def train(self) -> Outcome:
        """Train until all members are done."""
        self._observe(0, self._rows.alive, None)
        self._snapshot(0)
        count = torch.zeros((), dtype=torch.float64, device=self._members.device)
        for number in range(1, self._plan.steps + 1):
            inputs, targets = self._batches.of_step(number)
            losses = self._step(self._rows.flat, self._rows.state, inputs, targets, count.add_(1))
            self._snapshot(number)
            self._account(number, losses)
            if not len(self._rows.places):
                break
        return self._outcome

    def _snapshot(self, number: int) -> None:
        """Keep the parameters of those under way, if this is a step to keep them."""
        if number in self._plan.snapshot_steps:
            alive, place = self._rows.alive, self._plan.snapshot_steps.index(number)
            self._outcome.snapshots[self._rows.places[alive], place] = self._rows.flat[alive]

    def _account(self, number: int, losses: Float[Tensor, " k"]) -> None:
        """Write down what an update showed, and let go of members that are done."""
        losses = losses.to(self._outcome.losses.dtype)
        if number == 1:
            self._rows.first_loss = losses.clone()
        if number % self._plan.losses_every == 0:
            self._keep_losses(number // self._plan.losses_every - 1, losses)
        if self._all_go_on(number, losses):
            self._observe_due(number, losses)
            return
        ends = self._ends(number, losses)
        done = self._rows.alive & torch.stack([met for _, met in ends]).any(0)
        self._observe_due(number, losses)
        if bool(done.any()):
            self._write(number, done, losses, ends)
            self._let_go(done)

    def _keep_losses(self, column: int, losses: Float[Tensor, " k"]) -> None:
        kept = self._outcome.losses
        if len(losses) == len(kept) and not self._idle:
            kept[:, column] = losses
        else:
            kept[self._rows.places, column] = torch.where(self._rows.alive, losses, torch.nan)

    def _all_go_on(self, number: int, losses: Float[Tensor, " k"]) -> bool:
        """Whether it is plain that nobody is done: one look at a sum, in the many steps in which that is so."""
        if self._plan.rules or self._idle or number == self._plan.steps:
            return False
        return math.isfinite(float(losses.sum()))

    def _ends(self, number: int, losses: Float[Tensor, " k"]) -> Ends:
        """Return which members are done, by reason; the first that holds counts."""
        ends: Ends = [("not_finite", ~losses.isfinite())]
        if self._plan.rules:
            nowhere, steps = torch.full_like(losses, torch.nan), torch.full_like(self._rows.places, number)
            progress = Progress(nowhere, losses, self._rows.first_loss, steps)
            ends += [(rule.reason, rule.met(progress)) for rule in self._plan.rules]
        if number == self._plan.steps:
            ends.append(("steps", torch.ones_like(self._rows.alive)))
        return ends

    def _write(self, number: int, done: Bool[Tensor, " k"], losses: Float[Tensor, " k"], ends: Ends) -> None:
        """Write down how members ended."""
        outcome, places = self._outcome, self._rows.places[done]
        outcome.flat[places], outcome.loss[places] = self._rows.flat[done], losses[done]
        outcome.stopped_at[places] = number
        for name, value in self._gradients.fixed.items():
            outcome.fixed[name][places] = value[done]
        for reason, met in reversed(ends):
            for place in self._rows.places[done & met].tolist():
                outcome.reasons[place] = reason

    def _let_go(self, done: Bool[Tensor, " k"]) -> None:
        """Keep only the members under way, if enough of the others have gathered."""
        self._rows.alive &= ~done
        left = self._rows.alive.nonzero()[:, 0]
        count = len(self._rows.places)
        self._idle = count - len(left)
        if len(left) and self._idle * _IDLE < count:
            return
        self._idle = 0
        self._rows.keep(left)
        if len(left):
            self._step.keep(left)
            self._batches.keep(left)

    def _observe_due(self, number: int, losses: Float[Tensor, " k"]) -> None:
        """Observe as a run does: by the schedule, after the last update, and what is not finite.

        Members that a rule stops are not forced: a record has every step at which one of its members was observed.
        """
        if self._plan.observer is None:
            return
        forced = self._rows.alive & (~losses.isfinite() | (number == self._plan.steps))
        self._observe(number, forced, losses, force=True)
        if self._plan.observer.observes(number):
            self._observe(number, self._rows.alive & ~forced, losses)

    def _observe(
        self, step: int, chosen: Bool[Tensor, " k"], losses: Float[Tensor, " k"] | None, *, force: bool = False
    ) -> None:
        observer = self._plan.observer
        if observer is None or not bool(chosen.any()):
            return
        observer.observe(
            step,
            self._rows.flat[chosen],
            {name: value[chosen] for name, value in self._gradients.fixed.items()},
            self._members[self._rows.places[chosen]],
            train_loss=None if losses is None else losses[chosen],
            epoch=step / self._plan.per_epoch if step else None,
            force=force,
        )
