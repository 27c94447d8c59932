"""Chunks on a real Ray cluster of this machine: the same bits as here, and a killed worker takes nothing with it.

Skipped where Ray is not installed: pip install 'cloudchamber[ray]'.
"""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sweep_cases import NUMBERS, Watching, bits, dies_at_one, dies_once, fails_at_one, times, with_task

import cloudchamber as cc
from cloudchamber import FileAccess, Unsupported
from cloudchamber.training.sweep import on_ray
from cloudchamber.training.sweep.execute import execute

HERE = Path(__file__).parent
SKIPPED = "Ray is not installed: sweeps on clusters are NOT tested here"


def test_a_cluster_that_does_not_answer_is_an_access_error(monkeypatch):
    def init(**_):
        raise ConnectionError("ray client connection timeout")  # as Ray does after half a minute

    silent = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr(on_ray, "import_module", lambda _: silent)
    with pytest.raises(FileAccess, match=r"must answer at ray://far:1; got: ray client connection timeout. Remedy: "):
        execute(NUMBERS, times, on="ray://far:1")


def test_without_ray_it_says_how_to_get_it(monkeypatch, tmp_path):
    def without(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(on_ray, "import_module", without)
    with pytest.raises(Unsupported, match=r"the package ray; got none. Remedy: pip install 'cloudchamber\[ray\]'"):
        execute(NUMBERS, times, on="ray", ledger=tmp_path / "ledger")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def cluster():
    """Start a cluster; return the addresses of it and of its client server."""
    if find_spec("ray") is None:
        pytest.skip(SKIPPED)
    with pytest.MonkeyPatch.context() as patch:
        # Before Ray is imported: it reads them once.
        for name, value in {"USAGE_STATS_ENABLED": "0", "AUTH_MODE": "token", "AUTH_TOKEN": "5" * 32}.items():
            patch.setenv(f"RAY_{name}", value)
        patch.setenv("PYTHONPATH", str(HERE))  # workers import what they are to do
        command, pipes = [sys.executable, str(HERE / "ray_cluster.py")], {"stdin": subprocess.PIPE}
        with subprocess.Popen(command, **pipes, stdout=subprocess.PIPE, text=True) as started:
            yield started.stdout.readline().split()
            started.stdin.close()
            started.wait(timeout=60)


@pytest.fixture(scope="class")
def _joined(cluster):
    import ray

    ray.init(address=cluster[0], log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.mark.usefixtures("_joined")
class TestOnACluster:
    def test_it_gives_the_bits_of_this_process_into_the_same_ledger(self, tmp_path):
        watching = Watching()
        outcomes = execute(NUMBERS, times, on="ray", ledger=tmp_path / "ledger", callbacks=[watching])
        assert len(watching.ended) == 4
        assert (
            bits(outcomes) == bits(execute(NUMBERS, times)) == bits(execute(NUMBERS, times, ledger=tmp_path / "ledger"))
        )
        assert {outcome.environment["threads"] for outcome in outcomes.values()} == {1}

    def test_a_killed_worker_costs_nothing_but_time(self, tmp_path):
        chunks = with_task(mark=str(tmp_path / "mark"))
        outcomes = execute(chunks, dies_once, on="ray")
        assert bits(outcomes) == bits(execute(chunks, dies_once))
        assert not any(outcome.failed for outcome in outcomes.values())

    def test_a_cell_that_kills_its_worker_is_recorded_and_the_others_go_on(self, monkeypatch):
        monkeypatch.setattr(on_ray, "RETRIES", 1)
        outcomes = execute(NUMBERS[:3], dies_at_one, on="ray")
        wanted = bits(execute(NUMBERS[:3], times))
        for chunk in (NUMBERS[0], NUMBERS[2]):
            assert bits(outcomes)[chunk.key] == wanted[chunk.key]
        outcome = outcomes[NUMBERS[1].key]
        assert [error is None for error in outcome.errors] == [True, False, True]
        assert outcome.errors[1].startswith("WorkerCrashedError: ")
        np.testing.assert_array_equal(outcome.arrays["value"], [0, np.nan, 4])

    def test_failing_cells_are_those_of_this_process(self):
        assert bits(execute(NUMBERS, fails_at_one, on="ray")) == bits(execute(NUMBERS, fails_at_one))

    def test_arrays_outlive_the_cluster_s_memory(self):
        outcome = execute(NUMBERS[:1], times, on="ray")[NUMBERS[0].key]
        assert all(array.base is None and array.flags.writeable for array in outcome.arrays.values())

    def test_a_sweep_is_bit_for_bit_that_of_this_process(self, tmp_path):
        recipe = {"data": {"name": "sines"}, "model": {"depth": 2, "width": 4}, "batch_size": None, "steps": 5}
        what = {"recipe": recipe, "axes": {"optimizer.lr": [0.1, 1e4], "seed": {"range": 4}}, "cells_per_chunk": 3}
        there = cc.sweep(what, tmp_path / "there", on="ray")
        here = cc.sweep(what, tmp_path / "here")
        assert there.dataset.identical(here.dataset)
        assert (tmp_path / "there/sweep.nc").read_bytes() == (tmp_path / "here/sweep.nc").read_bytes()

    def test_a_sweep_whose_workers_are_killed_is_bit_for_bit_that_of_this_process(self, tmp_path):
        import ray

        @ray.remote(num_cpus=1)
        def worker():
            time.sleep(0.5)  # so that each task has a worker of its own
            return os.getpid()

        def kill():
            """Kill both at the end of the first chunk, when one at least has begun another."""
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

        pids = ray.get([worker.remote() for _ in range(2)])
        recipe = {"data": {"name": "sines"}, "model": {"depth": 2, "width": 4}, "batch_size": None, "steps": 150}
        what = {"recipe": recipe, "axes": {"optimizer.lr": [0.1, 1e4], "seed": {"range": 4}}, "cells_per_chunk": 2}
        there = cc.sweep(what, tmp_path / "there", on="ray", callbacks=[Watching(1, kill)])
        assert len(set(pids)) == 2
        assert not any(
            Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids
        )
        here = cc.sweep(what, tmp_path / "here")
        assert there.dataset.identical(here.dataset)
        assert (tmp_path / "there/sweep.nc").read_bytes() == (tmp_path / "here/sweep.nc").read_bytes()

    def test_work_that_the_workers_do_not_have_is_told(self, tmp_path, monkeypatch):
        (tmp_path / "only_here.py").write_text("def work(task, cells):\n    return {'x': [1] * len(cells)}\n")
        monkeypatch.syspath_prepend(tmp_path)
        from only_here import work

        with pytest.raises(Unsupported, match=r"able to compute a chunk; got: .*only_here.*Remedy: install the same"):
            execute(NUMBERS, work, on="ray")
        del sys.modules["only_here"]


def test_a_cluster_is_found_and_another_machine_s_is_reached_by_its_client_server(cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster[0])
    wanted = bits(execute(NUMBERS, times))
    assert bits(execute(NUMBERS, times, on="ray")) == wanted
    # At last, since with its last client this server ends the cluster.
    assert bits(execute(NUMBERS, times, on=cluster[1])) == wanted
