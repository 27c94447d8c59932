"""Train the members of an ensemble, chunk after chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from cloudchamber._core.seeding import derive_seed, preserved_random_state
from cloudchamber.data import Dataset
from cloudchamber.monitor.schedule import positive_whole
from cloudchamber.training.ensemble.batches import stacked_batches
from cloudchamber.training.ensemble.chunks import chunk_size, split
from cloudchamber.training.ensemble.engine import Chunk, Outcome, Plan
from cloudchamber.training.ensemble.members import Members
from cloudchamber.training.ensemble.paths import Path
from cloudchamber.training.ensemble.result import Ensemble


@runtime_checkable
class Source(Protocol):
    """Where each member's data and random numbers come from."""

    @property
    def batch_size(self) -> int:
        """Samples per step."""
        ...

    @property
    def order_seeds(self) -> Sequence[int]:
        """Seeds of the order in which samples come, one per member."""
        ...

    @property
    def random_seeds(self) -> Sequence[int]:
        """Seeds of what the model draws, one per member."""
        ...

    def datasets(self, members: Sequence[int]) -> list[Dataset]:
        """Return the data set of each of those members; the same object where it is the same."""
        ...


@dataclass(frozen=True)
class GivenSource:
    """Data sets that are in memory."""

    given: Sequence[Dataset]
    batch_size: int
    order_seeds: Sequence[int]
    random_seeds: Sequence[int]

    def datasets(self, members: Sequence[int]) -> list[Dataset]:
        """Return the data set of each of those members."""
        return [self.given[member] for member in members]


def train(members: Members, source: Source, plan: Plan, path: Path, chunk: int | None) -> Ensemble:
    """Train all members; random states of the caller stay."""
    fitting = chunk_size(path.trial.activation, members.layout, members.flat.dtype)
    size = fitting if chunk is None else positive_whole("chunk", chunk)
    with preserved_random_state([path.device]), torch.inference_mode(False), torch.enable_grad():
        outcomes = [_trained(members, source, plan, path, chosen) for chosen in split(len(members), size)]
    return _assembled(members, plan, outcomes)


def _trained(members: Members, source: Source, plan: Plan, path: Path, chosen: Tensor) -> Outcome:
    some, places = members.some(chosen), chosen.tolist()
    orders, randoms = ([seeds[place] for place in places] for seeds in (source.order_seeds, source.random_seeds))
    torch.manual_seed(derive_seed(randoms[0], "one stream"))  # for what members cannot draw by themselves
    batches = stacked_batches(source.datasets(places), source.batch_size, orders)
    gradients = path.gradients(some.fixed, batches.per_member, randoms)
    plan = replace(plan, optimizer=plan.optimizer.some(chosen, len(members)))
    step = path.step(gradients, plan.optimizer)
    return Chunk(plan, gradients, step, batches, some.flat, chosen.to(path.device)).train()


def _assembled(members: Members, plan: Plan, outcomes: Sequence[Outcome]) -> Ensemble:
    """Put the chunks together, flat parameters by their names."""
    stopped_at = torch.cat([part.stopped_at for part in outcomes])
    names = outcomes[0].fixed
    every = plan.losses_every
    return Ensemble(
        parameters=members.layout.views(torch.cat([part.flat for part in outcomes])),
        fixed={name: torch.cat([part.fixed[name] for part in outcomes]) for name in names},
        reasons=tuple(reason for part in outcomes for reason in part.reasons),
        stopped_at=stopped_at,
        loss=torch.cat([part.loss for part in outcomes]),
        loss_steps=torch.arange(every, plan.steps + 1, every),
        losses=torch.cat([part.losses for part in outcomes]),
        record=None if plan.observer is None else plan.observer.finish(stopped_at),
        template=members.template,
        snapshot_steps=torch.tensor(plan.snapshot_steps, dtype=torch.long),
        snapshots=members.layout.views(torch.cat([part.snapshots for part in outcomes])),
    )
