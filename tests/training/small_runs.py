"""Runs of a fraction of a second, and the comparison of two runs down to the last bit."""

import functools
import sqlite3

import numpy as np
import torch

from cloudchamber._core.storage import open_record
from cloudchamber.training import load_recipe

MEASURES = "feature_cosine, gradient_cosine, relative_distance, class_accuracy, sample_cosine, neuron_cosine"
SMALL = [
    "model.depth=3",
    "model.width=16",
    "batch_size=20",
    "steps=30",
    f"observe={{every: 4, images_every: 8, probe_samples: 20, image_samples: 20, measures: [{MEASURES}]}}",
    "checkpoint_every=7",
    "threads=1",
]
SINES = "data={name: sines, samples: 60, dimension: 3}"
FILES = {
    "recipe.yaml",
    "environment.json",
    "journal.sqlite",
    "record.nc",
    "checkpoint",
    "checkpoint/state.pt",
}


def small(*overrides):
    return load_recipe(overrides=[*SMALL, *overrides])


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def checkpoint(folder):
    return torch.load(folder / "checkpoint/state.pt", weights_only=True)


def journal(folder):
    connection = sqlite3.connect(folder / "journal.sqlite")
    rows = connection.execute("SELECT * FROM observation ORDER BY step, quantity").fetchall()
    frame = connection.execute("SELECT * FROM frame").fetchall()
    connection.close()
    return frame, rows


def bits(value):
    """Return a nested value with every array as its bytes, so that == means bit for bit, NaN included."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, np.ndarray):
        return value.shape, value.tolist()
    if isinstance(value, dict):
        return {key: bits(inner) for key, inner in value.items()}
    return [bits(inner) for inner in value] if isinstance(value, list | tuple) else value


def record_bits(record):
    return {name: (array.dims, bits(array.values), repr(array.attrs)) for name, array in record.variables.items()}


def state(folder):
    """Return everything in a run folder that must be the same for the same run, down to the last bit."""
    texts = [(folder / name).read_bytes() for name in ("recipe.yaml", "environment.json")]
    record = open_record(folder)
    return files(folder), texts, bits(checkpoint(folder)), journal(folder), record_bits(record), record


state_of_whole = functools.cache(state)


def assert_same(folder, whole):
    """Check that a folder holds the same run as another one, which nobody changes, bit for bit, and nothing else."""
    *ours, record = state(folder)
    *theirs, whole_record = state_of_whole(whole)
    assert ours[0] == FILES
    assert record.identical(whole_record)
    for one, other in zip(ours, theirs, strict=True):
        assert one == other


class Do:
    """A callback that does something before one update is observed."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def started(self, recipe, step):
        pass

    def updated(self, step, loss):
        if step == self.step:
            self.action()

    def observed(self, buffer):
        pass
