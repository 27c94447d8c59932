"""What observing costs: each measure timed on the user's own model and probe."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from cloudchamber.anatomy import Capture, undisturbed
from cloudchamber.measures import Measure
from cloudchamber.monitor.observer import Observer


@dataclass(frozen=True)
class MeasureCost:
    """The median time of one measure over all layers, by itself, in seconds, and how often it is taken."""

    name: str
    seconds: float
    frequency: str


@dataclass(frozen=True)
class Costs:
    """What an observation is made of, in seconds.

    Attributes:
        forward: one forward and backward pass of the model on the probe without an observer: the unit.
        capture: the pass over the probe, with the snapshots that the measures of every observation need.
        measures: one row per measure.
        observation: a whole observation between image steps.
        image_observation: a whole observation at an image step.
    """

    forward: float
    capture: float
    measures: tuple[MeasureCost, ...]
    observation: float
    image_observation: float

    def __str__(self) -> str:
        rows = [
            ("a plain forward and backward pass on the probe", self.forward, ""),
            ("the pass with snapshots", self.capture, "every observation"),
            *((cost.name, cost.seconds, cost.frequency) for cost in sorted(self.measures, key=lambda c: -c.seconds)),
            ("one observation, all together", self.observation, "every observation"),
            ("one observation with images", self.image_observation, "image steps"),
        ]
        wide = max(len(name) for name, *_ in rows)
        lines = [
            f"{name:<{wide}}  {1e3 * t:8.2f} ms  {t / self.forward:7.2f} passes  {often}" for name, t, often in rows
        ]
        return "\n".join(lines)


def measured_costs(observer: Observer, repeats: int = 5) -> Costs:
    """Time the parts of an observation; the model is not changed, and nothing is recorded."""
    with undisturbed(observer.target.probe.device):
        every, usual = observer.evaluation.measures, observer.evaluation.due(images=False, rare=False)
        seen, shuffled = observer.captures(*observer.evaluation.due(images=True, rare=True))
        return Costs(
            forward=_median(lambda: _plain_pass(observer), repeats),
            capture=_median(lambda: observer.captures(*usual), repeats),
            measures=tuple(_cost(observer, measure, seen, shuffled, repeats) for measure in every),
            observation=_median(lambda: observer.observe(0, images=False, rare=False), repeats),
            image_observation=_median(lambda: observer.observe(0, images=True, rare=True), repeats),
        )


def _cost(observer: Observer, measure: Measure, seen: Capture, shuffled: Capture | None, repeats: int) -> MeasureCost:
    alone = replace(observer.evaluation, measures=(measure,))

    def evaluate() -> None:
        with torch.no_grad():
            alone.values(seen, images=True, rare=True, shuffled=shuffled if measure.shuffled else None)

    return MeasureCost(measure.name, _median(evaluate, repeats), measure.frequency)


def _plain_pass(observer: Observer) -> None:
    target = observer.target
    outputs = target.forward(target.model, target.probe.inputs)
    trained = [parameter for parameter in target.model.parameters() if parameter.requires_grad]
    if trained:
        torch.autograd.grad(observer.sample_loss.summed(outputs), trained, allow_unused=True)


def _median(work: Callable[[], object], repeats: int) -> float:
    work()
    return statistics.median(_seconds(work) for _ in range(max(repeats, 1)))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
