"""The probes of an ensemble: one for all members, or one each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from cloudchamber._core.errors import require
from cloudchamber.anatomy.batch import tensors_of
from cloudchamber.monitor.probe import Probe
from cloudchamber.training.ensemble.stacked_pass import StackedProbe


@dataclass(frozen=True)
class Probes:
    """What members are observed on.

    Attributes:
        whole: the probe of all, or those of all members one after the other along a leading axis.
        own: whether each member has its own.
    """

    whole: Probe
    own: bool

    @classmethod
    def of(cls, probe: tuple[Any, Tensor], like: Tensor, members: int | None) -> Probes:
        """Check and copy what a user gives; real numbers get the precision and device of the members' weights.

        Args:
            probe: inputs and targets.
            like: a tensor of that precision, on that device.
            members: K, if each has its own probe; None = one for all.

        Raises:
            InvalidInput: if it is not a pair of inputs and targets of equal, positive length.
        """
        if members is None:
            return cls(_like(Probe.of(probe, like.device), like), own=False)
        inputs, targets = _parts(probe, members)
        Probe.of((pytree.tree_map_only(Tensor, lambda tensor: tensor[0], inputs), targets[0]), like.device)
        whole = Probe(pytree.tree_map_only(Tensor, lambda tensor: _copy(tensor, like), inputs), _copy(targets, like))
        return cls(_like(whole, like), own=True)

    @property
    def samples(self) -> int:
        """The number of samples of a probe."""
        return self.whole.targets.shape[1 if self.own else 0]

    def of_member(self, member: int) -> Probe:
        """Return the probe of one member."""
        return _rows(self.whole, member) if self.own else self.whole

    def stacked(self, members: Sequence[int], *, shuffled: bool = False) -> StackedProbe:
        """Return the probe of several members, as it is or shuffled."""
        whole = self._shuffled if shuffled else self.whole
        chosen = _rows(whole, torch.as_tensor(members, device=whole.device)) if self.own else whole
        return StackedProbe(chosen.inputs, chosen.targets, self.own)

    @cached_property
    def _shuffled(self) -> Probe:
        if not self.own:
            return self.whole.shuffled()
        each = [_rows(self.whole, member).shuffled() for member in range(len(self.whole.targets))]
        inputs = pytree.tree_map(lambda *parts: torch.stack(parts), *(probe.inputs for probe in each))
        return Probe(inputs, self.whole.targets)


def _rows(probe: Probe, rows: int | Tensor) -> Probe:
    inputs = pytree.tree_map_only(Tensor, lambda tensor: tensor[rows], probe.inputs)
    return Probe(inputs, probe.targets[rows])


def _parts(probe: tuple[Any, Tensor], members: int) -> tuple[Any, Tensor]:
    shapes = [tuple(tensor.shape[:2]) for tensor in tensors_of(probe)]
    require(
        len(probe) == 2 and len(shapes) > 1 and len(set(shapes)) == 1 and len(shapes[0]) == 2,
        "probes of members are inputs and targets (K, n, ...), with as many samples n for each of the K members",
        f"tensors of shapes {shapes}",
        "stack the probes of the members",
    )
    require(
        shapes[0][0] == members, f"there is a probe for each of the {members} members", shapes[0][0], "pass one each"
    )
    return probe


def _like(probe: Probe, like: Tensor) -> Probe:
    """Return a probe whose real numbers have the precision of a tensor."""

    def converted(tensor: Tensor) -> Tensor:
        return tensor.to(like.dtype) if tensor.is_floating_point() else tensor

    return Probe(pytree.tree_map_only(Tensor, converted, probe.inputs), converted(probe.targets))


def _copy(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.detach().clone().to(like.device)
