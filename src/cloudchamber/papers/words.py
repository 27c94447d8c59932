"""An exhibit and its result in words: for the terminal, and for the gallery's alternative texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from cloudchamber.claims import Claim, Verdict
from cloudchamber.papers.exhibit import Exhibit, Scale
from cloudchamber.papers.register import Entry
from cloudchamber.papers.results import Result, RunNote


def exhibit_text(entry: Entry, exhibit: Exhibit) -> str:
    """Return what an exhibit is and claims."""
    claims = [f"  {claim.name}: {claim.statement}\n{_measured_as(claim)}" for claim in exhibit.claims]
    return "\n".join([f"{entry.id}  {entry.title}", f"  {entry.statement}", f"  {exhibit.settings}", *claims])


def result_text(exhibit: Exhibit, result: Result, arrays: xr.Dataset) -> str:
    """Return the verdicts with both numbers, the table if the exhibit is one, and what was run."""
    table = [exhibit.table(arrays), ""] if exhibit.table is not None else []
    verdicts = [verdict_text(claim, found) for claim, found in zip(result.claims, result.verdicts, strict=True)]
    runs = [f"  {name}: {run_words(note)}" for name, note in result.runs.items()]
    head = f"{result.exhibit} at {result.scale}: {result.standing} ({result.when}, measured in {result.seconds:.0f} s)"
    explanation = [exhibit.explanation] if exhibit.explanation else []
    return "\n".join([*table, head, *result.notes, *verdicts, *explanation, "runs:", *runs])


def verdict_text(claim: Claim, verdict: Verdict) -> str:
    """Return a verdict with both numbers.

    >>> claim = Claim("ratio", "tenfold", "S_1/S_2", "the paper's words", "mlp2024, Figure 3", 10.0, paper=(10.0,))
    >>> from cloudchamber.claims import check
    >>> print(verdict_text(claim, check(claim, [12.0, 13.5, 11.0])))
      [holds] ratio: tenfold
          S_1/S_2: ours 12, 13.5, 11; the paper's 10; asked for: at least 10 for every seed; all of 3 seeds within
    """
    paper = f"the paper's {numbers(verdict.paper)}" if verdict.paper else "the paper gives no number"
    ours = f"ours {numbers(verdict.values)}" if verdict.values else "ours: none"
    asked = f"asked for: {claim.bounds} for {_over(claim)}"
    return (
        f"  [{verdict.outcome}] {claim.name}: {claim.statement}\n"
        f"      {claim.quantity}: {ours}; {paper}; {asked}; {verdict.reason}"
    )


def numbers(values: Sequence[float]) -> str:
    """Return numbers with three digits, or all of those before the point.

    >>> numbers([0.12345, 1290.0])
    '0.123, 1290'
    """
    return ", ".join(f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}" for value in values)


def run_words(note: RunNote) -> str:
    """Return a run in one line: its recipe beyond the defaults, its machine, its time."""
    machine = note.environment
    where = f"torch {machine.get('torch')}, {machine.get('threads')} thread(s), {machine.get('device')}"
    return f"{_compact(note.recipe)}  [{note.key}; {note.seconds:.0f} s; {where}]"


def rerun_command(exhibit: str, scale: Scale) -> str:
    """Return the command that runs an exhibit again."""
    return f"cloudchamber papers run {exhibit} --scale {scale}"


def _over(claim: Claim) -> str:
    return claim.over.replace("mean", "the mean")


def _measured_as(claim: Claim) -> str:
    seeds = "1 seed" if claim.seeds == 1 else f"{claim.seeds} seeds"
    return f"      {claim.quantity}: {claim.bounds} for {_over(claim)}, {seeds} ({claim.basis}; {claim.source})"


def _compact(recipe: Mapping[str, Any]) -> str:
    parts = [f"{name}={_value(value)}" for name, value in recipe.items()]
    return " ".join(parts)


def _value(value: Any) -> str:
    return "{" + _compact(value) + "}" if isinstance(value, Mapping) else json.dumps(value)
