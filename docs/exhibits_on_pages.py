"""What pages print of the stored results: figures, claims with both numbers, tables. Paths are those of the root."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cloudchamber.papers import Entry, Result, Results, entries, load_exhibit
from cloudchamber.papers.words import numbers

RESULTS = Results(Path("results"))
CLAIM_HEAD = ("verdict", "the paper says", "measured", "asked for", "the paper's", "ours")


def listed(paper: str) -> dict[str, Entry]:
    """Return the exhibits of a paper by name."""
    return {item.name: item for item in entries() if item.paper == paper}


def result_of(item: Entry) -> Result | None:
    """Return the result at the largest scale that was run."""
    return RESULTS.best(item.id) if item.built else None


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    lines = [head, ["---"] * len(head), *rows]
    print("\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines), end="\n\n")


def show(*ids: str) -> None:
    """Print of each exhibit its figure, its claims with both numbers, and what explains the differences."""
    for name in ids:
        paper, _, short = name.partition("/")
        item = listed(paper)[short]
        result = result_of(item)
        if result is None:
            print(f"**{short}: {item.title}.** Not run.\n")
        else:
            _show(item, result)


def overview(paper: str) -> None:
    """Print how many exhibits of a paper stand how."""
    found = {item: result_of(item) for item in listed(paper).values()}
    run = {item.name: result for item, result in found.items() if result is not None}
    sections = sum(item.is_section for item in found)
    words = f"{len(found) - sections} figures and tables{f' and {sections} sections' if sections else ''}"
    print(f"Of the paper's {words} {len(run)} have been run:\n")
    standings = dict.fromkeys(result.standing for result in run.values())
    of = {standing: [name for name, result in run.items() if result.standing == standing] for standing in standings}
    table(["stands", "how many", "which"], [[standing, len(names), ", ".join(names)] for standing, names in of.items()])


def values(row: Mapping[str, object], names: Sequence[str]) -> list[str]:
    """Return numbers of a row, "–" for what is missing, "a → b" for lists."""
    return [_value(row.get(name)) for name in names]


def _value(value: object) -> str:
    if isinstance(value, list):
        return " → ".join(map(_value, value))
    return numbers([value]) if isinstance(value, int | float) else str(value or "–")


def _show(item: Entry, result: Result) -> None:
    folder = f"../results/{item.id}/{result.scale}"
    title = f"{item.title}, at {result.scale}: {result.standing}"
    print(f"![{title}]({folder}/figure.png)\n")
    print(f"**{item.name}. {title}.** ([verdicts and recipes]({folder}/verdicts.json))\n")
    table(CLAIM_HEAD, _claims(result))
    explanation = load_exhibit(item).explanation
    print(f"{explanation}\n" if explanation else "")


def _claims(result: Result) -> list[list[str]]:
    return [
        [
            f"*{verdict.outcome}*",
            claim.statement,
            claim.quantity,
            claim.bounds,
            numbers(verdict.paper) or "–",
            numbers(verdict.values) or verdict.reason,
        ]
        for claim, verdict in zip(result.claims, result.verdicts, strict=True)
        if verdict.outcome != "not run"
    ]
