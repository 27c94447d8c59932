"""The second pass over a phase: strengths along directions that are known by now."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber.measures.accumulators.base import MeanAccumulator
from cloudchamber.measures.accumulators.strengths import (
    AlignmentAccumulator,
    MeanChangeAccumulator,
    Theorem1Accumulator,
)
from cloudchamber.measures.alignment import shuffled_step_alignment, sign_agreement, step_alignment
from cloudchamber.measures.primary import noise_components, noise_strengths, primary_strengths, theorem1_factors
from cloudchamber.training.second_pass.layers import SeenLayer
from cloudchamber.training.second_pass.moments import Group, Key, Known
from cloudchamber.training.second_pass.rerun import SeenBatch
from cloudchamber.training.second_pass.result import LayerPhase

DRAWS = 20


@dataclass
class _LayerStrengths:
    """What is added up for one group and layer; `theorem1` only where the layer above is known."""

    known: Known
    mean_change: MeanChangeAccumulator
    theorem1: Theorem1Accumulator | None
    agreement: MeanAccumulator = field(default_factory=lambda: MeanAccumulator(skip_unknown=True))
    alignment: AlignmentAccumulator = field(default_factory=AlignmentAccumulator)
    beside: MeanAccumulator = field(default_factory=MeanAccumulator)
    residuals: MeanAccumulator = field(default_factory=lambda: MeanAccumulator(2))

    def __post_init__(self) -> None:
        self.direction = self.known.directions.vectors[0]

    def look(self, seen: SeenLayer, labels: Tensor | None, learning_rate: float) -> None:
        """At every visited step."""
        self.mean_change.update(seen.inputs, seen.output_gradients, learning_rate=learning_rate)
        if seen.output_gradients.ndim == 2:
            self.agreement.update(sign_agreement(seen.output_gradients, self.direction, labels)[None])

    def look_closely(self, seen: SeenLayer, labels: Tensor | None, seed: int) -> None:
        """At some of them."""
        arguments = (seen.inputs, seen.output_gradients, self.direction, labels)
        null = shuffled_step_alignment(*arguments, draws=DRAWS, seed=seed)
        self.alignment.update(step_alignment(*arguments), null)
        self.beside.update(_beside(seen.weight, self.direction)[None])

    def look_above(self, seen: SeenLayer, above: SeenLayer, above_direction: Tensor, learning_rate: float) -> None:
        """The components of Theorem 1, and what their sum misses of the samples' changes."""
        if self.theorem1 is None or seen.gates is None:
            return
        chain = (seen.gates, above.weight, above_direction, above.output_gradients)
        components = noise_components(above.weight, above_direction)
        self.theorem1.update(
            primary_strengths(seen.inputs, *chain, learning_rate=learning_rate),
            noise_strengths(seen.inputs, seen.gates, components, above.output_gradients, learning_rate=learning_rate),
        )
        parts = theorem1_factors(*chain, learning_rate=learning_rate)
        changes = -learning_rate * seen.output_gradients
        missed = changes - parts.primary - parts.noise
        weights = seen.inputs.square().sum(1)
        squares = [weights * factor.square().sum(1) for factor in (missed, changes)]
        self.residuals.update(torch.stack(squares, 1))

    def result(self) -> LayerPhase:
        directions, alignment = self.known.directions, self.alignment.result()
        missed, whole = self.residuals.result().mean.tolist()
        return LayerPhase(
            common_direction=directions.vectors,
            direction_share=directions.shares,
            strength=self.mean_change.result().strengths,
            theorem1=self.theorem1.result() if self.theorem1 is not None else None,
            sign_agreement=float(self.agreement.result().mean),
            alignment=alignment,
            sample_fit_error=_root(1 - self.known.sample_share),
            mean_fit_error=_root(1 - float(directions.shares.nansum())),
            weight_fit_error=_root(float(self.beside.result().mean)),
            theorem1_error=_root(missed / whole) if whole else math.nan,
            samples=self.known.samples,
        )


@dataclass
class Strengths:
    """What the second pass adds up, of each group and layer.

    Attributes:
        groups: whose changes.
        known: what the first pass found.
        learning_rate: η.
        close: the visited steps at which the costly measures are taken.
    """

    groups: Sequence[Group]
    known: Mapping[Key, Known]
    learning_rate: float
    close: Collection[int]
    _strengths: dict[Key, _LayerStrengths] = field(default_factory=dict)

    def visit(self, batch: SeenBatch) -> None:
        """Add what a batch shows."""
        for group in self.groups:
            parts = dict(group.parts(batch))
            labels = batch.labels if group.label is None else None
            for key, seen in parts.items():
                found = self._of(key, parts)
                found.look(seen, labels, self.learning_rate)
                if batch.step in self.close:
                    found.look_closely(seen, labels, batch.step)
                    self._look_above(key, found, parts)

    def result(self) -> dict[Key, LayerPhase]:
        """Return what was found, of each group and layer."""
        return {key: found.result() for key, found in self._strengths.items()}

    def _of(self, key: Key, parts: Mapping[Key, SeenLayer]) -> _LayerStrengths:
        if key not in self._strengths:
            seen, known = parts[key], self.known[key]
            above = parts.get((key[0], seen.above)) if seen.gates is not None and seen.inputs.ndim == 2 else None
            theorem1 = Theorem1Accumulator(min(above.weight.shape)) if above is not None else None
            mean_change = MeanChangeAccumulator(known.directions.vectors, seen.inputs.shape[-1])
            self._strengths[key] = _LayerStrengths(known, mean_change, theorem1)
        return self._strengths[key]

    def _look_above(self, key: Key, found: _LayerStrengths, parts: Mapping[Key, SeenLayer]) -> None:
        above = (key[0], parts[key].above)
        if above in parts:
            direction = self.known[above].directions.vectors[0]
            found.look_above(parts[key], parts[above], direction, self.learning_rate)


def _beside(weight: Float[Tensor, "h d"], direction: Float[Tensor, " h"]) -> Tensor:
    """The part of the squares of a weight that lies beside a unit direction: `‖ε‖²/‖W‖²` of Lemma 2."""
    along = (direction @ weight).square().sum()
    return 1 - along / weight.square().sum()


def _root(square: float) -> float:
    """The root of what is 0 or more but for rounding; NaN stays."""
    return math.sqrt(square) if square > 0 else 0.0 if square <= 0 else math.nan
