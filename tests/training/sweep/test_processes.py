"""Chunks in processes: the same bits as here, and a killed process takes nothing with it."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sweep_cases import NUMBERS, Watching, bits, dies_at_one, dies_once, times, with_task

from cloudchamber import InvalidInput
from cloudchamber.training.sweep import processes
from cloudchamber.training.sweep.execute import execute

HERE = Path(__file__).parent


def test_a_killed_process_costs_nothing_but_time_and_the_bits_are_those_of_this_one(tmp_path):
    chunks, watching = with_task(mark=str(tmp_path / "mark")), Watching()
    outcomes = execute(chunks, dies_once, on="processes://2", ledger=tmp_path / "ledger", callbacks=[watching])
    assert (tmp_path / "mark").exists()
    assert not any(outcome.failed for outcome in outcomes.values())
    assert len(watching.ended) == len(chunks)
    kept = execute(chunks, dies_once, ledger=tmp_path / "ledger", callbacks=[watching])
    assert watching.began[-1] == (4, 4)
    assert bits(outcomes) == bits(kept) == bits(execute(chunks, dies_once))


def test_a_cell_that_kills_its_process_is_recorded_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr(processes, "ATTEMPTS", 1)
    outcomes = execute(NUMBERS[:3], dies_at_one, on="processes://2")
    wanted = bits(execute(NUMBERS[:3], times))
    for chunk in (NUMBERS[0], NUMBERS[2]):
        assert bits(outcomes)[chunk.key] == wanted[chunk.key]
    outcome = outcomes[NUMBERS[1].key]
    assert outcome.errors[0] is outcome.errors[2] is None
    assert outcome.errors[1].startswith("ProcessDied: its process ended 1 times: killed")
    np.testing.assert_array_equal(outcome.arrays["value"], [0, np.nan, 4])


def test_work_that_others_cannot_import_is_refused():
    def inner(task, cells):
        return times(task, cells)

    with pytest.raises(InvalidInput, match=r"they can import; got .* Remedy: define it at the top level"):
        execute(NUMBERS, inner, on="processes")


def test_nothing_to_do_starts_no_process(tmp_path):
    execute(NUMBERS, times, ledger=tmp_path / "ledger")
    start = time.perf_counter()
    execute(NUMBERS, times, ledger=tmp_path / "ledger", on="processes")
    assert time.perf_counter() - start < 1


SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from cloudchamber.training.sweep.chunks import Chunk
from cloudchamber.training.sweep import processes
from cloudchamber.training.sweep.execute import execute
from {module} import {work}
{guard}
    chunks = [Chunk({{"folder": {folder!r}}}, ({{"x": x}},)) for x in range(2)]
    execute(chunks, {work}, on="processes://2")
"""


def program(tmp_path, guard, module="slow_work", work="sleep"):
    (tmp_path / "slow_work.py").write_text(
        "import os, time\nfrom pathlib import Path\n"
        "def sleep(task, cells):\n"
        "    (Path(task['folder']) / f'{os.getpid()}.pid').touch()\n"
        "    time.sleep(60)\n"
    )
    text = SLOW.format(here=str(tmp_path), folder=str(tmp_path), guard=guard, module=module, work=work)
    (tmp_path / "program.py").write_text(text)
    return [sys.executable, str(tmp_path / "program.py")]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("number", [9, 2], ids=["kill -9", "Ctrl-C"])
def test_processes_end_with_the_one_that_started_them(tmp_path, number):
    started = subprocess.Popen(program(tmp_path, 'if __name__ == "__main__":'), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(pids := list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2
    started.send_signal(number)
    started.communicate(timeout=20)
    deadline = time.monotonic() + 20
    while any(alive(pid.stem) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid.stem) for pid in pids)


def test_a_program_without_a_guard_is_told_so(tmp_path):
    ended = subprocess.run(program(tmp_path, "if True:"), capture_output=True, text=True, check=False, timeout=60)
    assert "the program must be importable by its own processes" in ended.stderr
    assert 'if __name__ == "__main__":' in ended.stderr
