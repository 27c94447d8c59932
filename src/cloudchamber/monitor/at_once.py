"""Measures of a whole batch that one call computes to the end, of all layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from cloudchamber.measures import Measure

Key = TypeVar("Key")
Known = Mapping[str, Mapping[str, float]]
"""Values by measure and layer."""


@dataclass(frozen=True)
class AtOnce:
    """Measures that share a function which finishes them.

    Attributes:
        function: takes the tensors whose samples are all alike, those whose classes are told apart, the classes and
            their number, to a number for each tensor, or to None.
        alike: names of measures with the field that each is of, whose samples are all alike.
        by_class: the same of those that take labels.
    """

    function: Callable[..., list[float] | None]
    alike: tuple[tuple[str, str], ...]
    by_class: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, measures: Sequence[Measure]) -> AtOnce | None:
        """Return how measures are finished together; None if they do not share such a function."""
        functions = {measure.at_once for measure in measures}
        function = functions.pop() if len(functions) == 1 else None
        if function is None:
            return None
        named = [("labels" in measure.takes, (measure.name, measure.summed)) for measure in measures]
        return cls(function, *(tuple(each for labelled, each in named if labelled is by) for by in (False, True)))

    def __call__(
        self, tensors: Mapping[str, Mapping[Key, Tensor]], classes: Tensor | None, count: int
    ) -> dict[str, dict[Key, float]] | None:
        """Return the values, given the tensors by field and layer; None where the function cannot do it."""
        alike, by_class = (
            [t for _, name in some for t in tensors[name].values()] for some in (self.alike, self.by_class)
        )
        values = self.function(alike, by_class, classes, count)
        if values is None:
            return None
        each = iter(values)
        return {name: dict(zip(tensors[of], each, strict=False)) for name, of in self.alike + self.by_class}
