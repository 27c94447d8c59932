"""The cache of runs: keys of content alone, one run per recipe, going on after interruptions, healing after damage."""

import signal
import sqlite3
import threading
import time

import numpy as np
import pytest
import toy
import xarray as xr

from cloudchamber._core.config import Config
from cloudchamber.papers import Interrupted, RunCache
from cloudchamber.papers.keys import content, measurement_key, recipe_key
from cloudchamber.training import Recipe, parse_recipe

CHANGES = [
    *("seed=1", "steps=21", "model.width=9", "optimizer.lr=0.02", "optimizer.name=adam", "data.name=sines"),
    *("initialization.name=pytorch_default", "initialization.name=normal", "batch_size=null", "observe.every=5"),
]


class Counting:
    """Counts what the runs of a cache do."""

    def __init__(self):
        self.starts = []

    def started(self, recipe, step):
        self.starts.append(step)

    def updated(self, step, loss):
        pass

    def observed(self, buffer):
        pass


class Stopping(Counting):
    """Presses Ctrl-C at a step."""

    def updated(self, step, loss):
        if step == 12:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_a_run_changes_its_key(change):
    keys = {recipe_key(toy.small_recipe(*more)) for more in ([], [change])}
    assert len(keys) == 2


def test_all_kinds_of_a_section_have_keys_of_their_own():
    kinds = [f"initialization.name={name}" for name in ("xavier_normal", "normal", "pytorch_default")]
    assert len({recipe_key(toy.small_recipe(kind)) for kind in kinds}) == 3


def test_equal_recipes_have_equal_keys_however_they_came_to_be():
    recipe = toy.small_recipe("seed=3")
    assert recipe_key(parse_recipe(recipe.model_dump())) == recipe_key(recipe)


def test_a_field_that_a_later_version_adds_leaves_the_content_as_it_is():
    class Before(Config):
        depth: int = 9

    class After(Before):
        norm: str | None = None

    assert content(After()) == content(Before())
    assert content(After(norm="batch")) != content(Before())
    assert content(Recipe())["data"] == {"name": "digits"}


def test_a_recipe_is_run_once(cache):
    counting = Counting()
    cache = RunCache(cache.folder, [counting])
    first, second = cache.run(toy.small_recipe()), cache.run(toy.small_recipe())
    assert counting.starts == [0]
    assert first.folder == second.folder
    assert first.record.identical(second.record)
    assert second.seconds == first.seconds > 0
    assert first.environment["threads"] == 1


def test_an_interrupted_run_goes_on_to_the_same_record(cache, tmp_path):
    with pytest.raises(Interrupted, match="step 12 of 20"):
        RunCache(cache.folder, [Stopping()]).run(toy.small_recipe())
    counting = Counting()
    run = RunCache(cache.folder, [counting]).run(toy.small_recipe())
    assert counting.starts == [12]
    assert run.record.identical(RunCache(tmp_path / "others").run(toy.small_recipe()).record)


def test_a_damaged_half_run_is_run_anew(cache, caplog):
    with pytest.raises(Interrupted):
        RunCache(cache.folder, [Stopping()]).run(toy.small_recipe())
    path = next(cache.folder.glob("*/checkpoint/state.pt"))
    path.write_bytes(path.read_bytes()[:100])
    assert int(cache.run(toy.small_recipe()).record.step[-1]) == 20
    assert "run anew" in caplog.text


def test_a_diverged_run_is_over(cache):
    run = cache.run(toy.small_recipe("optimizer.lr=1e12"))
    assert not np.isfinite(run.record.probe_loss[-1])
    assert cache.run(toy.small_recipe("optimizer.lr=1e12")).folder == run.folder


def test_a_second_process_waits_for_the_first(cache, caplog):
    folder = cache.run(toy.small_recipe()).folder
    lock = sqlite3.connect(folder.with_suffix(".lock"), isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN EXCLUSIVE")
    times = {}

    def release():
        time.sleep(0.3)
        times["released"] = time.monotonic()
        lock.close()

    waiting = threading.Thread(target=release)
    waiting.start()
    cache.run(toy.small_recipe())
    assert time.monotonic() >= times["released"]
    waiting.join()
    assert "another process" in caplog.text


def test_what_was_measured_is_kept_by_function_and_settings(cache):
    run, calls = cache.run(toy.small_recipe()), []

    def counted(run, *, scale):
        calls.append(scale)
        return xr.Dataset({"value": scale})

    for scale in (1.0, 1.0, 2.0):
        assert float(run.measured(counted, scale=scale).value) == scale
    assert calls == [1.0, 2.0]
    path = next((run.folder / "measured").glob("counted-*.nc"))
    path.write_bytes(path.read_bytes()[:50])
    for scale in (1.0, 2.0):
        run.measured(counted, scale=scale)
    assert len(calls) == 3


def test_a_measurement_whose_text_changes_is_another():
    def one(run):
        return run

    def two(run):
        return [run]

    keys = {measurement_key(one, {}), measurement_key(two, {}), measurement_key(one, {"every": 2})}
    assert len(keys) == 3


def test_the_cache_of_the_user_is_where_the_variable_says(monkeypatch, tmp_path):
    assert RunCache.of_user().folder == tmp_path / "runs"
    monkeypatch.delenv("CLOUDCHAMBER_RUNS")
    assert RunCache.of_user().folder == tmp_path / "cache" / "cloudchamber" / "runs"
