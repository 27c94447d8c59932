"""The first pass over a phase: the directions along which the weights of each layer change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber.measures.accumulators.moments import MomentAccumulator, as_mean_gradient
from cloudchamber.measures.accumulators.sketch import SketchAccumulator
from cloudchamber.measures.directions import CommonDirections
from cloudchamber.training.second_pass.layers import SeenLayer
from cloudchamber.training.second_pass.rerun import SeenBatch

WIDEST = 1024
RANK = 256

Key = tuple[str, str]
"""Group and layer."""


@dataclass(frozen=True)
class Group:
    """Some of the samples of each batch: all, or those of one class."""

    name: str
    label: int | None = None

    def parts(self, batch: SeenBatch) -> Iterator[tuple[Key, SeenLayer]]:
        """Yield what each layer sees of the group; nothing if the batch has no sample of it."""
        if self.label is None:
            yield from (((self.name, layer), seen) for layer, seen in batch.layers.items())
        elif batch.labels is not None and bool((batch.labels == self.label).any()):
            chosen = torch.nonzero(batch.labels == self.label).flatten()
            yield from (((self.name, layer), seen.of(chosen)) for layer, seen in batch.layers.items())


@dataclass(frozen=True)
class Known:
    """What the first pass found for a layer.

    Attributes:
        directions: C_1, that of single samples' changes (Lemma 1), then C_2 … C_k of what it leaves of mean changes
            (Appendix F), with the shares of the mean changes along each.
        sample_share: the part of all squares of single samples' changes that lies along C_1.
        samples: how many samples, over all visited steps.
    """

    directions: CommonDirections
    sample_share: float
    samples: int


def new_moment(width: int) -> MomentAccumulator | SketchAccumulator:
    """Return an empty accumulator of moments: exact up to 1024 neurons, a sketch of rank 256 beyond."""
    return MomentAccumulator(width) if width <= WIDEST else SketchAccumulator(width, RANK)


@dataclass
class _LayerMoments:
    """Of one layer: the moment of single samples' gradients, and that of the mean gradients of batches."""

    samples: MomentAccumulator | SketchAccumulator
    means: MomentAccumulator | SketchAccumulator
    count: int = 0

    def update(self, seen: SeenLayer) -> None:
        self.samples.update(seen.inputs, seen.output_gradients)
        self.means.update(*as_mean_gradient(seen.inputs, seen.output_gradients))
        self.count += len(seen.inputs)

    def known(self, count: int) -> Known:
        first = self.samples.directions()
        primary: Float[Tensor, " h"] = first.vectors[0]
        directions = self.means.directions(min(count, self.means.width), primary=primary)
        return Known(directions, float(first.shares[0]), self.count)


@dataclass
class Moments:
    """What the first pass adds up, of each group and layer."""

    groups: Sequence[Group]
    _moments: dict[Key, _LayerMoments] = field(default_factory=dict)

    def visit(self, batch: SeenBatch) -> None:
        """Add the gradients of a batch."""
        for group in self.groups:
            for key, seen in group.parts(batch):
                if key not in self._moments:
                    width = len(seen.weight)
                    self._moments[key] = _LayerMoments(new_moment(width), new_moment(width))
                self._moments[key].update(seen)

    def result(self, count: int) -> dict[Key, Known]:
        """Return the directions of each group and layer."""
        return {key: moments.known(count) for key, moments in self._moments.items()}
