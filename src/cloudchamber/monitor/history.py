"""What spans steps in a user's own loop: common directions of any window of steps, and a few snapshots of each.

Nobody knows beforehand when the first phase ends. So gradients are summed up between marks that grow like powers, and
snapshots are kept at random with as many from early as from late steps: memory is bounded whatever the number of steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.anatomy import LayerSnapshot
from cloudchamber.measures import CommonDirections
from cloudchamber.measures.accumulators.moments import MomentAccumulator
from cloudchamber.measures.accumulators.reservoir import Reservoir, Sample
from cloudchamber.measures.accumulators.sketch import SketchAccumulator
from cloudchamber.measures.accumulators.windows import WindowAccumulator
from cloudchamber.monitor.derived import factors_of

FIELDS = frozenset({"inputs", "output_gradients"})
"""What must be captured for a history."""

EXACT_WIDTH = 512
"""Up to this width the moment of gradients is kept in full; for wider layers a sketch of it, with a known error."""

_PIECES = 8
_CAPACITY = 32
_KEPT_SAMPLES = 16


@dataclass(frozen=True)
class WindowDirections:
    """The common directions of one layer over a window of steps.

    Attributes:
        start: the mark after which the window begins (updates applied).
        stop: the mark at which it ends.
        directions: C_1, C_2, … of all samples' gradients at the observed steps of the window.
    """

    start: int
    stop: int
    directions: CommonDirections


@dataclass
class History:
    """Accumulates over the observed steps; `Monitor(history=True)` makes it.

    Memory: up to 9 moments of 16 h² bytes per layer of width h ≤ 512, 9 sketches of 1024 h bytes for wider ones, and
    32 snapshots of 16 samples of each layer.
    """

    windows: dict[str, WindowAccumulator] = field(default_factory=dict)
    reservoir: Reservoir = field(default_factory=lambda: Reservoir(_CAPACITY))

    def update(self, step: int, layers: Mapping[str, LayerSnapshot], labels: Tensor) -> None:
        """Add what the layers showed after `step` updates: the gradients of the next one."""
        wanted, kept = self.reservoir.wants(step + 1), dict[str, Tensor]()
        for key, snapshot in layers.items():
            found = factors_of(snapshot, labels)
            if found is None:
                continue
            self._window(key, found.G.shape[2]).update(step + 1, found.X, found.G)
            if wanted:
                few = {"inputs": found.X, "output_gradients": found.G, "labels": found.labels}
                kept |= {f"{key}/{name}": value[:_KEPT_SAMPLES].clone() for name, value in few.items()}
        self.reservoir.update(step + 1, kept)

    def directions(self, start: int = 0, stop: int | None = None, count: int = 1) -> dict[str, WindowDirections]:
        """Return the common directions of each layer between the marks nearest to two steps (Lemma 1 of mlp2024).

        C_1 is the top eigenvector of `Σ_t Σ_x ‖x_t‖² g_t g_tᵀ` over the observed steps t of the window; for layers that
        are applied several times to a sample, of `Σ_t Σ_x G_xᵀ (X_x X_xᵀ) G_x`.

        Args:
            start: updates applied when the window begins.
            stop: updates applied when it ends, for example the end of the first phase that `find_phases` found; None =
                the last observed step.
            count: how many directions.

        Raises:
            InvalidInput: if nothing was observed yet, or the window is empty.
        """
        require(bool(self.windows), "a history has directions once a step was observed", "none yet", "observe first")
        return {key: self._directions(window, start, stop, count) for key, window in self.windows.items()}

    def snapshots(self, start: int = 0, stop: int | None = None) -> list[Sample]:
        """Return the kept snapshots of a window: "<layer>/inputs" (n, P, d), "…/output_gradients" and "…/labels".

        Each says for how many observed steps it stands; their weighted mean is an unbiased estimate over the window.
        """
        kept = self.reservoir.result() if stop is None else self.reservoir.window(start, stop)
        return [sample for sample in kept if sample.step > start]

    @property
    def nbytes(self) -> int:
        """The memory that it takes, in bytes."""
        return self.reservoir.nbytes + sum(window.nbytes for window in self.windows.values())

    def _window(self, key: str, width: int) -> WindowAccumulator:
        if key not in self.windows:
            make = MomentAccumulator if width <= EXACT_WIDTH else SketchAccumulator
            self.windows[key] = WindowAccumulator(lambda: make(width), _PIECES)
        return self.windows[key]

    def _directions(self, window: WindowAccumulator, start: int, stop: int | None, count: int) -> WindowDirections:
        found = window.window(start, window.marks[-1] if stop is None else stop)
        return WindowDirections(found.start, found.stop, found.accumulator.directions(count))


def with_history(fields: Iterable[str], history: History | None) -> frozenset[str]:
    """Return the fields that must be captured, those of a history among them."""
    return frozenset(fields) | (FIELDS if history is not None else frozenset())
