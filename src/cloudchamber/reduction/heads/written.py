"""Attention written with linear projections: its layers read and written as heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cloudchamber.reduction.heads.blocks import Blocks
from cloudchamber.reduction.heads.retracing import Trace, follow
from cloudchamber.reduction.heads.rows import heads_of_columns, put_columns, put_rows, with_bias

Order = Literal["apart", "by kind", "by head"]
Count = tuple[str, str, int]
"""A submodule, its attribute that counts heads, and how often each head counts."""


@dataclass(frozen=True)
class WrittenHost:
    """Attention with `nn.Linear` projections.

    Attributes:
        module: its qualified name.
        query: the layer of the queries, named from the module on.
        key: that of the keys.
        value: that of the values.
        output: that of the output.
        order: "apart" for three layers; in one, "by kind" if all queries come first, "by head" if all of a head does.
        counts: attributes that count heads; the first is their number.
        traces: of its forward, where that says how many heads there are.
    """

    module: str
    query: str
    key: str
    value: str
    output: str
    order: Order
    counts: tuple[Count, ...]
    traces: tuple[Trace, ...] = ()

    @property
    def projections(self) -> tuple[str, ...]:
        """The layers of queries, keys and values."""
        return tuple(dict.fromkeys(self._qualified(each) for each in (self.query, self.key, self.value)))

    @property
    def free(self) -> bool:
        """No: what lies between is not known."""
        return False

    def read(self, model: nn.Module) -> Blocks:
        """Return the weights of the heads."""
        held = model.get_submodule(self.module)
        heads = self.heads(held)
        layers: list[Any] = [held.get_submodule(name) for name in dict.fromkeys((self.query, self.key, self.value))]
        rows = [with_bias(each.weight, each.bias) for each in layers]
        if self.order == "by kind":
            rows = list(rows[0].chunk(3))
        if self.order == "by head":
            q, k, v = rows[0].unflatten(0, (heads, 3, -1)).unbind(1)
        else:
            q, k, v = (each.unflatten(0, (heads, -1)) for each in rows)
        return Blocks(q, k, v, heads_of_columns(held.get_submodule(self.output), heads))

    def heads(self, held: nn.Module) -> int:
        """Return how many heads the module has."""
        owner, attribute, _ = self.counts[0]
        return int(getattr(held.get_submodule(owner), attribute))

    def write(self, model: nn.Module, blocks: Blocks) -> None:
        """Give the layers other weights, the attributes other numbers and, if need be, the module another forward."""
        held, heads = model.get_submodule(self.module), len(blocks.q)
        if self.traces:
            follow(held, self.traces, heads, self)
        for owner, attribute, times in self.counts:
            setattr(held.get_submodule(owner), attribute, times * heads)
        each = (blocks.q, blocks.k, blocks.v)
        if self.order == "apart":
            for name, part in zip((self.query, self.key, self.value), each, strict=True):
                put_rows(held.get_submodule(name), part.flatten(0, 1))
        else:
            rows = torch.cat([part.flatten(0, 1) for part in each]) if self.order == "by kind" else torch.cat(each, 1)
            put_rows(held.get_submodule(self.query), rows if self.order == "by kind" else rows.flatten(0, 1))
        put_columns(held.get_submodule(self.output), blocks.o)

    def watched(self) -> tuple[str, ...]:
        """The layers of queries and keys."""
        return tuple(dict.fromkeys((self._qualified(self.query), self._qualified(self.key))))

    def received(self, module: str, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return what a layer is given."""
        given = args[0] if args else next(iter(kwargs.values()))
        sides = {"q": self._qualified(self.query), "k": self._qualified(self.key)}
        return {side: given for side, name in sides.items() if name == module}

    def _qualified(self, name: str) -> str:
        return f"{self.module}.{name}" if self.module else name
