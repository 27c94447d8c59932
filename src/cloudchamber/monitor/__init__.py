"""The monitor: observes a model while it trains, without disturbing it."""

from cloudchamber.monitor.cost import Costs
from cloudchamber.monitor.monitor import Monitor
from cloudchamber.monitor.schedule import Schedule, logarithmic

__all__ = ["Costs", "Monitor", "Schedule", "logarithmic"]
