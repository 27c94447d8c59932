"""No test of the papers reads data or runs from outside its own folders."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cloudchamber.papers import Results, RunCache


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    monkeypatch.delenv("CLOUDCHAMBER_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CLOUDCHAMBER_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def cache(tmp_path):
    return RunCache(tmp_path / "runs")


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "results")
