"""The documentation tells the truth: its code runs, its links lead somewhere, its tables are those of the registry."""

import math
import re
from pathlib import Path

import pytest
from made_up import made_up_record

import cloudchamber as cc
from cloudchamber._core.registry import quantities
from cloudchamber.measures import GROUPS, MeasureRow, describe

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md"))}
MEASURES = PAGES["measures.md"]
ROWS = {row.name: row for row in describe()}
ENDINGS = {"_shuffled", "_permuted", "_null"}
TAKEN = {"every": "every observation", "image steps": "image steps", "20 steps": "at most 20 steps"}


def code_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def table_cells(text: str) -> list[list[str]]:
    """Return the cells of every row of every table whose first cell is a name in code font."""
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if re.match(r"\| `\w+` \|", line)]
    return [[cell.strip() for cell in row] for row in rows]


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def range_in_words(bounds: tuple[float, float]) -> str:
    low, high = ({math.pi: "π", -math.pi: "−π", -1.0: "−1"}.get(bound, f"{bound:.0f}") for bound in bounds)
    if math.inf in bounds:
        return "any" if -math.inf in bounds else f"{low} …"
    return f"{low} … {high}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory in which there is a run, as the pages assume."""
    (tmp_path / "run").mkdir()
    cc.save_record(made_up_record([0, 10, 20], [2.3, 2.2, 1.0], image_steps=[0]), tmp_path / "run" / "record.nc")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if code_blocks(text)])
@pytest.mark.usefixtures("folder")
def test_the_code_of_a_page_runs_from_top_to_bottom(page):
    names = {"__name__": page}
    for number, block in enumerate(code_blocks(PAGES[page]), 1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_to_files_and_headings_that_exist(page):
    prose = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose):
        path, _, anchor = target.partition("#")
        file = DOCS / path if path else DOCS / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def test_every_measure_has_a_row_and_every_row_is_a_measure_or_a_group():
    in_tables = {cells[0].strip("`") for cells in table_cells(MEASURES)} - set(GROUPS) - ENDINGS
    assert in_tables == set(ROWS)


def test_every_null_that_the_page_names_exists():
    named = set(re.findall(r"`(\w+_null)`", MEASURES))
    assert named
    assert named <= {item.name for item in quantities()}


@pytest.mark.parametrize("cells", [cells for cells in table_cells(MEASURES) if len(cells) == 7], ids=lambda c: c[0])
def test_a_row_says_what_the_registry_says(cells):
    name, _, bounds, taken, cost, groups, source = cells
    row: MeasureRow = ROWS[name.strip("`")]
    assert bounds == range_in_words(row.bounds)
    assert TAKEN[taken] == row.frequency
    assert groups.split() == list(row.groups)
    assert source == row.source
    assert float(cost) >= 0


def test_every_measure_that_is_no_shuffled_null_has_a_full_row():
    full = [cells[0].strip("`") for cells in table_cells(MEASURES) if len(cells) == 7]
    assert sorted(full) == sorted(name for name in ROWS if not name.endswith("_shuffled"))
