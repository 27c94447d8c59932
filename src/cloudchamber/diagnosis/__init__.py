"""Diagnosis: a record in; its phases, and findings with evidence and advice, out."""

from cloudchamber.diagnosis.findings import diagnose
from cloudchamber.diagnosis.phase import Phase, Phases
from cloudchamber.diagnosis.phases import current_phase, find_phases
from cloudchamber.diagnosis.rule import PhaseRule

__all__ = ["Phase", "PhaseRule", "Phases", "current_phase", "diagnose", "find_phases"]
