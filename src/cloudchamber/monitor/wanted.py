"""What passive observation takes at a step: sums while the pass runs, whole tensors after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cloudchamber.anatomy import FIELDS_OF_PASSES
from cloudchamber.measures import Measure
from cloudchamber.monitor.at_once import AtOnce
from cloudchamber.monitor.evaluate import fields_needed
from cloudchamber.monitor.history import with_history
from cloudchamber.monitor.observer import Observer


def available(measure: Measure) -> bool:
    """Whether a training batch's own pass shows what a measure takes."""
    fields = fields_needed([measure]) - {"initial_weight"}
    own = measure.scope == "layer" and not measure.shuffled and measure.subset != "samples"
    return own and fields <= FIELDS_OF_PASSES


def is_streamed(measure: Measure) -> bool:
    """Whether what is heavy of a measure is a small sum over one tensor."""
    return measure.partials is not None and available(measure)


@dataclass(frozen=True)
class Wanted:
    """What is taken at a step.

    Attributes:
        streamed: the measures whose sums are taken while the pass runs.
        whole: those that take whole tensors, after it.
        held: the fields that these take.
    """

    streamed: tuple[Measure, ...]
    whole: tuple[Measure, ...]
    held: frozenset[str]

    @classmethod
    def of(cls, due: Sequence[Measure], observer: Observer) -> Wanted:
        """Divide the measures: what is held anyway need not be summed up beforehand."""
        held = with_history(fields_needed(m for m in due if not is_streamed(m)), observer.history)
        streamed = tuple(m for m in due if is_streamed(m) and held.isdisjoint(fields_needed([m])))
        return cls(streamed, tuple(m for m in due if m not in streamed), held & FIELDS_OF_PASSES)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields that are summed up."""
        return fields_needed(self.streamed) & FIELDS_OF_PASSES

    @cached_property
    def at_once(self) -> AtOnce | None:
        """How all streamed measures are finished in one call; None where there is none."""
        return AtOnce.of(self.streamed)
