"""Diagnosis: a record in; its phases, and findings with evidence and advice, out; runs side by side."""

from cloudchamber.diagnosis.compare import compare, named_records
from cloudchamber.diagnosis.comparison import Comparison
from cloudchamber.diagnosis.findings import diagnose
from cloudchamber.diagnosis.phase import Phase, Phases
from cloudchamber.diagnosis.phases import current_phase, find_phases
from cloudchamber.diagnosis.rule import PhaseRule

__all__ = [
    "Comparison",
    "Phase",
    "PhaseRule",
    "Phases",
    "compare",
    "current_phase",
    "diagnose",
    "find_phases",
    "named_records",
]
