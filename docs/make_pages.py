"""Build the executed pages: docs/NAME.md from the cells of docs/pages/NAME.py and the stored results.

Run: python docs/make_pages.py

A source is a notebook in percent format, as Jupyter and editors open it: `# %% [markdown]` before text (comment lines),
`# %%` before code. Code runs from top to bottom, in the repository's root; what it prints becomes part of the page, as
Markdown. A code cell whose mark reads `# %% show` is shown above its output.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
SOURCES = DOCS / "pages"
_MARK = re.compile(r"^# %%(.*)$", re.MULTILINE)


def build(source: Path) -> str:
    """Run a source and return its page."""
    names: dict[str, Any] = {"__name__": source.stem}
    parts = [f"<!-- built by docs/make_pages.py from docs/pages/{source.name}: do not edit -->"]
    with chdir(DOCS.parent):
        for kind, text in cells(source.read_text(encoding="utf-8")):
            parts.extend(_markdown(text) if kind == "[markdown]" else _executed(text, names, shown=kind == "show"))
    return "\n\n".join(part for part in parts if part) + "\n"


def cells(text: str) -> Iterator[tuple[str, str]]:
    """Return kind and text of each cell."""
    marks = list(_MARK.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=True):
        yield mark.group(1).strip(), text[mark.end() : end].strip("\n")


def _markdown(text: str) -> list[str]:
    return ["\n".join(line.removeprefix("#").removeprefix(" ") for line in text.splitlines())]


def _executed(text: str, names: dict[str, Any], *, shown: bool) -> list[str]:
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(text, "a cell", "exec"), names)
    return [f"```py\n{text.strip()}\n```" if shown else "", printed.getvalue().strip()]


def main() -> None:
    """Build every page."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    for source in sorted(SOURCES.glob("*.py")):
        (DOCS / source.with_suffix(".md").name).write_text(build(source), encoding="utf-8")


if __name__ == "__main__":
    main()
