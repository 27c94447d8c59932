"""Control: what frees a training run that is stuck."""

from cloudchamber.control.plan import Plan
from cloudchamber.control.rescue import rescue

__all__ = ["Plan", "rescue"]
