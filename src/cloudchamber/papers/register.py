"""The register of all exhibits of the four papers, the built ones and those that are still to be built.

Sections with experiments of their own but no figure are exhibits too, counted apart from the figures and tables.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec

import yaml

from cloudchamber._core.errors import InvalidInput
from cloudchamber.papers.exhibit import Exhibit

PAPERS = ("mlp2024", "zhou2022", "overview2025", "xu2024")


@dataclass(frozen=True)
class Entry:
    """A figure or table of a paper, or a section without one.

    Attributes:
        paper: key of the paper.
        name: "fig1", "tab1", "section7.1".
        title: what it shows.
        statement: what must hold.
    """

    paper: str
    name: str
    title: str
    statement: str

    @property
    def id(self) -> str:
        """The name of the exhibit in commands and folders."""
        return f"{self.paper}/{self.name}"

    @property
    def module(self) -> str:
        """The module that builds it, if there is one."""
        return f"cloudchamber.papers.{self.paper}.{self.name.replace('.', '_')}"

    @property
    def is_section(self) -> bool:
        """Whether it is a section, none of the figures and tables."""
        return self.name.startswith("section")

    @property
    def built(self) -> bool:
        """Whether there is code for it."""
        return find_spec(self.module.rpartition(".")[0]) is not None and find_spec(self.module) is not None


@cache
def entries() -> tuple[Entry, ...]:
    """Return all 98 figures and tables and 2 sections, paper by paper, in the papers' order.

    >>> len(entries()), sum(item.is_section for item in entries())
    (100, 2)
    """
    return tuple(
        Entry(paper, name, title, statement)
        for paper in PAPERS
        for name, (title, statement) in _statements(paper).items()
    )


def entry(name: str) -> Entry:
    """Return an exhibit's entry.

    Raises:
        InvalidInput: if there is none of this name; the message names the nearest.

    >>> entry("mlp2024/tab1").built
    True
    """
    known = {item.id: item for item in entries()}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        raise InvalidInput(
            f"an exhibit is a paper ({', '.join(PAPERS)}) and a figure or table of it; got {name!r}. "
            f"Remedy: {'try ' + ', '.join(near) if near else '`cloudchamber papers list` names all'}."
        )
    return known[name]


def chosen(names: Sequence[str]) -> tuple[Entry, ...]:
    """Return the entries of exhibits, a paper's name meaning all of its exhibits; none named = all.

    Raises:
        InvalidInput: if a name is unknown.

    >>> [item.id for item in chosen(["xu2024/tab1"])]
    ['xu2024/tab1']
    """
    of_papers = {paper: [item for item in entries() if item.paper == paper] for paper in PAPERS}
    found = [item for name in names for item in (of_papers[name] if name in of_papers else [entry(name)])]
    return tuple(dict.fromkeys(found)) if names else entries()


def load_exhibit(item: Entry) -> Exhibit:
    """Return an exhibit.

    Raises:
        InvalidInput: if it is still to be built.

    >>> load_exhibit(entry("mlp2024/tab1")).id
    'mlp2024/tab1'
    """
    if not item.built:
        raise InvalidInput(
            f"an exhibit that is run has code; got {item.id}, which is still to be built. "
            "Remedy: `cloudchamber papers list` marks those that are built."
        )
    return import_module(item.module).EXHIBIT


def _statements(paper: str) -> dict[str, list[str]]:
    text = files("cloudchamber.papers").joinpath("statements", f"{paper}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)
