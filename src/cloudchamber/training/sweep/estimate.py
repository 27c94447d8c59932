"""How long a sweep will take, from its first steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cloudchamber.training.sweep.chunks import Chunk
from cloudchamber.training.sweep.compute import compute
from cloudchamber.training.sweep.plan import Piece, Plan
from cloudchamber.training.sweep.work import train_cells

ENOUGH = 0.3
"""seconds of steps that are timed of each shape"""
MOST_SHAPES = 12
"""shapes that are timed; the others are taken to be as fast per operation as the slowest of these"""


@dataclass(frozen=True)
class ShapeEstimate:
    """The chunks of one shape.

    Attributes:
        example: what one of the cells sets.
        cells: how many cells have this shape.
        chunks: in how many chunks.
        seconds: for all of them, in one process.
        timed: whether steps of this shape were timed; else its operations were counted.
        error: what the first steps raised, if they did: these cells will fail.
    """

    example: str
    cells: int
    chunks: int
    seconds: float
    timed: bool
    error: str | None = None


def estimate(planned: Plan) -> list[ShapeEstimate]:
    """Time a few steps of one chunk of each shape, and say how long all chunks of the shape will take.

    Steps are taken to be equally long, so early divergence makes a sweep faster than this. Observations on a schedule
    are in it if they come every so many steps.
    """
    shapes: dict[int, list[Piece]] = {}
    for piece in planned.pieces:
        shapes.setdefault(piece.shape, []).append(piece)
    by_cost = sorted(shapes.values(), key=lambda pieces: -_cost(pieces))
    timed = [_timed(planned, pieces) for pieces in by_cost[:MOST_SHAPES]]
    rates = [row.seconds / _cost(pieces) for row, pieces in zip(timed, by_cost, strict=False) if row.error is None]
    return timed + [_counted(planned, pieces, max(rates, default=0.0)) for pieces in by_cost[MOST_SHAPES:]]


def _cost(pieces: Sequence[Piece]) -> float:
    return sum(piece.chunk.cost for piece in pieces)


def _timed(planned: Plan, pieces: Sequence[Piece]) -> ShapeEstimate:
    first = pieces[0]
    steps = planned.recipes[first.members[0]].steps
    cold, error = _seconds(planned, first, min(steps, 1))
    if error is not None:
        return _row(planned, pieces, 0.0, error=error)
    fixed, _ = _seconds(planned, first, min(steps, 1))
    per_step = _per_step(planned, first, steps, fixed) if steps > 1 else 0.0
    share = sum(len(piece.members) for piece in pieces) / len(first.members)
    return _row(planned, pieces, max(cold - fixed, 0.0) + share * (fixed + per_step * max(steps - 1, 0)))


def _per_step(planned: Plan, piece: Piece, steps: int, fixed: float) -> float:
    more = min(planned.recipes[piece.members[0]].observe.every, steps - 1)
    while True:
        extra = _seconds(planned, piece, 1 + more)[0] - fixed
        if extra > ENOUGH or 1 + more >= steps:
            return max(extra, 0.0) / more
        more = min(4 * more, steps - 1)


def _seconds(planned: Plan, piece: Piece, steps: int) -> tuple[float, str | None]:
    shorter = tuple({**cell, "steps": steps} for cell in piece.chunk.cells)
    chunk = Chunk(piece.chunk.task, shorter)
    start = time.perf_counter()
    outcome = compute(train_cells, chunk, planned.recipes[0].threads or 1)
    error = next((error for error in outcome.errors if error is not None), None)
    return time.perf_counter() - start, error


def _counted(planned: Plan, pieces: Sequence[Piece], rate: float) -> ShapeEstimate:
    return _row(planned, pieces, rate * _cost(pieces), timed=False)


def _row(
    planned: Plan, pieces: Sequence[Piece], seconds: float, *, timed: bool = True, error: str | None = None
) -> ShapeEstimate:
    members = [number for piece in pieces for number in piece.members]
    return ShapeEstimate(str(planned.cells[members[0]]), len(members), len(pieces), seconds, timed, error)
