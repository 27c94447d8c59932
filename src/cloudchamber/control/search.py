"""The search for a plan: remedies tried one after the other on copies, until one does what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
import xarray as xr
from torch import nn

from cloudchamber._core.finding import Findings
from cloudchamber.control.candidates import Candidates
from cloudchamber.control.plan import Plan
from cloudchamber.control.remedy import Remedy
from cloudchamber.control.rescale import shrunk
from cloudchamber.control.samples import Batches, Samples
from cloudchamber.control.trial import Trial, attempt, copied
from cloudchamber.diagnosis import PhaseRule

UNMOVED = 0.01
"""Relative distance up to which weights have hardly moved, as in the diagnosis."""
LAZY = 0.05
"""Relative distance up to which the hidden weights of a run that learns count as lazy."""
FURTHER = 2.0
"""How many times as far weights are to move for a lazy run to be freed."""


@dataclass
class Search:
    """What trials need, and those that were made.

    Attributes:
        model: the model; copies of it are tried.
        optimizer: its optimizer.
        samples: the probe with its loss.
        batches: what trials are trained on, as the user gave it.
        size: samples in a part of the probe.
        seed: of their order.
        steps: the most updates of a trial.
        rule: the thresholds of the diagnosis.
        trials: those made so far.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    samples: Samples
    batches: Batches
    size: int
    seed: int
    steps: int
    rule: PhaseRule
    trials: list[Trial] = field(default_factory=list)

    def for_stuck(self, record: xr.Dataset, findings: Findings) -> Plan:
        """Return the plan for a run that is stuck."""
        candidates = Candidates.of(self._replica(), self.optimizer, self.samples)
        order = candidates.in_order(unmoved=furthest(record) < UNMOVED)
        best = self._first(order, lambda trial: trial.outcome == "moves")
        why = findings[findings.codes.index("stuck")].title
        if best is None:
            words = (
                f"{why} No remedy moved the loss in {max(trial.updates for trial in self.trials)} updates on a copy."
            )
            return self._plan("no remedy", words)
        if not best.remedies:
            words = f"{why} Without any change the loss leaves its plateau within {best.updates} more updates."
            return self._plan("train on", words)
        return self._plan("rescue", why, best.remedies)

    def for_lazy(self, record: xr.Dataset) -> Plan:
        """Return the plan for a run that learns without moving its hidden weights."""
        why = f"The run learns, but its hidden weights have moved by {furthest(record):.2g} of their size at most."
        smaller, candidates = shrunk(self._replica(), self.samples), Candidates.settings(self.optimizer)
        several = [[smaller], [smaller, candidates.momentum], [smaller, *candidates.larger_steps[:1]]]
        order = [tuple(one for one in some if one is not None) for some in several] if smaller is not None else []
        base = self._first([()], lambda _: True)
        far = FURTHER * (base.moved if base is not None else 0.0)
        best = self._first(order, lambda trial: trial.outcome == "moves" and trial.moved >= far)
        if best is None:
            return self._plan("no remedy", f"{why} Nothing that was tried made them move {FURTHER:g} times as far.")
        return self._plan("rescue", why, best.remedies)

    def _first(self, order: Iterable[tuple[Remedy, ...]], wanted: Callable[[Trial], bool]) -> Trial | None:
        level = (1 - self.rule.drop) * self.samples.constant_loss
        for remedies in order:
            stream = self.samples.batches(self.batches, self.size, self.seed)
            trial = attempt(self.model, self.optimizer, remedies, self.samples, stream, self.steps, level)
            self.trials.append(trial)
            if wanted(trial):
                return trial
        return None

    def _replica(self) -> nn.Module:
        return copied(self.model, self.optimizer)[0].eval()

    def _plan(self, verdict: str, words: str, remedies: tuple[Remedy, ...] = ()) -> Plan:
        return Plan(self.model, self.optimizer, verdict, words, remedies, self.trials)


def furthest(record: xr.Dataset) -> float:
    """Return how far the hidden layer that moved most has moved relative to its start; inf where nobody measured."""
    if "relative_distance" not in record or not record.sizes["layer"]:
        return float("inf")
    last = record["relative_distance"].isel(step=-1).values
    return float(max(last[:-1] if len(last) > 1 else last))


def is_lazy(record: xr.Dataset, rule: PhaseRule) -> bool:
    """Whether a run has left its plateau while its hidden weights hardly moved.

    >>> import numpy as np
    >>> values = {"probe_loss": ("step", [2.3, 0.5]), "constant_predictor_loss": 2.3}
    >>> far = ("step", "layer"), np.array([[0.0, 0.0], [0.01, 0.2]])
    >>> record = xr.Dataset({**values, "relative_distance": far}, coords={"step": [0, 9], "layer": ["a", "b"]})
    >>> is_lazy(record, PhaseRule())
    True
    """
    learned = float(record["probe_loss"].isel(step=-1)) < (1 - rule.drop) * float(record["constant_predictor_loss"])
    return learned and furthest(record) < LAZY
