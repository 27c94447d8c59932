"""Monitor: observes a model on a probe while it trains, and leaves no trace in it."""

from cloudchamber.monitor.monitor import Monitor

__all__ = ["Monitor"]
