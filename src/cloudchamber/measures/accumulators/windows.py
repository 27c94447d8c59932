"""Windows of steps that are chosen afterwards: where the first phase ends is known only once it is over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.measures.accumulators.base import Mergeable, State, joined_states, require_state, state_part

M = TypeVar("M", bound=Mergeable)


@dataclass
class Window(Generic[M]):
    """What was accumulated over the steps `start < step ≤ stop`.

    Attributes:
        start: the mark that it begins after.
        stop: the mark that it ends at.
        accumulator: what it holds.
    """

    start: int
    stop: int
    accumulator: M


class WindowAccumulator(Generic[M]):
    """Another accumulator, kept apart between marks, so that any window from mark to mark can be had later.

    It keeps what is new between neighbouring marks, never sums since the start of which windows would be differences:
    a window is a sum, and nothing cancels. Every step is a mark at first; where there are more than K pieces, the two
    neighbours `(a, b], (b, c]` with the smallest `(c + 1)/(a + 1)` become one. So marks grow like powers: after T
    steps a piece that was put together spans at most the factor `(T + 1)^(1/⌊(K + 1)/2⌋)` (K = 16, T = 10 000: 3.2).

    Memory: at most K + 1 times that of the other accumulator.

    Args:
        make: makes an empty accumulator, as `lambda: MomentAccumulator(512)`.
        pieces: K, at least 2.

    Raises:
        InvalidInput: if there are too few pieces.

    Source: ours; the paper adds up over a first phase that is known beforehand (mlp2024, Lemma 1).

    >>> from cloudchamber.measures.accumulators.base import MeanAccumulator
    >>> losses = WindowAccumulator(MeanAccumulator, pieces=4)
    >>> for step in range(1, 9):
    ...     losses.update(step, torch.tensor([float(step)]))
    >>> losses.marks
    (0, 1, 3, 6, 8)
    >>> found = losses.window(1, 5)
    >>> found.start, found.stop, found.accumulator.result().mean
    (1, 6, tensor(4., dtype=torch.float64))
    """

    def __init__(self, make: Callable[[], M], pieces: int = 16) -> None:
        require(pieces > 1, "`pieces` is at least 2", pieces, "keep more of them")
        self._make, self._most = make, pieces
        self._pieces: list[Window[M]] = []

    def update(self, step: int, *args: Any, **kwargs: Any) -> None:
        """Add what a step showed.

        Args:
            step: updates applied so far, more than at the last call.
            *args: what the other accumulator's `update` takes.
            **kwargs: the same.

        Raises:
            InvalidInput: if `step` does not grow.
        """
        last = self.marks[-1]
        require(step > last, f"steps grow (last: {last})", step, "pass the number of updates applied so far")
        piece = Window(last, step, self._make())
        piece.accumulator.update(*args, **kwargs)
        self._pieces.append(piece)
        if len(self._pieces) > self._most:
            self._thin_out()

    @property
    def marks(self) -> tuple[int, ...]:
        """The steps from and to which windows can be had, 0 first."""
        return (0, *(piece.stop for piece in self._pieces))

    def window(self, start: int, stop: int) -> Window[M]:
        """Return what was accumulated between the marks that are nearest to two steps (as ratios of steps + 1).

        Args:
            start: the step after which the window begins.
            stop: the step at which it ends.

        Raises:
            InvalidInput: if no piece lies between them.
        """
        first, last = (_nearest(self.marks, step) for step in (start, stop))
        chosen = [piece for piece in self._pieces if first <= piece.start and piece.stop <= last]
        require(bool(chosen), f"a window lies between two of the marks {self.marks}", (start, stop), "widen it")
        return Window(first, last, self._sum(chosen))

    def result(self) -> M:
        """Return what was accumulated over all steps."""
        return self._sum(self._pieces)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the marks and the states between them."""
        states = joined_states((str(i), piece.accumulator.state_dict()) for i, piece in enumerate(self._pieces))
        return {"marks": torch.tensor(self.marks), **states}

    def load_state_dict(self, state: State) -> None:
        """Take over a state.

        Raises:
            InvalidInput: if it is that of another accumulator.
        """
        require_state({"marks": state.get("marks", torch.zeros(()))}, {"marks": (None,)})
        marks = state["marks"].tolist()
        require(0 < len(marks) <= self._most + 1, f"at most {self._most} pieces", len(marks) - 1, "match the pieces")
        pieces = [Window(start, stop, self._make()) for start, stop in pairwise(marks)]
        for i, piece in enumerate(pieces):
            piece.accumulator.load_state_dict(state_part(state, str(i)))
        self._pieces = pieces

    @property
    def nbytes(self) -> int:
        """The memory of its tensors, in bytes."""
        return sum(piece.accumulator.nbytes for piece in self._pieces)

    def _sum(self, pieces: list[Window[M]]) -> M:
        total = self._make()
        for piece in pieces:
            total.merge(piece.accumulator)
        return total

    def _thin_out(self) -> None:
        spans = [(b.stop + 1) / (a.start + 1) for a, b in pairwise(self._pieces)]
        narrowest = spans.index(min(spans))
        one, other = self._pieces[narrowest], self._pieces.pop(narrowest + 1)
        one.accumulator.merge(other.accumulator)
        one.stop = other.stop


def _nearest(marks: tuple[int, ...], step: int) -> int:
    return min(marks, key=lambda mark: abs(math.log((mark + 1) / (step + 1))))
