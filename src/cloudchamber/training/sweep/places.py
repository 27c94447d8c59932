"""Where chunks are computed: `on` in words."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import Protocol, runtime_checkable

from cloudchamber._core.errors import InvalidInput
from cloudchamber.training.sweep.chunks import Chunk, Outcome, Work
from cloudchamber.training.sweep.compute import compute
from cloudchamber.training.sweep.on_ray import Ray
from cloudchamber.training.sweep.processes import Processes

Outcomes = Generator[tuple[Chunk, Outcome], None, None]


@runtime_checkable
class Place(Protocol):
    """Computes chunks in any order."""

    def outcomes(self, work: Work, chunks: Sequence[Chunk], threads: int) -> Outcomes:
        """Yield what came of the chunks, as they finish; closing the generator ends what still goes on."""
        ...


class Here:
    """Computes in this process."""

    def outcomes(self, work: Work, chunks: Sequence[Chunk], threads: int) -> Outcomes:
        """Yield what came of the chunks, in their order."""
        for chunk in chunks:
            yield chunk, compute(work, chunk, threads)


def place_of(on: str | None) -> Place:
    """Return the place that `on` names.

    Raises:
        InvalidInput: if it names none.
        Unsupported: if it is Ray, which is not installed.
    """
    if on is None:
        return Here()
    kind, separator, rest = on.partition("://")
    if kind == "ray" and (rest or not separator):
        return Ray(on if separator else None)
    if kind == "processes" and (not separator or (rest.isdecimal() and int(rest) > 0)):
        return Processes(int(rest) if separator else _cores())
    raise InvalidInput(
        f"`on` is processes, processes://N, ray or ray://host:port; got {on!r}. Remedy: leave it out to compute here."
    )


def parallel(on: str | None) -> int | None:
    """Return how many chunks are computed at once; None if that is for a cluster to say.

    Raises:
        InvalidInput: if `on` names no place.
        Unsupported: if it is Ray, which is not installed.
    """
    place = place_of(on)
    return None if isinstance(place, Ray) else place.count if isinstance(place, Processes) else 1


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
