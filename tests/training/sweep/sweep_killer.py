"""Kills a sweep again and again, goes on with it, and compares it with one that nobody killed, bit for bit.

Run as a program: `sweep_killer.py FOLDER CELLS CELLS_PER_CHUNK KILLS`. One process imports everything once and forks
every attempt. Prints how many chunks each attempt had added when it was killed, as JSON.
"""

import json
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
from pathlib import Path

import torch

import cloudchamber as cc

RECIPE = {
    "data": {"name": "sines", "samples": 20, "dimension": 2},
    "model": {"depth": 2},
    "batch_size": 10,
    "steps": 20,
    "observe": {"probe_samples": 10},
}
random_instants = random.Random(0)


def sweep_of(cells, per_chunk):
    """Two shapes, rates of which one diverges, one batch that is too large for the data, and seeds."""
    axes = {
        "model.width": [4, 6],
        "optimizer.lr": [0.1, 0.01, 1e6, 1e-3, 0.02],
        "batch_size": [10, 20, 21, 5],
        "seed": {"range": cells // 40},
    }
    return {"recipe": RECIPE, "axes": axes, "cells_per_chunk": per_chunk}


def forked(action):
    child = os.fork()
    if child:
        return child
    try:
        action()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def committed(folder):
    ledger = folder / "ledger.sqlite"
    if not ledger.exists():
        return 0
    connection = sqlite3.connect(ledger)
    try:
        return connection.execute("SELECT COUNT(*) FROM chunk").fetchone()[0]
    except sqlite3.OperationalError:  # killed before the table was there
        return 0
    finally:
        connection.close()


def main(base, cells, per_chunk, kills):
    what = sweep_of(cells, per_chunk)
    cc.sweep(sweep_of(40, per_chunk))  # what is set up once per process
    start = time.perf_counter()
    assert ended(forked(lambda: cc.sweep(what, base / "whole"))) == 0
    length = time.perf_counter() - start
    added = []
    while len(added) < kills:
        before = committed(base / "killed")
        child = forked(lambda: cc.sweep(what, base / "killed"))
        time.sleep(random_instants.uniform(0, 2 * length / kills))
        os.kill(child, signal.SIGKILL)
        assert ended(child) in (-signal.SIGKILL, 0)
        added.append(committed(base / "killed") - before)
    assert ended(forked(lambda: cc.sweep(what, base / "killed"))) == 0
    killed, whole = (cc.open_sweep(base / name) for name in ("killed", "whole"))
    assert killed.dataset.identical(whole.dataset)
    assert killed.failures == whole.failures
    assert len(killed.failures) == cells // 4
    for name in ("sweep.nc", "sweep.yaml"):
        assert (base / "killed" / name).read_bytes() == (base / "whole" / name).read_bytes()
    assert {path.name for path in (base / "killed").iterdir()} == {path.name for path in (base / "whole").iterdir()}
    print(json.dumps({"cells": cells, "seconds": round(length, 1), "added": added}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
