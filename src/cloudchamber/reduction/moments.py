"""What is known of channels where they are read: second moments over example inputs, in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cloudchamber.anatomy.channels import Reader, Space
from cloudchamber.anatomy.channels.finding import plain_transformers

MOST_WORK = 2e10
"""Multiplications for the second moments of one reader; beyond, fewer rows are taken, evenly spread."""
FEWEST_ROWS = 512
MOST_ROWS = 16384


@dataclass(frozen=True)
class Moments:
    """Second moments of h channels and the constant 1: `E[(F, 1)(F, 1)ᵀ]` over samples and positions.

    Attributes:
        second: (h + 1, h + 1).
        rows: over how many rows.
    """

    second: Float[Tensor, "h1 h1"]
    rows: int

    @property
    def power(self) -> Float[Tensor, " h"]:
        """E[F²]."""
        return self.second.diagonal()[:-1].clamp(min=0)

    @property
    def mean(self) -> Float[Tensor, " h"]:
        """E[F]."""
        return self.second[:-1, -1]

    def about(self, affine: bool) -> Float[Tensor, "h h"]:
        """The moments about the mean if constants do not matter, else about zero."""
        plain = self.second[:-1, :-1]
        return plain - torch.outer(self.mean, self.mean) if affine else plain


def moments_of(
    model: nn.Module, inputs: Any, forward: Any, spaces: Sequence[Space]
) -> tuple[dict[str, Moments], Tensor]:
    """Run a model once and return the moments of what each reader reads, by its key, and the output.

    Args:
        model: in evaluation; not changed.
        inputs: of one call.
        forward: how it is called.
        spaces: whose readers are watched.
    """
    sums = {reader.key: _ReaderSum(reader, space.size) for space in spaces for reader in space.readers.values()}
    with torch.no_grad(), plain_transformers(), _watched(model, list(sums.values())):
        output = forward(model, inputs)
    return {key: each.moments() for key, each in sums.items()}, output


def longest_inputs(model: nn.Module, inputs: Any, forward: Any, layers: Sequence[str]) -> dict[str, float]:
    """Run a model once and return the norm of the longest (x, 1) that each of these layers receives."""
    longest: dict[str, float] = {}

    def watch(name: str) -> Any:
        def before(_: nn.Module, args: tuple) -> None:
            if args and isinstance(args[0], Tensor) and args[0].is_floating_point():
                most = args[0].detach().double().square().sum(-1).amax()
                longest[name] = max(longest.get(name, 0.0), float((most + 1).sqrt()))

        return before

    handles = [model.get_submodule(name).register_forward_pre_hook(watch(name)) for name in layers]
    try:
        with torch.no_grad(), plain_transformers():
            forward(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return longest


class Sum:
    """Adds up moments of h channels while a model runs."""

    def __init__(self, size: int) -> None:
        self._rows = 0
        self._limit = int(min(MOST_ROWS, max(FEWEST_ROWS, MOST_WORK / (size + 1) ** 2)))
        self._second = torch.zeros(size + 1, size + 1, dtype=torch.float64)

    def add(self, rows: Float[Tensor, "n h"]) -> None:
        """Add rows, of which only some are taken where they are many."""
        if len(rows) > self._limit:
            rows = rows[torch.linspace(0, len(rows) - 1, self._limit, dtype=torch.float64).long()]
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], 1).to("cpu", torch.float64)
        self._second.addmm_(rows.T, rows)
        self._rows += len(rows)

    def moments(self) -> Moments:
        """Return the moments of all rows so far."""
        return Moments(self._second / max(self._rows, 1), self._rows)


class _ReaderSum(Sum):
    """Adds up what a reader reads."""

    def __init__(self, reader: Reader, size: int) -> None:
        super().__init__(size)
        self.reader = reader

    def before(self, _: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self._add(args[0] if args else next(iter(kwargs.values())))

    def after(self, _: nn.Module, __: tuple, output: Any) -> None:
        self._add(output[0])

    def _add(self, tensor: Tensor) -> None:
        axis = self.reader.axis
        self.add(type(axis)(axis.dim % tensor.ndim, axis.outer, axis.inner).split(tensor.detach()).flatten(0, -2))


@contextmanager
def _watched(model: nn.Module, sums: Sequence[_ReaderSum]) -> Iterator[None]:
    handles = []
    for each in sums:
        module = model.get_submodule(each.reader.module)
        if each.reader.own:
            handles.append(module.register_forward_hook(each.after))
        else:
            handles.append(module.register_forward_pre_hook(each.before, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
