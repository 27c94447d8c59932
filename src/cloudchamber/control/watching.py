"""Callbacks that notice a plateau while a model trains, and propose or apply a rescue."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber._core.record import RecordBuffer
from cloudchamber.control.plan import Plan
from cloudchamber.control.rescue import rescue
from cloudchamber.diagnosis import PhaseRule, find_phases
from cloudchamber.monitor import Monitor
from cloudchamber.monitor.losses import Loss
from cloudchamber.training import Recipe

_log = logging.getLogger("cloudchamber")


class Rescuer:
    """Looks at a monitor's record while a loop of one's own trains, and rescues the run when it is stuck.

    Args:
        model: the model.
        optimizer: its optimizer; a scheduler that sets the learning rate anew undoes a remedy that changes it.
        monitor: of that model, entered.
        probe: (inputs, targets), as the monitor's.
        loss: as in training.
        apply: whether plans are applied, or only proposed.
        every: observations between two looks.
        at_most: rescues that are applied.
        rule: the thresholds of the diagnosis.
        options: further arguments of `rescue` (batches, trial_steps, forward, …).

    Attributes:
        plans: (step, plan) of every plan so far.

    Raises:
        InvalidInput: if `every` or `at_most` is no positive whole number; when it looks, as `rescue`.

    >>> import cloudchamber as cc
    >>> from cloudchamber.models import MLP
    >>> model, x, y = MLP(4, 3, depth=2, width=8), torch.randn(30, 4), torch.arange(30) % 3
    >>> sgd, loss = torch.optim.SGD(model.parameters(), lr=0.1), nn.functional.cross_entropy
    >>> with cc.Monitor(model, probe=(x, y), loss=loss, every=10) as monitor:
    ...     rescuer = Rescuer(model, sgd, monitor, probe=(x, y), loss=loss, apply=True)
    ...     for step in range(1, 31):
    ...         sgd.zero_grad()
    ...         loss(model(x), y).backward()
    ...         sgd.step()
    ...         _ = monitor.observe(step)
    ...         _ = rescuer.look()
    >>> rescuer.plans
    []
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        monitor: Monitor,
        *,
        probe: tuple[Any, Tensor],
        loss: Loss,
        apply: bool = False,
        every: int = 10,
        at_most: int = 3,
        rule: PhaseRule | None = None,
        **options: Any,
    ) -> None:
        for name, value in (("every", every), ("at_most", at_most)):
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            require(whole, f"`{name}` is a whole number, 1 or more", repr(value), "leave it out")
        self._model, self._optimizer, self._monitor = model, optimizer, monitor
        self._options = {"probe": probe, "loss": loss, "rule": rule, **options}
        self._rule = rule or PhaseRule()
        self._apply, self._every, self._at_most = apply, every, at_most
        self._seen, self._rest_until = 0, 0
        self.plans: list[tuple[int, Plan]] = []

    def look(self) -> Plan | None:
        """Look at the record; call it after `monitor.observe`, at every step if you like.

        Returns:
            A new plan if the run is stuck and there was none within the last `stuck_steps` steps, applied if it was
            asked for; else None.
        """
        buffer = self._monitor.buffer
        applied = sum(plan.applied > 0 for _, plan in self.plans)
        if not self._is_due(buffer) or applied >= self._at_most or not _is_stuck(buffer, self._rule):
            return None
        plan = rescue(self._model, self._optimizer, buffer.dataset(images=False), **self._options)
        self._rest_until = buffer.last_step + self._rule.stuck_steps
        self.plans.append((buffer.last_step, plan))
        _log.info("At step %d: %s", buffer.last_step, plan)
        if self._apply and plan.remedies:
            plan.apply()
        return plan

    def _is_due(self, buffer: RecordBuffer) -> bool:
        count = len(buffer.observations)
        if count < self._seen + self._every or buffer.last_step < self._rest_until:
            return False
        self._seen = count
        return True


class StopWhenStuck:
    """A callback of a recipe's run that notices that it is stuck; with `stop` it ends the run after a checkpoint.

    The run can then be rescued: `rescue_run(folder, out)`, or `cloudchamber rescue RUN`.

    Args:
        stop: whether to end the run; else it only says so (level WARNING of the logger "cloudchamber").
        every: observations between two looks.
        rule: the thresholds of the diagnosis.

    Attributes:
        stuck_at: the step at which the run was found stuck; None so far.
        stop: whether the run is to end.
    """

    def __init__(self, *, stop: bool = True, every: int = 10, rule: PhaseRule | None = None) -> None:
        self._stops, self._every, self._rule = stop, every, rule or PhaseRule()
        self._seen = 0
        self.stuck_at: int | None = None
        self.stop = False

    def started(self, recipe: Recipe, step: int) -> None:
        """Nothing to do."""

    def updated(self, step: int, loss: float) -> None:
        """Nothing to do."""

    def observed(self, buffer: RecordBuffer) -> None:
        """Look at the record."""
        count = len(buffer.observations)
        if self.stuck_at is not None or count < self._seen + self._every:
            return
        self._seen = count
        if _is_stuck(buffer, self._rule):
            self.stuck_at, self.stop = buffer.last_step, self._stops
            _log.warning("The run is stuck at step %d: `cloudchamber rescue` on its folder.", buffer.last_step)


def _is_stuck(buffer: RecordBuffer, rule: PhaseRule) -> bool:
    return find_phases(buffer.dataset(images=False), rule=rule).status == "stuck"
