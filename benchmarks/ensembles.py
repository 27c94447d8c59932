"""Many small networks at once, beside a plain PyTorch loop over them (`ensembles_baseline.py`) on the same cores.

Tanh networks, mean squared error, all samples at every step, Adam with its defaults, float32. Times are of whole calls
of `train_ensemble`, from a list of modules to the result, divided by networks and steps; what is compiled was compiled
by a call before (that takes seconds, once per process and architecture, and is printed). Every round runs all ways,
one after the other in an order that turns; the ratio of a round is loop over way, and the median over rounds counts.

Beside it the arithmetic bound, measured in the same rounds: the products at the speed of one large product, every
hidden entry's tanh at the speed of oneDNN's on data in the cache, and one fused Adam update.

Run: python benchmarks/ensembles.py [threads [headlines]]      (5 minutes 20 on 2 cores that have nothing else to do;
the headlines alone two, and what was measured of the others stays)
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from ensembles_baseline import network, seconds_per_step
from torch import Tensor, nn

import cloudchamber as cc
from cloudchamber.training import Adam

README = Path(__file__).parent / "README.md"
RESULTS = Path(__file__).parent / "results" / "ensembles.json"
WAYS: dict[str, dict[str, Any]] = {
    "vmap": {"path": "vmap"},
    "dense": {"path": "dense", "compile": False},
    "dense, compiled": {"path": "dense", "compile": True},
    "dense, compiled, rational tanh": {"path": "dense", "compile": True, "tanh": "rational"},
}
TABLE_WAYS = ("dense", "dense, compiled")
HEADINGS = ("loop", "loop, fused Adam", "loop, one thread", *WAYS, "arithmetic bound")
LARGEST = 2 * 10**7
"""Parameters of all networks together in the table: as many networks as that allows, at most 100."""
Times = dict[str, list[float]]


@dataclass(frozen=True)
class Case:
    """Networks of one architecture, all on the same samples."""

    sizes: tuple[int, ...]
    members: int
    steps: int
    samples: int = 80
    baseline_steps: int = 200

    @property
    def name(self) -> str:
        """Widths, and how many networks."""
        return f"{self.members} × {'-'.join(map(str, self.sizes))}"

    @property
    def parameters(self) -> int:
        """Numbers per network."""
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(self.sizes))

    def data(self) -> tuple[Tensor, Tensor]:
        """Return random samples: timing does not depend on what they show."""
        torch.manual_seed(0)
        return torch.randn(self.samples, self.sizes[0]), torch.randn(self.samples, self.sizes[-1])

    def networks(self) -> list[nn.Sequential]:
        """Return the networks."""
        return [network(self.sizes) for _ in range(self.members)]


HEADLINES = (Case((5, 50, 1), 1000, 100), Case((5, 18, 18, 18, 18, 1), 1000, 40))
COUNTS = tuple(Case((5, 50, 1), members, max(20, 30_000 // members)) for members in (1, 10, 100, 10_000))


def table_cases() -> list[Case]:
    """Return widths × depths, with as many networks and steps as memory and time allow."""
    cases = []
    for width in (10, 30, 100, 300, 1000):
        for depth in (2, 4, 6):
            sizes = (5, *[width] * (depth - 1), 1)
            size = Case(sizes, 1, 1).parameters
            members = max(1, min(100, LARGEST // size))
            work = 6 * 80 * size * members
            cases.append(Case(sizes, members, max(3, min(300, round(6e10 / (work + 3e8)))), baseline_steps=20))
    return cases


def ensemble_seconds(case: Case, networks: list[nn.Sequential], options: dict[str, Any]) -> float:
    """Return how long a step of one network takes in a whole call."""
    data = case.data()
    start = time.perf_counter()
    cc.train_ensemble(networks, data, loss="mse", optimizer=Adam(), steps=case.steps, **options)
    return (time.perf_counter() - start) / (case.members * case.steps)


def bound_seconds(case: Case) -> float:
    """Return the arithmetic bound of a step of one network."""
    products = [2 * case.samples * fan_in * fan_out for fan_in, fan_out in pairwise(case.sizes)]
    operations = 3 * sum(products) - products[0]
    large = torch.randn(2048, 2048)
    product = fastest(lambda: large @ large) / (2 * 2048**3)
    entries = torch.randn(100_000).to_mkldnn()
    tanh = fastest(entries.tanh_) / 100_000
    rows = [torch.zeros(100_000) for _ in range(4)]
    update = fastest(lambda: fused_adam(rows)) / 100_000
    return operations * product + case.samples * sum(case.sizes[1:-1]) * tanh + case.parameters * update


def fused_adam(rows: list[Tensor]) -> None:
    """One update of Adam by torch's fused code, with its defaults."""
    parameters, gradients, means, squares = ([row] for row in rows)
    torch.ops.aten._fused_adam_(
        parameters,
        gradients,
        means,
        squares,
        [],
        [torch.ones(())],
        lr=1e-3,
        beta1=0.9,
        beta2=0.999,
        weight_decay=0.0,
        eps=1e-8,
        amsgrad=False,
        maximize=False,
    )


def fastest(work: Callable[[], object]) -> float:
    """Return the shortest of ten times."""
    times = []
    for _ in range(10):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def in_turn(work: dict[str, Callable[[], float]], rounds: int) -> Times:
    """Run all in every round, in an order that turns."""
    names, times = list(work), {name: [] for name in work}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(work[name]())
    return times


def one_thread(work: Callable[[], float]) -> float:
    """Run with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return work()
    finally:
        torch.set_num_threads(threads)


def measure(case: Case, ways: tuple[str, ...], rounds: int, *, headline: bool) -> dict[str, Any]:
    """Return ratios and raw seconds of all ways and of the loop."""
    networks, data, steps = case.networks(), case.data(), case.baseline_steps
    work: dict[str, Callable[[], float]] = {"loop": lambda: seconds_per_step(case.sizes, data, steps)}
    if headline:
        work["loop, fused Adam"] = lambda: seconds_per_step(case.sizes, data, steps, fused=True)
        work["loop, one thread"] = lambda: one_thread(lambda: seconds_per_step(case.sizes, data, steps))
        work["arithmetic bound"] = lambda: bound_seconds(case)
    first: dict[str, float] = {}
    for way in ways:
        start = time.perf_counter()
        ensemble_seconds(case, networks, WAYS[way])
        first[way] = time.perf_counter() - start
        work[way] = lambda way=way: ensemble_seconds(case, networks, WAYS[way])
    times = in_turn(work, rounds)
    return {"ratios": ratios(times), "seconds": times, "first call, seconds": first, "members": case.members}


def ratios(times: Times) -> dict[str, float]:
    """Return the median over rounds of the loop's time over that of each way."""
    return {
        name: statistics.median(loop / value for loop, value in zip(times["loop"], values, strict=True))
        for name, values in times.items()
    }


def show(name: str, found: dict[str, Any]) -> None:
    """Print one case."""
    print(name, flush=True)
    for way, ratio in found["ratios"].items():
        print(f"  {way:<32}{1e6 * statistics.median(found['seconds'][way]):9.2f} µs {ratio:8.1f} ×", flush=True)


def fill_readme(results: dict[str, Any]) -> None:
    """Write the numbers into README.md, between its marks."""
    headlines = [case.name for case in HEADLINES]
    cases = results["cases"]
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    rises = [f"{name}: {rise:.0f} MB" for name, rise in results["peak memory, MB"].items()]
    parts = {
        "headline": f"{rows({name: cases[name] for name in headlines})}\n\nµs per network and step ({machine}).",
        "table": rows({name: found for name, found in cases.items() if name not in headlines}),
        "memory": f"Rise of the peak resident set, measured in processes of their own: {'; '.join(rises)}.",
    }
    text = README.read_text(encoding="utf-8")
    for name, part in parts.items():
        before, _, rest = text.partition(f"<!-- ensembles:{name} -->\n")
        _, mark, after = rest.partition(f"<!-- /ensembles:{name} -->")
        text = f"{before}<!-- ensembles:{name} -->\n{part}\n{mark}{after}"
    README.write_text(text, encoding="utf-8")


def rows(cases: dict[str, Any]) -> str:
    """Return cases as a table."""
    ways = [way for way in HEADINGS if any(way in found["ratios"] for found in cases.values())]
    lines = ["| networks | " + " | ".join(ways) + " |", "|---" * (1 + len(ways)) + "|"]
    for name, found in cases.items():
        lines.append(f"| {name} | " + " | ".join(cell(found, way) for way in ways) + " |")
    return "\n".join(lines)


def cell(found: dict[str, Any], way: str) -> str:
    """Return microseconds and ratio of a way."""
    return f"{1e6 * statistics.median(found['seconds'][way]):.3g} ({found['ratios'][way]:.3g}×)"


def memory(members: int, way: str) -> float:
    """Return by how many MB the resident set rises at most while an ensemble is trained; for a fresh process."""
    case = Case((5, 50, 1), members, 3)
    networks = case.networks()
    ensemble_seconds(Case((5, 50, 1), 2, 3), networks[:2], WAYS[way])
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    ensemble_seconds(case, networks, WAYS[way])
    return resident("VmHWM") - before


def resident(field: str) -> float:
    """Return a size of this process in MB; VmHWM is the largest since the last reset."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024


def memory_apart(members: int, way: str, threads: int) -> float:
    """Return the same, measured in a process of its own."""
    command = [sys.executable, __file__, "memory", str(members), way, str(threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main(threads: int, *, only_headlines: bool) -> None:
    """Measure everything or the headlines, print it and keep the raw numbers."""
    torch.set_num_threads(threads)
    start, load = time.perf_counter(), os.getloadavg()[0]
    found = json.loads(RESULTS.read_text()) if only_headlines else {"cases": {}}
    for case in HEADLINES:
        found["cases"][case.name] = measure(case, tuple(WAYS), 7, headline=True)
        show(case.name, found["cases"][case.name])
    if not only_headlines:
        found |= others(found["cases"], threads)
    machine = {"threads": threads, "torch": torch.__version__, "processor": platform.machine()}
    machine |= {"load before": round(load, 1), "seconds in all": round(time.perf_counter() - start)}
    found["machine"] = machine
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    fill_readme(found)


def others(cases: dict[str, Any], threads: int) -> dict[str, Any]:
    """Measure the tables and the memory; add the former to `cases` and return the latter."""
    for case in (*COUNTS, *table_cases()):
        cases[case.name] = measure(case, TABLE_WAYS, 3, headline=False)
        show(case.name, cases[case.name])
    rises = {
        f"{members} × 5-50-1, {way}": memory_apart(members, way, threads)
        for members in (1000, 10_000)
        for way in ("vmap", "dense")
    }
    print("peak memory, MB:", rises)
    return {"peak memory, MB": rises}


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        torch.set_num_threads(int(sys.argv[4]))
        print(memory(int(sys.argv[2]), sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 2, only_headlines=sys.argv[2:] == ["headlines"])
