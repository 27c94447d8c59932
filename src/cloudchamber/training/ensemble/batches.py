"""The batches of an ensemble: member by member those of `Batches`, stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from cloudchamber.data import Dataset
from cloudchamber.training.batches import Batches

Pair = tuple[Tensor, Tensor]


@runtime_checkable
class StackedBatches(Protocol):
    """Gives the batches of all members.

    Attributes:
        per_member: whether they are (K, n, ...), or (n, ...) for all members alike.
    """

    per_member: bool

    def of_step(self, step: int) -> Pair:
        """Return inputs and targets for update number `step` (from 1)."""
        ...

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those."""
        ...


class AlikeBatches:
    """The same batch for all members."""

    per_member = False

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def of_step(self, step: int) -> Pair:
        """Return inputs and targets."""
        return self._batches.of_step(step)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Go on: nothing belongs to a member."""


class WholeBatches:
    """All samples, of one data set or of each member's own."""

    def __init__(self, samples: Pair, *, per_member: bool) -> None:
        self._inputs, self._targets = samples
        self.per_member = per_member

    def of_step(self, step: int) -> Pair:  # noqa: ARG002
        """Return inputs and targets."""
        return self._inputs, self._targets

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those."""
        if self.per_member:
            self._inputs, self._targets = self._inputs[rows], self._targets[rows]


class OrderedBatches:
    """Samples for each member in an order of its own, of one data set or of each member's own."""

    per_member = True

    def __init__(self, members: Sequence[Batches], stacked: Pair | None) -> None:
        self._members, self._stacked = list(members), stacked
        self._epoch, self._orders = -1, torch.empty(len(members), 0, dtype=torch.int64)

    def of_step(self, step: int) -> Pair:
        """Return inputs and targets."""
        one = self._members[0]
        epoch, index = divmod(step - 1, one.per_epoch)
        if epoch != self._epoch:
            orders = torch.stack([member.order_of(epoch) for member in self._members])
            self._epoch, self._orders = epoch, orders.to(one.dataset.inputs.device)
        chosen = self._orders[:, index * one.size : (index + 1) * one.size]
        if self._stacked is None:
            return one.dataset.inputs[chosen], one.dataset.targets[chosen]
        rows = torch.arange(len(chosen), device=chosen.device)[:, None]
        return self._stacked[0][rows, chosen], self._stacked[1][rows, chosen]

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those."""
        self._members = [self._members[row] for row in rows.tolist()]
        self._orders = self._orders[rows.to(self._orders.device)]
        if self._stacked is not None:
            self._stacked = (self._stacked[0][rows], self._stacked[1][rows])


class AnyBatches:
    """Whatever each member's batches are: augmented ones."""

    per_member = True

    def __init__(self, members: Sequence[Batches]) -> None:
        self._members = list(members)

    def of_step(self, step: int) -> Pair:
        """Return inputs and targets."""
        inputs, targets = zip(*(member.of_step(step) for member in self._members), strict=True)
        return torch.stack(inputs), torch.stack(targets)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those."""
        self._members = [self._members[row] for row in rows.tolist()]


def stacked_batches(datasets: Sequence[Dataset], size: int, seeds: Sequence[int]) -> StackedBatches:
    """Return the batches of members with these data sets (the same object where it is the same) and seeds."""
    members = [Batches(dataset, size, seed) for dataset, seed in zip(datasets, seeds, strict=True)]
    one_set = all(dataset is datasets[0] for dataset in datasets)
    augmented = any(dataset.augmentation is not None for dataset in datasets)
    whole = size == len(datasets[0]) and not augmented
    if one_set and whole:
        return WholeBatches((datasets[0].inputs, datasets[0].targets), per_member=False)
    if one_set and len(set(seeds)) == 1:
        return AlikeBatches(members[0])
    if augmented:
        return AnyBatches(members)
    stacked = None if one_set else _stacked(datasets)
    return WholeBatches(stacked, per_member=True) if whole and stacked else OrderedBatches(members, stacked)


def _stacked(datasets: Sequence[Dataset]) -> Pair:
    return torch.stack([part.inputs for part in datasets]), torch.stack([part.targets for part in datasets])
