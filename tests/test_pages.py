"""Executed pages say what the stored results say."""

import importlib.util
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
SOURCES = sorted((DOCS / "pages").glob("*.py"))


@pytest.fixture
def make_pages(monkeypatch):
    """The script, loaded as if it were run."""
    monkeypatch.syspath_prepend(str(DOCS))
    described = importlib.util.spec_from_file_location("make_pages", DOCS / "make_pages.py")
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    yield module
    sys.modules.pop("exhibits_on_pages", None)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_page_is_what_its_source_prints_today(source, make_pages):
    page = (DOCS / f"{source.stem}.md").read_text(encoding="utf-8")
    assert make_pages.build(source) == page, "run: python docs/make_pages.py"


def test_cells_are_text_and_code_in_their_order(make_pages, tmp_path):
    source = tmp_path / "toy.py"
    source.write_text("# %% [markdown]\n# # Title\n#\n# text\n# %%\nx = 2\n# %% show\nprint(f'| {x + 1} |')\n")
    page = make_pages.build(source)
    assert page.split("\n\n")[1:] == ["# Title", "text", "```py\nprint(f'| {x + 1} |')\n```", "| 3 |\n"]
    assert "x = 2" not in page
