"""Axes to chunks, and back."""

import json

import numpy as np
import pytest

from cloudchamber.training.diagrams.plan import as_axis, chunks_by_size, gathered
from cloudchamber.training.sweep.chunks import Chunk, Outcome

AXES = {"gamma": as_axis([0.1 + 0.2, 1.0]), "width": [10, 1000], "seed": [0, 1, 2]}


def chunks(networks=4):
    return chunks_by_size(AXES, size="width", task={"data": "line"}, networks=lambda width: networks, cost=float)


def outcome(chunk, error=None):
    values = np.array([cell["gamma"] * 100 + chunk.task["width"] + cell["seed"] for cell in chunk.cells])
    errors = tuple(error if cell["seed"] == 1 else None for cell in chunk.cells)
    values = np.where([text is not None for text in errors], np.nan, values)
    return Outcome({"value": values, "pair": np.stack([values, -values], 1)}, errors)


def test_every_cell_is_in_one_chunk_and_chunks_are_json():
    found = [(chunk.task["width"], cell["gamma"], cell["seed"]) for chunk in chunks() for cell in chunk.cells]
    assert len(found) == len(set(found)) == 12
    assert {len(chunk.cells) for chunk in chunks()} == {4, 2}
    assert all(json.loads(json.dumps(chunk.task)) == chunk.task for chunk in chunks())
    assert {chunk.cells[0]["gamma"] for chunk in chunks()} == {0.3, 1.0}
    assert sum(chunk.cost for chunk in chunks()) == 6 * (10 + 1000)


@pytest.mark.parametrize("networks", [0, 1, 4, 100])
def test_gathering_undoes_planning(networks):
    parts = chunks(networks)
    outcomes = {chunk.key: outcome(chunk) for chunk in parts}
    found = gathered(AXES, parts, outcomes, {"value": {}, "pair": {"layer": ("first", "last")}})
    assert found.value.dims == ("gamma", "width", "seed")
    assert float(found.value.sel(gamma=0.3, width=1000, seed=2)) == pytest.approx(1032.0)
    np.testing.assert_array_equal(found.pair.sel(layer="last"), -found.value)
    assert "failure" not in found
    assert bool(found.notnull().all().value)


def test_failed_cells_are_nan_with_their_error():
    parts = chunks()
    outcomes = {chunk.key: outcome(chunk, "ValueError: no") for chunk in parts}
    outcomes[parts[0].key] = Outcome({}, ("OSError: gone",) * 4)
    found = gathered(AXES, parts, outcomes, {"value": {}, "pair": {"layer": ("first", "last")}})
    failed = found.failure != ""
    assert bool((found.value.isnull() == failed).all())
    assert set(np.unique(found.failure)) == {"", "ValueError: no", "OSError: gone"}


def test_chunks_are_frozen_values():
    assert [chunk.key for chunk in chunks()] == [chunk.key for chunk in chunks()]
    assert isinstance(chunks()[0], Chunk)
