"""Cost of one observation relative to one training step, both measured in turn in one process.

Baseline: a bare torch SGD step (zero_grad, forward, cross entropy, backward, step) on a batch of the recipe's size.
An observation is one forward and backward pass over the probe with every measure of the default monitor; "with
images" adds the cosine matrices, effective ranks and effective widths that the default schedule takes at every
tenth observation. Writes the raw seconds and the ratios to `results/observation_cost.json`.

Run: python benchmarks/observation_cost.py
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import cloudchamber as cc
from cloudchamber.models import MLP

ROUNDS = 60
WARMUP = 10
RESULTS = Path(__file__).parent / "results" / "observation_cost.json"


@dataclass(frozen=True)
class Case:
    """A model with the batch that trains it and the probe that observes it."""

    name: str
    model: nn.Module
    inputs: int
    classes: int
    batch: int
    probe: int


def cases() -> list[Case]:
    """Return the default model, and a small one where every microsecond of overhead shows."""
    return [
        Case("9-layer MLP, 512 wide, probe of 200", MLP(64, 10, depth=9, width=512), 64, 10, 100, 200),
        Case("9-layer MLP, 512 wide, probe of 100", MLP(64, 10, depth=9, width=512), 64, 10, 100, 100),
        Case("784-128-10 MLP, probe of 200", MLP(784, 10, depth=2, width=128), 784, 10, 128, 200),
        Case("784-128-10 MLP, probe of 100", MLP(784, 10, depth=2, width=128), 784, 10, 128, 100),
    ]


def batch_of(case: Case, samples: int) -> tuple[Tensor, Tensor]:
    """Return random inputs with balanced labels: timing does not depend on what they show."""
    return torch.rand(samples, case.inputs), torch.arange(samples) % case.classes


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(case: Case) -> dict[str, list[float]]:
    """Time a step, an observation and an observation with images in turn."""
    torch.manual_seed(0)
    inputs, targets = batch_of(case, case.batch)
    optimizer = torch.optim.SGD(case.model.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(case.model(inputs), targets).backward()
        optimizer.step()

    times: dict[str, list[float]] = {"step": [], "observation": [], "observation with images": []}
    probe = batch_of(case, case.probe)
    with cc.Monitor(case.model, probe=probe, loss=nn.functional.cross_entropy, every=1, images_every=10**9) as monitor:
        for number in range(1, WARMUP + ROUNDS + 1):
            row = [
                seconds(step),
                seconds(lambda at=2 * number - 1: monitor.observe(at)),
                seconds(lambda at=2 * number: monitor.observe(at, force=True)),
            ]
            if number > WARMUP:
                for values, value in zip(times.values(), row, strict=True):
                    values.append(round(value, 7))
    return times


def summary(times: dict[str, list[float]]) -> dict[str, float]:
    """Return the median ratios to the step of the same round, and what the default schedule adds to a step."""
    ratios = {
        name: statistics.median(value / step for value, step in zip(values, times["step"], strict=True))
        for name, values in times.items()
        if name != "step"
    }
    per_step = (0.9 * ratios["observation"] + 0.1 * ratios["observation with images"]) / 10
    return {**ratios, "default schedule, added per step": per_step}


def main() -> None:
    """Measure every case, print the table and keep the raw numbers."""
    results = {}
    for case in cases():
        times = measure(case)
        results[case.name] = {"ratios": summary(times), "seconds": times}
        shown = ", ".join(f"{name} {value:.3g}" for name, value in summary(times).items())
        print(f"{case.name}: step {1e3 * statistics.median(times['step']):.2f} ms; in steps: {shown}")
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__, "machine": platform.machine()}
    RESULTS.write_text(json.dumps({"machine": machine, "rounds": ROUNDS, "cases": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
