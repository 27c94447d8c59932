"""Accumulators: what spans many steps, in memory that does not grow with their number.

One is made with the sizes that bound it, is told of every step by `update`, and says by `result` what it has found so
far. Its state is a flat dict of tensors, which a checkpoint holds and `load_state_dict` takes back without executing
code; one that was saved, loaded and told of the rest is the one that was told of everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.measures.vectors import wide

State = Mapping[str, Tensor]


@runtime_checkable
class Accumulator(Protocol):
    """What all accumulators share; arguments of `update` and kind of `result` are each one's own."""

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add what one step showed."""
        ...

    def result(self) -> Any:
        """Return what was found so far."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that changes, as tensors of its own."""
        ...

    def load_state_dict(self, state: State) -> None:
        """Take over the state of an accumulator of the same sizes."""
        ...

    @property
    def nbytes(self) -> int:
        """The memory of its tensors, in bytes."""
        ...


@runtime_checkable
class Mergeable(Accumulator, Protocol):
    """An accumulator that can take over what another one of the same sizes was told."""

    def merge(self, other: Any) -> None:
        """Add all that another one holds, which stays as it is."""
        ...


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of each entry, over all rows.

    Attributes:
        mean: like one row, float64.
        std: the root of the mean square about the mean.
        count: over how many rows.
    """

    mean: Float[Tensor, "*shape"]
    std: Float[Tensor, "*shape"]
    count: Float[Tensor, "*shape"]


class MeanAccumulator:
    """Mean and standard deviation of each entry of rows, over rows and updates.

    Blocks of rows are joined by `mean ← mean + δ n_b/n`, `M₂ ← M₂ + M₂_b + δ² n_a n_b/n` with δ the difference of
    their means, in float64: no difference of large sums is taken. Memory: 24 bytes per entry, on the CPU.

    Args:
        shape: of one row; none for single numbers.
        skip_unknown: leave NaN out, entry by entry; otherwise a NaN makes its entry NaN for good.

    Source: Welford (1962); Chan, Golub, LeVeque (1979) for blocks.

    >>> found = MeanAccumulator()
    >>> found.update(torch.tensor([1.0, 3.0]))
    >>> found.update(torch.tensor([5.0]))
    >>> found.result().mean
    tensor(3., dtype=torch.float64)
    """

    def __init__(self, *shape: int, skip_unknown: bool = False) -> None:
        self._skip_unknown = skip_unknown
        self._count = torch.zeros(shape, dtype=torch.float64)
        self._mean = torch.zeros(shape, dtype=torch.float64)
        self._squares = torch.zeros(shape, dtype=torch.float64)

    def update(self, rows: Float[Tensor, "n ..."]) -> None:
        """Add rows.

        Args:
            rows: (n, ...), each of the shape that was declared.

        Raises:
            InvalidInput: if a row has another shape.
        """
        require(
            rows.ndim > 0 and rows.shape[1:] == self._mean.shape,
            f"`rows` are n rows of shape {tuple(self._mean.shape)}",
            f"shape {tuple(rows.shape)}",
            "declare the shape of one row when you make the accumulator",
        )
        exact = wide(rows).cpu()
        known = ~exact.isnan() if self._skip_unknown else torch.ones_like(exact, dtype=torch.bool)
        count = known.sum(0).to(torch.float64)
        mean = torch.where(known, exact, 0).sum(0) / count.clamp(min=1)
        self._join(count, mean, torch.where(known, exact - mean, 0).square().sum(0))

    def merge(self, other: MeanAccumulator) -> None:
        """Add all that another accumulator of the same shape holds; it stays as it is.

        Raises:
            InvalidInput: if it is of another shape.
        """
        require_state(other.state_dict(), self._shapes)
        self._join(other._count, other._mean, other._squares)

    def _join(self, count: Tensor, mean: Tensor, squares: Tensor) -> None:
        total = self._count + count
        part, apart = count / total.clamp(min=1), mean - self._mean
        self._mean = torch.where(count > 0, self._mean + apart * part, self._mean)
        self._squares = torch.where(
            count > 0, self._squares + squares + apart.square() * self._count * part, self._squares
        )
        self._count = total

    def result(self) -> Spread:
        """Return mean and standard deviation so far: NaN for an entry without any value."""
        measured = torch.where(self._count > 0, 1.0, torch.nan)
        std = (self._squares / self._count.clamp(min=1)).sqrt()
        return Spread(self._mean * measured, std * measured, self._count.clone())

    def state_dict(self) -> dict[str, Tensor]:
        """Return count, mean and sum of squares about the mean."""
        return {"count": self._count.clone(), "mean": self._mean.clone(), "squares": self._squares.clone()}

    def load_state_dict(self, state: State) -> None:
        """Take over a state.

        Raises:
            InvalidInput: if it is that of another accumulator.
        """
        require_state(state, self._shapes)
        self._count, self._mean, self._squares = (state[name].clone() for name in self._shapes)

    @property
    def nbytes(self) -> int:
        """The memory of its tensors, in bytes."""
        return nbytes(self._count, self._mean, self._squares)

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(self._mean.shape) for name in ("count", "mean", "squares")}


def nbytes(*tensors: Tensor) -> int:
    """Return the memory of tensors, in bytes.

    >>> nbytes(torch.zeros(2, 3), torch.zeros(1, dtype=torch.float64))
    32
    """
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def require_state(state: State, shapes: Mapping[str, Sequence[int | None]]) -> None:
    """Raise `InvalidInput` unless a state holds exactly these tensors; None stands for any size."""
    received = {name: tuple(tensor.shape) for name, tensor in state.items()}
    fits = received.keys() == shapes.keys() and all(_fits(received[name], shapes[name]) for name in shapes)
    require(
        fits,
        f"this accumulator's state has the shapes {dict(shapes)}",
        received,
        "load the state of one that was made with the same arguments",
    )


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(w is None or s == w for s, w in zip(shape, wanted, strict=True))


def joined_states(parts: Iterable[tuple[str, State]]) -> dict[str, Tensor]:
    """Return one flat dict of several states, each under its prefix ("0.rows").

    >>> sorted(joined_states([("a", {"x": torch.zeros(1)}), ("b", {"x": torch.ones(1)})]))
    ['a.x', 'b.x']
    """
    return {f"{prefix}.{name}": tensor for prefix, state in parts for name, tensor in state.items()}


def state_part(state: State, prefix: str) -> dict[str, Tensor]:
    """Return the state that stands under a prefix.

    >>> state_part({"a.x": torch.zeros(1), "b.x": torch.ones(1)}, "b")
    {'x': tensor([1.])}
    """
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}
