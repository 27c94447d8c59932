"""What several exhibits of mlp2024 measure of a run's first phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from cloudchamber.diagnosis import Phase, PhaseRule, Phases, find_phases
from cloudchamber.papers.cache import Run
from cloudchamber.papers.replay import replay
from cloudchamber.training import second_pass
from cloudchamber.training.session import Session

LAYERS = tuple(f"linear{number}" for number in range(2, 8))
"""Layers 2–6 of Table 1, and the one above them, which Theorem 1 needs."""
MOST_LOOKS, MOST_CLOSE = 200, 20
RULE = PhaseRule(drop=0.05)
"""The first phase ends where the loss *begins* to decrease, as the paper says: 5 % below that of a constant output, not
15 % as by default. On CIFAR-10 hundreds of steps lie between, over which the similarities fall already."""
NOT_OVER = "no first phase that is over"
NOT_AT_THIS_SCALE = "not run at this scale"


def phases(run: Run, layer: str | None = None) -> Phases:
    """Return the phases of a run by `RULE`; the markers are those of `layer`, by default the middle hidden one."""
    return find_phases(run.record, layer=layer, rule=RULE)


def ended_phase(run: Run, layer: str | None = None) -> Phase | None:
    """Return the first phase of a run, None if there is none or it is not over."""
    phase = phases(run, layer).named("first phase")
    return phase if phase is not None and phase.stop is not None else None


def end_of_phase(run: Run, layer: str | None = None) -> int | None:
    """Return the step at which the first phase of a run is over; None if there is none, or it is not over."""
    phase = ended_phase(run, layer)
    return None if phase is None else phase.stop


def changes(run: Run, *, start: int, stop: int, layers: list[str], looks: int, close: int) -> xr.Dataset:
    """Return what the weights did over some steps: all samples, and the two classes learned best at the end.

    About `looks` evenly spread updates are looked at, `close` of them for Theorem 1.
    """
    every = max(1, (stop - start) // looks)
    found = second_pass(run.folder, stop, start_step=start, every=every, layers=layers, close_steps=close)
    return found.to_dataset()


def measured_changes(run: Run) -> xr.Dataset | None:
    """Return `changes` of the layers of Table 1; None if the run has no first phase that is over."""
    phase = ended_phase(run)
    if phase is None:
        return None
    looks, close = thinned(phase, MOST_LOOKS, 4), thinned(phase, MOST_CLOSE, 20)
    span = {"start": phase.start, "stop": phase.until}
    return run.measured(changes, **span, layers=list(LAYERS), looks=looks, close=close)


def thinned(phase: Phase, most: int, share: int) -> int:
    """Return how many updates of a phase to look at: at most so many, and one in `share`; 2 or more."""
    return max(2, min(most, (phase.until - phase.start) // share))


def class_names(run: Run) -> xr.Dataset:
    """Return what the labels of a run's data stand for."""
    names: list[str] = []

    def look(_: int, session: Session) -> None:
        data = session.batches.dataset
        names.extend(data.class_names or [str(label) for label in range(data.classes)])

    replay(run, [0], look)
    return xr.Dataset({"name": ("label", np.array(names, dtype=object))})


def reasons(numbers: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Return, by claim, why numbers are NaN (no first phase that is over) or missing."""
    return {name: NOT_OVER if values else NOT_AT_THIS_SCALE for name, values in numbers.items()}
