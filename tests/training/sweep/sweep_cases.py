"""Works of a fraction of a millisecond, sweeps of a fraction of a second, and their results down to the last bit."""

import os
import signal
from pathlib import Path

import numpy as np
import torch

from cloudchamber.training.sweep.chunks import Chunk

NUMBERS = [Chunk({"factor": factor}, tuple({"x": x} for x in range(3)), cost=factor) for factor in (1.0, 2.0, 3.0, 4.0)]


def times(task, cells):
    """x · factor, and what a work draws that should not draw."""
    values = np.array([cell["x"] * task["factor"] for cell in cells])
    return {"value": values, "name": [f"x{cell['x']}" for cell in cells], "drawn": torch.rand(len(cells)).numpy()}


def fails_at_one(task, cells):
    """The same, where no cell is 1."""
    if any(cell["x"] == 1 for cell in cells):
        raise ValueError(f"there is a\n1 among {len(cells)}")
    return times(task, cells) | {"count": [1] * len(cells)}


def noted(task, cells):
    """The same, and a line in a file, to see how often it is done."""
    with Path(task["log"]).open("a") as file:
        file.write(f"{os.getpid()} {len(cells)}\n")
    return times(task, cells)


def dies_once(task, cells):
    """The same, but the first time its process is killed."""
    try:
        Path(task["mark"]).touch(exist_ok=False)
    except FileExistsError:
        return times(task, cells)
    return os.kill(os.getpid(), signal.SIGKILL)


def dies_at_one(task, cells):
    """The same, but where a cell is 1, and the factor 2, the process is killed."""
    if task["factor"] == 2.0 and any(cell["x"] == 1 for cell in cells):
        os.kill(os.getpid(), signal.SIGKILL)
    return times(task, cells)


def with_task(**more):
    """Return `NUMBERS` with more in their tasks."""
    return [Chunk({**chunk.task, **more}, chunk.cells) for chunk in NUMBERS]


def bits(outcomes):
    """Return outcomes as what == compares bit for bit, NaN included."""
    return {
        key: (outcome.errors, {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in outcome.arrays.items()})
        for key, outcome in outcomes.items()
    }


class Watching:
    """A callback that remembers."""

    def __init__(self, after=None, action=None):
        self.began, self.ended = [], []
        self._after, self._action = after, action

    def started(self, chunks, done):
        self.began.append((len(chunks), len(done)))

    def finished(self, chunk, outcome):
        self.ended.append((chunk.key, outcome))
        if len(self.ended) == self._after:
            self._action()
