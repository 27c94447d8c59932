"""Control: what frees a training run that is stuck."""

from cloudchamber.control.plan import Plan
from cloudchamber.control.rescue import rescue
from cloudchamber.control.runs import (
    RunRescue,
    StuckRun,
    initialization_of,
    plan_for_run,
    rescue_planned,
    rescue_run,
)
from cloudchamber.control.watching import Rescuer, StopWhenStuck

__all__ = [
    "Plan",
    "Rescuer",
    "RunRescue",
    "StopWhenStuck",
    "StuckRun",
    "initialization_of",
    "plan_for_run",
    "rescue",
    "rescue_planned",
    "rescue_run",
]
