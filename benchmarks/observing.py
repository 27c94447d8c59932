"""What watching a training run costs, relative to the bare run, in both ways of observing.

One process, two threads. Each round trains one model by a block of steps bare and by one in every way of watching it,
in an order drawn anew, on the same batch; the ratio of a round is watched over the mean of two bare blocks, and the
median over rounds counts. The bare step is zero_grad, forward, cross entropy, backward, SGD step. All blocks work on
the same memory: copies of a model, each in pages of its own, differ by more than what is measured. What one bare block
of a round is over the other shows what is left of that.

Run: python benchmarks/observing.py [threads [number of one case]]; the results of other cases stay.
"""

from __future__ import annotations

import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import cloudchamber as cc
from cloudchamber.measures.fused import is_native
from cloudchamber.models import MLP

RESULTS = Path(__file__).parent / "results" / "observing.json"
COSINES = ["feature_cosine", "gradient_cosine"]
BLOCK = 10
Step = Callable[[int], None]


@dataclass(frozen=True)
class Case:
    """A model with its batch; `rounds` blocks of steps are measured."""

    name: str
    inputs: int
    depth: int
    width: int
    batch: int
    rounds: int

    def model(self) -> nn.Module:
        """Return the model."""
        torch.manual_seed(0)
        return MLP(self.inputs, 10, depth=self.depth, width=self.width)

    def samples(self, count: int) -> tuple[Tensor, Tensor]:
        """Return random inputs with balanced labels: timing does not depend on what they show."""
        return torch.rand(count, self.inputs), torch.arange(count) % 10


CASES = (
    Case("3072-512×8-10 MLP, batch 100", 3072, 9, 512, 100, 60),
    Case("784-128-10 MLP, batch 128", 784, 2, 128, 128, 300),
)


def ways(probe: tuple[Tensor, Tensor]) -> dict[str, dict]:
    """Return the ways of watching, by name: arguments of `Monitor`."""
    passive = {"passive": True, "probe": probe, "images_every": 10**9}
    return {
        "passive, feature and gradient cosine, every step": {**passive, "every": 1, "measures": COSINES},
        "passive, feature and gradient cosine, every 5th step": {**passive, "every": 5, "measures": COSINES},
        "passive, feature cosine, every step": {**passive, "every": 1, "measures": COSINES[:1]},
        "passive, group light, every step": {**passive, "every": 1, "measures": "light"},
        "probe of 100, group mlp2024, every 10th step": {
            "probe": probe,
            "every": 10,
            "images_every": 10**9,
            "measures": "mlp2024",
        },
        "probe of 100, default measures, every 10th step": {"probe": probe, "every": 10, "images_every": 10**9},
    }


@dataclass(frozen=True)
class Training:
    """A model that is trained, with its batch."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    inputs: Tensor
    labels: Tensor

    @classmethod
    def of(cls, case: Case) -> Training:
        """Return the training of a case."""
        model = case.model()
        return cls(model, torch.optim.SGD(model.parameters(), lr=0.01), *case.samples(case.batch))

    def differentiate(self) -> None:
        """Take the gradients of a batch."""
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(self.inputs), self.labels).backward()

    def step(self, number: int) -> None:  # noqa: ARG002
        """Make a bare training step."""
        self.differentiate()
        self.optimizer.step()


def watched(training: Training, options: dict, stack: ExitStack) -> tuple[Step, cc.Monitor]:
    """Return the training step in one way of watching it, and its monitor."""
    monitor = stack.enter_context(cc.Monitor(training.model, loss=nn.functional.cross_entropy, **options))

    def seen(number: int) -> None:
        with monitor.batch(number, training.labels):
            training.differentiate()
        training.optimizer.step()

    def observed(number: int) -> None:
        training.step(number)
        monitor.observe(number + 1)

    return seen if options.get("passive") else observed, monitor


def seconds(step: Step, first: int) -> float:
    """Return how long a block of steps takes, per step."""
    start = time.perf_counter()
    for number in range(first, first + BLOCK):
        step(number)
    return (time.perf_counter() - start) / BLOCK


def measure(case: Case) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds per step of every way, round by round, and those that bringing it into order takes after."""
    with ExitStack() as stack:
        training = Training.of(case)
        watching = {name: watched(training, options, stack) for name, options in ways(case.samples(100)).items()}
        steps: dict[str, Step] = {"bare": training.step, "bare again": training.step}
        steps |= {name: step for name, (step, _) in watching.items()}
        order, times = random.Random(0), {name: [] for name in steps}
        for number in range(case.rounds + 2):
            for name in order.sample(list(steps), len(steps)):
                taken = seconds(steps[name], number * BLOCK)
                if number >= 2:
                    times[name].append(round(taken, 7))
        return times, {name: ordering(monitor) for name, (_, monitor) in watching.items()}


def ordering(monitor: cc.Monitor) -> float:
    """Return how long it takes, per step, to put in order what a monitor left for later."""
    start = time.perf_counter()
    for observation in monitor.buffer.observations:
        dict(observation.values)
    steps = monitor.buffer.last_step + 1
    return round((time.perf_counter() - start) / steps, 7)


def ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """Return the median over rounds of watched over bare, and of one bare block over the other."""
    bare, again = times["bare"], times["bare again"]
    mean = [(one + other) / 2 for one, other in zip(bare, again, strict=True)]
    return {
        name: statistics.median(
            value / step for value, step in zip(values, bare if name == "bare again" else mean, strict=True)
        )
        for name, values in times.items()
        if name != "bare"
    }


def main(threads: int, cases: tuple[Case, ...]) -> None:
    """Measure cases, print the table and keep the raw numbers."""
    torch.set_num_threads(threads)
    results = json.loads(RESULTS.read_text())["cases"] if RESULTS.exists() else {}
    for case in cases:
        times, later = measure(case)
        results[case.name] = {"ratios": ratios(times), "seconds per step": times, "seconds per step afterwards": later}
        print(f"{case.name}: bare step {1e3 * statistics.median(times['bare']):.2f} ms")
        for name, ratio in ratios(times).items():
            print(f"  {name:<55} {100 * (ratio - 1):+6.1f} %, afterwards {1e6 * later.get(name, 0):.0f} µs a step")
    machine = {"native": is_native(), "threads": threads, "torch": torch.__version__, "machine": platform.machine()}
    RESULTS.write_text(json.dumps({"machine": machine, "block": BLOCK, "cases": results}, indent=1) + "\n")


if __name__ == "__main__":
    chosen = CASES[int(sys.argv[2]) :][:1] if len(sys.argv) > 2 else CASES
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2, chosen)
