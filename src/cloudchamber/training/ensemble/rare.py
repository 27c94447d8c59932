"""When what is limited to a few steps of a run is measured of each member, as `Monitor` does it for one model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cloudchamber.measures import Measure


@dataclass
class _Taken:
    """How often it was measured, and how many observations with images were made since."""

    used: int = 0
    since: int = 0


class RareSteps:
    """Counts for each member at how many steps rare measures were taken: at the first image steps, then ever fewer.

    Args:
        measures: the chosen ones.
    """

    def __init__(self, measures: Sequence[Measure]) -> None:
        limits = [measure.at_most for measure in measures if measure.at_most is not None]
        self._limit = min(limits, default=0)
        self._taken: dict[int, _Taken] = defaultdict(_Taken)

    def due(self, member: int) -> bool:
        """Whether they are taken at the member's next observation with images."""
        taken = self._taken[member]
        return taken.used < self._limit and taken.since + 1 >= 2 ** max(0, taken.used - self._limit // 2)

    def taken(self, members: Iterable[int], *, rare: bool) -> None:
        """Say that members were observed with images, and whether rare measures were among them."""
        for member in members:
            before = self._taken[member]
            self._taken[member] = _Taken(before.used + 1, 0) if rare else _Taken(before.used, before.since + 1)
