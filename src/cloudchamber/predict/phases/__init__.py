"""The phase of a network of one's own: kernel, learning, frozen or unstable."""

from cloudchamber.predict.phases.change import Change, change_towards
from cloudchamber.predict.phases.first_steps import FirstSteps
from cloudchamber.predict.phases.mechanism import PairChange
from cloudchamber.predict.phases.network import phase
from cloudchamber.predict.phases.parametrised import LineStart, Parametrised
from cloudchamber.predict.phases.recipes import phase_recipe
from cloudchamber.predict.phases.report import PhaseReport

__all__ = [
    "Change",
    "FirstSteps",
    "LineStart",
    "PairChange",
    "Parametrised",
    "PhaseReport",
    "change_towards",
    "phase",
    "phase_recipe",
]
