"""The ledger of all exhibits: what each says, how it stands, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cloudchamber._core.errors import DamagedFile
from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.register import Entry, load_exhibit
from cloudchamber.papers.results import Result, Results

TO_BE_BUILT = "not run: to be built"
NO_RESULT = "not run"
CHANGED = "claims changed: run again"
OUTDATED = "recipes changed: run again"
DAMAGED = "result damaged: run again"


@dataclass(frozen=True)
class Line:
    """An exhibit in the ledger.

    Attributes:
        entry: of the register.
        state: how it stands, in words.
        exhibit: its code, None if it is to be built.
        result: the stored result that the state comes from.
        reason: what is wrong with the result.
    """

    entry: Entry
    state: str
    exhibit: Exhibit | None = None
    result: Result | None = None
    reason: str = ""

    @property
    def claims(self) -> str:
        """How many claims hold, of how many."""
        if self.result is None:
            return ""
        held = sum(verdict.outcome == "holds" for verdict in self.result.verdicts)
        return f"{held}/{len(self.result.verdicts)}"

    @property
    def sound(self) -> bool:
        """Whether the stored result, if there is one, is that of the claims and recipes as they are."""
        return self.state not in (CHANGED, OUTDATED, DAMAGED)


def ledger(chosen: Sequence[Entry], results: Results) -> tuple[Line, ...]:
    """Return a line per exhibit, read from the stored results at the largest scale."""
    return tuple(_line(entry, results) for entry in chosen)


def _line(entry: Entry, results: Results) -> Line:
    if not entry.built:
        return Line(entry, TO_BE_BUILT)
    exhibit = load_exhibit(entry)
    try:
        result = results.best(entry.id)
    except DamagedFile as error:
        return Line(entry, DAMAGED, exhibit, reason=str(error))
    if result is None:
        return Line(entry, NO_RESULT, exhibit)
    changed = result.changed_claims(exhibit)
    if changed:
        return Line(entry, CHANGED, exhibit, result, f"changed after the run: {', '.join(changed)}")
    others = result.changed_recipes(exhibit.recipes(result.scale))
    if others:
        return Line(entry, OUTDATED, exhibit, result, f"not what was run: {', '.join(others)}; then {result.standing}")
    return Line(entry, result.standing, exhibit, result)


def ledger_text(lines: Sequence[Line]) -> str:
    """Return the ledger as text: a row per exhibit, then the sums."""
    rows = [(line.entry.id, line.state, _scale(line), line.claims, line.entry.title) for line in lines]
    head = ("exhibit", "stands", "scale", "claims hold", "title")
    wrong = [f"{line.entry.id}: {line.reason}" for line in lines if line.reason]
    return "\n".join([*aligned([head, *rows]), "", tally(lines), *wrong])


def tally(lines: Sequence[Line]) -> str:
    """Return how many exhibits stand how, in words."""
    counts = Counter(line.state for line in lines)
    sections = sum(line.entry.is_section for line in lines)
    of = f"{len(lines) - sections} exhibits{f' and {sections} sections' if sections else ''}"
    return f"{of}: {', '.join(f'{count} {state}' for state, count in counts.most_common())}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines with even columns.

    >>> aligned([("a", "b"), ("long", "c")])
    ['a     b', 'long  c']
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _scale(line: Line) -> str:
    return "" if line.result is None else line.result.scale
