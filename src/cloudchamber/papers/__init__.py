"""The papers as code: every figure and table is an exhibit with claims, runs, a drawing and a verdict."""

from cloudchamber.papers.cache import Interrupted, Run, RunCache
from cloudchamber.papers.exhibit import SCALES, Exhibit, Measured, Scale
from cloudchamber.papers.gallery import write_gallery
from cloudchamber.papers.ledger_lines import Line, ledger, ledger_text
from cloudchamber.papers.register import Entry, chosen, entries, entry, load_exhibit
from cloudchamber.papers.results import Result, Results
from cloudchamber.papers.running import is_current, run_exhibit
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.papers.words import exhibit_text, result_text

__all__ = [
    "SCALES",
    "Entry",
    "Exhibit",
    "Interrupted",
    "Line",
    "Measured",
    "Result",
    "Results",
    "Run",
    "RunCache",
    "Scale",
    "Study",
    "StudyRun",
    "chosen",
    "entries",
    "entry",
    "exhibit_text",
    "is_current",
    "ledger",
    "ledger_text",
    "load_exhibit",
    "result_text",
    "run_exhibit",
    "write_gallery",
]
