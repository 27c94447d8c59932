"""Kills runs, goes on with them and compares them with a run that nobody killed.

Run as a program, `killer.py FOLDER`: one process imports everything once and forks every run, so that a killed run
costs milliseconds. Prints how the trials ended, as JSON.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import FILES, small, state

from cloudchamber._core.errors import FileAccess
from cloudchamber.training import resume, run

OBSERVE = "observe={every: 2, images_every: 8, probe_samples: 20, image_samples: 20}"  # every measure
RECIPE = small("model.width=32", "steps=16", OBSERVE, "checkpoint_every=5")
INSTANTS, EVENTS, INTERRUPTS = 30, 10, 4
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "sqlite3.connect", "tempfile.mkstemp"}
random_instants = random.Random(0)


def forked(action):
    """Run `action` in a child; return its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = {"finished": 0, "interrupted": 5}[action().status]
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def at_file_event(number, folder, action, then):
    """Run `action`; just before the given access to a file in `folder`, do something."""
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event in FILE_EVENTS and str(arguments[0]).startswith(str(folder)):
            seen += 1
            if seen == number:
                then()

    sys.addaudithook(hook)
    result = action()
    if number == 0:
        (folder.parent / "events").write_text(str(seen))
    return result


def killed_at_event(number, folder, action):
    return ended(forked(lambda: at_file_event(number, folder, action, lambda: os.kill(os.getpid(), signal.SIGKILL))))


def signalled(instant, action, number=signal.SIGKILL):
    child = forked(action)
    time.sleep(instant)
    os.kill(child, number)
    return ended(child)


def begun(folder):
    """Return the action that a person takes after a kill: go on, or start if nothing had been begun."""
    if (folder / "recipe.yaml").exists():
        return lambda: resume(folder)
    with pytest.raises(FileAccess, match=r"without one. Remedy: check the path, or start a new run"):
        resume(folder)
    return lambda: run(RECIPE, folder)


def stage(folder):
    for name in ("record.nc", "checkpoint/state.pt", "recipe.yaml"):
        if (folder / name).exists():
            return f"had {name}"
    return "had nothing"


def instants(length):
    """The first milliseconds, and the whole life of a run."""
    early = [random_instants.uniform(0, 0.01) for _ in range(INSTANTS // 3)]
    return [*early, *(random_instants.uniform(0, 1.1 * length) for _ in range(INSTANTS - len(early)))]


def caller_state():
    numbers = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()
    return numbers, torch.get_num_threads(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)


def trials(base, length, events):
    """Yield a folder for each trial, after its run was killed."""
    for index, instant in enumerate(instants(length)):
        folder = base / f"instant{index}"
        signalled(instant, lambda: run(RECIPE, folder))  # noqa: B023
        if index % 3 == 0:  # and while it goes on
            signalled(random_instants.uniform(0, length), begun(folder))
        yield folder
    for index in range(EVENTS):
        folder = base / f"event{index}"
        code = killed_at_event(1 + index * events // EVENTS, folder, lambda: run(RECIPE, folder))  # noqa: B023
        assert code == -signal.SIGKILL, code
        killed_at_event(1 + index, folder, begun(folder))
        yield folder
    for index in range(INTERRUPTS):
        folder = base / f"interrupt{index}"
        number = (signal.SIGINT, signal.SIGTERM)[index % 2]
        code = signalled(length * (index + 1) / (INTERRUPTS + 1), lambda: run(RECIPE, folder), number)  # noqa: B023
        assert code in (0, 1, 5, -number), code
        yield folder


def main(base):
    before = caller_state()
    run(RECIPE, base / "warm")
    start = time.perf_counter()
    whole = run(RECIPE, base / "whole").folder
    length = time.perf_counter() - start
    assert caller_state() == before
    killed_at_event(0, base / "counted", lambda: run(RECIPE, base / "counted"))
    expected = state(whole)
    assert expected[0] == FILES
    assert len(expected[-1]) > 10
    counts = Counter()
    for folder in trials(base, length, int((base / "events").read_text())):
        counts[stage(folder)] += 1
        begun(folder)()
        found = state(folder)
        assert found[:-1] == expected[:-1], folder
        assert found[-1].identical(expected[-1])
    print(json.dumps(counts))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
