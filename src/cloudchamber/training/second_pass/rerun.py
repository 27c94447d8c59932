"""Running a recipe again, from the start to a step, bit for bit: checked by the losses of its batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from cloudchamber._core.errors import InvalidInput
from cloudchamber.training.recipe import Recipe
from cloudchamber.training.second_pass.layers import SeenLayer, Viewer
from cloudchamber.training.session import Session
from cloudchamber.training.settings import own_settings


@dataclass(frozen=True)
class SeenBatch:
    """One training batch just before its update.

    Attributes:
        step: number of the update that it belongs to, from 1.
        layers: what each chosen layer sees, by name.
        labels: (n,) the class of each sample; None without classes.
    """

    step: int
    layers: Mapping[str, SeenLayer]
    labels: Int[Tensor, " n"] | None


@dataclass(frozen=True)
class Rerun:
    """A recipe that is run again.

    Attributes:
        recipe: what was run.
        threads: the threads that the run had, None = those of the recipe.
        stop: how many updates are made.
        visited: the updates whose batches are looked at.
        layers: names or patterns of the layers, None = all.
    """

    recipe: Recipe
    threads: int | None
    stop: int
    visited: range
    layers: str | Sequence[str] | None

    def walk(
        self,
        visit: Callable[[SeenBatch], None],
        expected: Mapping[int, float],
        told: Callable[[], object],
    ) -> np.ndarray:
        """Train anew, show the visited batches, and return the loss of every batch.

        Args:
            visit: is shown each visited batch before its update.
            expected: by step, losses that were seen when the recipe was run before.
            told: is called after every update.

        Raises:
            InvalidInput: if a loss differs from the expected one: this is then another run.
        """
        losses = np.full(self.stop, math.nan)
        with own_settings(self.recipe, self.recipe.threads or self.threads):
            session = Session.of(self.recipe)
            viewer = Viewer(session, self.layers)
            session.seed_training()
            for step in range(1, self.stop + 1):
                if step in self.visited:
                    with torch.no_grad():
                        visit(_batch(session, viewer, step))
                losses[step - 1] = session.update(step)
                _require_same(step, losses[step - 1], expected.get(step))
                told()
        return losses


def _batch(session: Session, viewer: Viewer, step: int) -> SeenBatch:
    labels = session.batches.of_step(step)[1] if session.batches.dataset.classes else None
    return SeenBatch(step, viewer.look(step), labels)


def _require_same(step: int, loss: float, expected: float | None) -> None:
    if expected is None or loss == expected or (math.isnan(loss) and math.isnan(expected)):
        return
    raise InvalidInput(
        f"a second pass repeats the run bit for bit; got the loss {loss!r} at step {step}, where the run had "
        f"{expected!r}. Remedy: use the machine, device and versions of the run (its environment.json), or run anew."
    )
