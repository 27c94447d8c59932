"""The heads of an attention as a layer of the search: what was seen of them, their groups, what is done with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber.anatomy.channels.finding import plain_transformers
from cloudchamber.reduction.heads.blocks import HeadGroups
from cloudchamber.reduction.heads.change import HeadChange
from cloudchamber.reduction.heads.grouping import HeadDistances
from cloudchamber.reduction.heads.hosts import Host
from cloudchamber.reduction.moments import Moments, Sum
from cloudchamber.reduction.plan import LayerPlan

EPSILONS = 64
"""Relative to the precision of the weights, what is rounding of a product of them."""


@dataclass(frozen=True)
class HeadLayer:
    """The heads of an attention with what was seen of them.

    Attributes:
        host: where they are.
        distances: from each other.
    """

    host: Host
    distances: HeadDistances

    wide = False
    """Nothing is left for the end."""

    @classmethod
    def of(cls, model: nn.Module, host: Host, moments: Mapping[str, Moments]) -> HeadLayer:
        """Put together what was seen: moments of what queries ("q") and keys ("k") are made of."""
        dtype = next(model.get_submodule(host.module).parameters()).dtype
        rounding = EPSILONS * torch.finfo(dtype).eps
        blocks = host.read(model)
        return cls(host, HeadDistances.of(blocks, moments["q"], moments["k"], free=host.free, rounding=rounding))

    @property
    def name(self) -> str:
        """The attention, in words."""
        return f"{self.host.module} (heads)"

    @property
    def size(self) -> int:
        """How many heads."""
        return self.distances.blocks.size[0]

    def groups(self, level: float) -> HeadGroups:
        """Return the groups at a level."""
        return self.distances.groups(level)

    def key(self, groups: HeadGroups) -> bytes:
        """Return something that tells whether two groupings are the same; empty if the heads stay as they are."""
        return self.distances.key(groups)

    def change(self, groups: HeadGroups, *, least_squares: bool) -> HeadChange:
        """Return what is done."""
        del least_squares  # what heads add is found from their weights
        return HeadChange(self.host, self.distances.blocks.size, groups)

    def plan(self, model: nn.Module, groups: HeadGroups, change: HeadChange) -> LayerPlan:
        """Return what is said of a change of the model."""
        del model
        member = groups.labels >= 0
        leader = groups.kept[groups.labels.clamp(min=0)]
        merged = member & (leader != torch.arange(self.size))
        own = torch.arange(self.size)[merged]
        distance = self.distances.pairs[leader[merged], own]
        return LayerPlan(
            self.name,
            self.size,
            len(groups.kept),
            groups.labels,
            merged=int(merged.sum()),
            constant=int((~member).sum()),
            copies=int(self.distances.alike[leader[merged], own].sum()),
            distance=float(distance.max()) if len(distance) else 0.0,
            how=self._widths(groups),
            bound=nan,
            changed=nan,
            bound_for_every_input=nan,
            change=change,
            unit="heads",
        )

    def _widths(self, groups: HeadGroups) -> str:
        _, queries, values = self.distances.blocks.size
        each = (("queries and keys", queries, groups.queries), ("values", values, groups.values))
        changed = [f"{what} {before} → {after} wide" for what, before, after in each if before != after]
        return " and ".join(changed) or "values summed up"


def head_moments(model: nn.Module, inputs: Any, forward: Any, hosts: Sequence[Host]) -> dict[str, dict[str, Moments]]:
    """Run a model once and return the moments of what queries and keys are made of, by the hosts' modules.

    Args:
        model: in evaluation; not changed.
        inputs: of one call.
        forward: how it is called.
        hosts: which are watched; those that are not called are left out.
    """
    sums: dict[str, dict[str, Sum]] = {host.module: {} for host in hosts}
    with torch.no_grad(), plain_transformers(), _watched(model, hosts, sums):
        if hosts:
            forward(model, inputs)
    found = {name: {side: each.moments() for side, each in both.items()} for name, both in sums.items()}
    return {name: both for name, both in found.items() if both.keys() == {"q", "k"}}


@contextmanager
def _watched(model: nn.Module, hosts: Sequence[Host], sums: dict[str, dict[str, Sum]]) -> Iterator[None]:
    handles = [
        model.get_submodule(name).register_forward_pre_hook(_adding(host, name, sums[host.module]), with_kwargs=True)
        for host in hosts
        for name in host.watched()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _adding(host: Host, name: str, sums: dict[str, Sum]) -> Any:
    def before(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        for side, given in host.received(name, args, kwargs).items():
            rows: Tensor = given.detach().flatten(0, -2)
            sums.setdefault(side, Sum(rows.shape[1])).add(rows)

    return before
