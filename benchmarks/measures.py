"""Cost of the measures relative to the direct computations that they replace, in time and in memory.

Same tensors, same process, in turn:
- Common direction and Theorem 1 at 512 × 512, 100 samples, 10 steps. Baselines: all single-sample weight changes side
  by side, 512 × (512·100·10), and their SVD, or that of their Gram matrix, for the direction; and the primary and the
  three leading noise components of every sample materialised, for the strengths. Strengths of one step, of all steps
  with the last weight (one decomposition of ε), or of all steps each with its own weight.
- Neural tangent kernel, all pairs of outputs, of 784-256×4-10 and of two convolutions and a linear layer; ours
  includes the pass that gives G. Baseline: vmap(jacrev) and contraction, whole or in triangular blocks of samples.
- Orientation groups of 20 000 neurons with 1000 inputs: absolute, because nothing else is feasible.

Memory is the rise of the peak resident set in a process of its own, after the same on a small problem.

Run: python benchmarks/measures.py
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measures_ways import CASES, Case

RESULTS = Path(__file__).parent / "results" / "measures.json"
Numbers = dict[str, float]


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def times(case: Case) -> dict[str, list[float]]:
    """Time all ways in turn; those that are not ours in the first rounds only."""
    torch.manual_seed(0)
    ways = case.build(False)
    for way in case.against:
        ways[way]()
    found: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(case.rounds):
        for way, work in ways.items():
            if way in case.against or number < case.baseline_rounds:
                found[way].append(seconds(work))
                gc.collect()
    return found


def resident(field: str) -> int:
    """Return a size of this process in bytes; VmHWM is the largest since the last reset."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith(field))


def rise(case: Case, way: str) -> int:
    """Return by how many bytes the peak resident set rises while one way runs."""
    torch.manual_seed(0)
    case.build(True)[way]()
    work = case.build(False)[way]
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what building the problem freed is not to be used again unseen
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def rise_elsewhere(name: str, way: str) -> int:
    """Return the same, from a fresh process whose allocator gives back at once what is freed."""
    command = [sys.executable, __file__, "--memory", name, way]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def ratios(case: Case, median: Numbers, used: Numbers) -> dict[str, Numbers]:
    """Return, for each way of ours, its speed over each baseline and the part of its memory that it takes."""
    found: dict[str, Numbers] = {ours: {} for ours in case.against}
    for ours, baselines in case.against.items():
        for parts in baselines:
            seconds_of_all, most = sum(median[part] for part in parts), max(used[part] for part in parts)
            found[ours][f"speed over {' + '.join(parts)}"] = seconds_of_all / median[ours]
            found[ours][f"memory of {' + '.join(parts)}"] = used[ours] / most
    return found


def measure(name: str, case: Case) -> dict[str, object]:
    """Return times, memory and ratios of a case, and how busy the machine was."""
    raw, load = times(case), os.getloadavg()[0]
    median = {way: statistics.median(values) for way, values in raw.items() if values}
    used = {way: float(rise_elsewhere(name, way)) for way in median}
    found = {"ratios": ratios(case, median, used), "median_seconds": median, "bytes": used}
    print(name, json.dumps(found, indent=1))
    return {**found, "seconds": raw, "load": load}


def main() -> None:
    """Measure the cases named, or all, print the ratios and keep the raw numbers."""
    known = json.loads(RESULTS.read_text())["cases"] if RESULTS.exists() else {}
    chosen = sys.argv[1:] or list(CASES)
    cases = {name: measure(name, CASES[name]) if name in chosen else known.get(name) for name in CASES}
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__, "machine": platform.machine()}
    RESULTS.write_text(json.dumps({"machine": machine, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        print(rise(CASES[sys.argv[2]], sys.argv[3]))
    else:
        main()
