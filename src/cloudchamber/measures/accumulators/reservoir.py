"""A random sample of snapshots, of bounded size, from which any window of steps can be judged later."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.seeding import derive_seed
from cloudchamber.measures.accumulators.base import State, joined_states, nbytes, require_state, state_part

_FEW = 4


@dataclass(frozen=True)
class Sample:
    """A snapshot that was kept.

    Attributes:
        step: when it was taken.
        weight: how many offered steps it stands for: those of its stratum over those kept of it.
        tensors: what was kept, by name.
    """

    step: int
    weight: float
    tensors: Mapping[str, Tensor]


@dataclass
class _Stratum:
    """How many of its steps were offered, and the keys and steps that are kept, rising."""

    offered: int = 0
    keys: list[tuple[int, int]] = field(default_factory=list)

    @property
    def weight(self) -> float:
        """How many offered steps each kept one stands for."""
        return self.offered / len(self.keys)


class Reservoir:
    """A uniformly random sample of snapshots from each stratum of steps, where strata grow like powers.

    Strata are the steps [2^j, 2^(j+1)); where these become too many for 4 snapshots each, neighbours are joined, again
    and again. Each step has a random key, a function of seed and step alone; each stratum keeps the snapshots with
    the m smallest keys of those offered: at any time a uniform sample without replacement. m is the largest number
    for which all strata together hold no more than `capacity`, and never grows, so that the sample is thinned
    out and joined without losing that. Each step of a stratum is kept with the same probability, so for any window
    `Σ weight · value` over its samples is an unbiased estimate of the sum over its offered steps.

    `wants(step)` says beforehand whether the snapshot would be kept: most need never be taken. No random state is used
    or changed, and a resumed run keeps the same snapshots.

    Memory: at most `capacity` snapshots; about half of that after strata were joined.

    Args:
        capacity: how many snapshots, at least 8.
        seed: of the keys.

    Raises:
        InvalidInput: if the capacity is too small.

    Source: Fan, Muller, Rezucha (1962), sampling by random keys; Vitter (1985) for the problem.

    >>> reservoir = Reservoir(capacity=32)
    >>> for step in range(1, 1001):
    ...     if reservoir.wants(step):
    ...         reservoir.update(step, {"features": torch.ones(2) * step})
    >>> len(reservoir.result()), len(reservoir.window(0, 100)), reservoir.window(0, 3)[1].tensors["features"]
    (23, 13, tensor([2., 2.]))
    >>> sum(sample.weight for sample in reservoir.result())
    1000.0
    """

    def __init__(self, capacity: int = 64, seed: int = 0) -> None:
        require(capacity >= 2 * _FEW, f"`capacity` is at least {2 * _FEW}", capacity, "keep more snapshots")
        self._capacity, self._seed = capacity, seed
        self._strata: dict[int, _Stratum] = {}
        self._snapshots: dict[int, dict[str, Tensor]] = {}
        self._level, self._most, self._last = 0, capacity, -1
        self._asked: tuple[int, bool] | None = None

    def wants(self, step: int) -> bool:
        """Offer a step: whether its snapshot would be kept. Every step is offered once, in rising order.

        Args:
            step: updates applied so far.

        Raises:
            InvalidInput: if `step` does not grow.
        """
        if self._asked is None or self._asked[0] != step:
            self._asked = step, self._offer(step)
        return self._asked[1]

    def update(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Keep a copy of a snapshot if it is wanted; the step is offered if it was not yet.

        Args:
            step: updates applied so far.
            tensors: the snapshot, by name.

        Raises:
            InvalidInput: if `step` does not grow.
        """
        if self.wants(step):
            self._snapshots[step] = {name: tensor.detach().clone() for name, tensor in tensors.items()}
            insort(self._stratum(step).keys, (self._key(step), step))
            self._asked = step, False
            self._thin_out()

    def result(self) -> list[Sample]:
        """Return all samples, by step."""
        return self.window(-1, self._last)

    def window(self, start: int, stop: int) -> list[Sample]:
        """Return the samples of the steps `start < step ≤ stop`, by step."""
        return [
            Sample(step, self._stratum(step).weight, tensors)
            for step, tensors in self._snapshots.items()
            if start < step <= stop
        ]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counts of the strata, how often they were joined, m and the last step, and the snapshots."""
        counts = torch.tensor([(number, stratum.offered) for number, stratum in self._strata.items()]).long()
        header = {"offered": counts.view(-1, 2), "numbers": torch.tensor([self._level, self._most, self._last])}
        return {**header, **joined_states((str(step), tensors) for step, tensors in self._snapshots.items())}

    def load_state_dict(self, state: State) -> None:
        """Take over a state.

        Raises:
            InvalidInput: if it is that of another accumulator.
        """
        header = {name: state[name] for name in ("offered", "numbers") if name in state}
        require_state(header, {"offered": (None, 2), "numbers": (3,)})
        steps = sorted({_step_of(name) for name in state if name not in header})
        require(len(steps) <= self._capacity, f"at most {self._capacity} snapshots", len(steps), "match the capacity")
        self._level, self._most, self._last = state["numbers"].tolist()
        self._strata = {number: _Stratum(count) for number, count in state["offered"].tolist()}
        self._snapshots = {step: {k: v.clone() for k, v in state_part(state, str(step)).items()} for step in steps}
        for step in steps:
            insort(self._stratum(step).keys, (self._key(step), step))
        self._asked = None

    @property
    def nbytes(self) -> int:
        """The memory of its tensors, in bytes."""
        return sum(nbytes(*tensors.values()) for tensors in self._snapshots.values())

    def _offer(self, step: int) -> bool:
        last = self._last
        require(step > last, f"steps grow (last: {last})", step, "pass the number of updates applied so far")
        self._last = step
        self._stratum(step).offered += 1
        while len(self._strata) > self._capacity // _FEW:
            self._join()
        self._most = min(self._most, _even_share([s.offered for s in self._strata.values()], self._capacity))
        self._thin_out()
        keys = self._stratum(step).keys
        return len(keys) < self._most or self._key(step) < keys[-1][0]

    def _stratum(self, step: int) -> _Stratum:
        power = max(step, 1).bit_length() - 1
        return self._strata.setdefault(power >> self._level, _Stratum())

    def _join(self) -> None:
        """Make one of every two neighbouring strata."""
        before, self._strata, self._level = self._strata, {}, self._level + 1
        for number, stratum in before.items():
            other = self._strata.setdefault(number >> 1, _Stratum())
            other.offered += stratum.offered
            other.keys = sorted(other.keys + stratum.keys)

    def _thin_out(self) -> None:
        for stratum in self._strata.values():
            for _, step in stratum.keys[self._most :]:
                del self._snapshots[step]
            del stratum.keys[self._most :]

    def _key(self, step: int) -> int:
        return derive_seed(self._seed, "reservoir", step)


def _step_of(name: str) -> int:
    step = name.partition(".")[0]
    require(step.isdecimal(), "a snapshot's tensors are called '<step>.<name>'", repr(name), "load a whole state")
    return int(step)


def _even_share(counts: list[int], capacity: int) -> int:
    """The largest m for which the sum of min(m, count) is at most `capacity`; `capacity` if there is room for all."""
    room = capacity
    for i, count in enumerate(sorted(counts)):
        share = room // (len(counts) - i)
        if count > share:
            return share
        room -= count
    return capacity
