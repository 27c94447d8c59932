"""The gallery: one HTML page of all exhibits with figures, claims, verdicts, recipes, and how to run them again."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from string import Template

from cloudchamber._core.citations import PAPERS
from cloudchamber._core.files import write_text
from cloudchamber.claims import Claim, Verdict
from cloudchamber.papers.exhibit import Exhibit
from cloudchamber.papers.ledger_lines import Line, tally
from cloudchamber.papers.results import SVG_NAME, Result, Results
from cloudchamber.papers.words import numbers, rerun_command, run_words

PAGE_NAME = "index.html"
_TONES = {
    "reproduced": "good",
    "holds": "good",
    "partly reproduced": "partly",
    "not decidable": "partly",
    "not reproduced": "bad",
    "holds not": "bad",
}


def write_gallery(lines: Sequence[Line], results: Results) -> Path:
    """Write the page into the folder of results, beside the pictures that it shows, and return its path.

    Raises:
        FileAccess: if it cannot be written.
    """
    papers = "\n".join(_paper(paper, list(of)) for paper, of in groupby(lines, key=lambda line: line.entry.paper))
    page = files("cloudchamber.papers").joinpath("assets", "gallery.html").read_text(encoding="utf-8")
    path = results.folder / PAGE_NAME
    write_text(path, Template(page).substitute(tally=escape(tally(lines)), papers=papers))
    return path


def _paper(paper: str, lines: Sequence[Line]) -> str:
    shown = "\n".join(_article(line, line.exhibit) for line in lines if line.exhibit is not None)
    waiting = [[line.entry.name, line.entry.title, line.entry.statement] for line in lines if line.exhibit is None]
    table = _table(["to be built", "title", "what must hold"], [[escape(cell) for cell in row] for row in waiting])
    return f'<h2 id="{paper}">{escape(PAPERS[paper].name)}</h2>\n{shown}\n{table if waiting else ""}'


def _article(line: Line, exhibit: Exhibit) -> str:
    entry, result = line.entry, line.result
    parts = [
        f"<h3>{escape(entry.id)}: {escape(entry.title)}</h3>",
        f"<p>{_state(line.state)} <span class='muted'>{escape(line.reason)}</span></p>",
        f"<p>{escape(entry.statement)}</p>",
        f"<p class='muted small'>{escape(exhibit.settings)}</p>",
        _claims(exhibit) if result is None else _result(exhibit, result),
    ]
    scale = "laptop" if result is None else result.scale
    parts.append(f"<pre>{escape(rerun_command(entry.id, scale))}</pre>")
    return f'<article id="{entry.paper}-{entry.name}">\n' + "\n".join(parts) + "\n</article>"


def _result(exhibit: Exhibit, result: Result) -> str:
    words = f"{exhibit.id} at scale {result.scale}: {result.standing}"
    picture = f'<img src="{escape(result.exhibit)}/{result.scale}/{SVG_NAME}" alt="{escape(words)}" loading="lazy">'
    rows = [_row(claim, verdict) for claim, verdict in zip(result.claims, result.verdicts, strict=True)]
    table = _table(["verdict", "the paper says", "measured", "ours", "the paper's", "asked for"], rows)
    notes = "".join(f"<p>{escape(note)}</p>" for note in (*result.notes, exhibit.explanation) if note)
    runs = "\n".join(f"{name}: {run_words(note)}" for name, note in result.runs.items())
    run = f"<details><summary>What was run, {escape(result.when)}</summary><pre>{escape(runs)}</pre></details>"
    return "\n".join([picture, table, notes, run])


def _row(claim: Claim, verdict: Verdict) -> list[str]:
    asked = f"{claim.bounds} ({claim.over}; {claim.basis})"
    reason = f"{_state(verdict.outcome)}<br><span class='muted small'>{escape(verdict.reason)}</span>"
    cells = [f"{claim.statement} ({claim.source})", claim.quantity]
    figures = [numbers(verdict.values) or "–", numbers(verdict.paper) or "–"]
    return [reason, *map(escape, cells), *map(escape, figures), escape(asked)]


def _claims(exhibit: Exhibit) -> str:
    rows = [[escape(cell) for cell in (c.name, c.statement, c.quantity, c.bounds)] for c in exhibit.claims]
    return _table(["claim", "the paper says", "to be measured", "asked for"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first = "".join(f"<th scope='col'>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>"


def _state(words: str) -> str:
    return f"<span class='state {_TONES.get(words, 'none')}'>{escape(words)}</span>"
