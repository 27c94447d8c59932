"""The register: 98 figures and tables and two sections, every built one in its place, and errors that help."""

from collections import Counter

import pytest

from cloudchamber import InvalidInput
from cloudchamber.papers import Study, chosen, entries, entry, load_exhibit
from cloudchamber.papers.register import PAPERS

BUILT = [item for item in entries() if item.built]


def test_there_are_98_exhibits_as_many_of_each_paper_as_it_has():
    figures = [item for item in entries() if not item.is_section]
    assert Counter(item.paper for item in figures) == {"mlp2024": 63, "zhou2022": 19, "overview2025": 10, "xu2024": 6}
    assert len({item.id for item in figures}) == 98


def test_sections_are_counted_apart_and_have_modules():
    sections = {item.id: item for item in entries() if item.is_section}
    assert list(sections) == ["overview2025/section7.1", "overview2025/section7.3"]
    assert sections["overview2025/section7.1"].module == "cloudchamber.papers.overview2025.section7_1"


def test_every_paper_has_all_figures_from_the_first_to_the_last():
    for paper in PAPERS:
        figures = sorted(
            int(item.name[3:]) for item in entries() if item.paper == paper and item.name.startswith("fig")
        )
        assert figures == list(range(1, len(figures) + 1))


@pytest.mark.parametrize("item", BUILT, ids=lambda item: item.id)
def test_a_built_exhibit_is_what_its_place_says_and_its_claims_name_their_source(item):
    exhibit = load_exhibit(item)
    assert exhibit.id == item.id
    for claim in exhibit.claims:
        assert claim.source.startswith(f"{item.paper}, ")
        assert claim.basis
        assert claim.statement.endswith(".")


@pytest.mark.parametrize("item", BUILT, ids=lambda item: item.id)
def test_a_laptop_run_has_the_seeds_that_its_claims_take(item):
    exhibit = load_exhibit(item)
    seeds = {seed for what in exhibit.recipes("laptop").values() for seed in _seeds(what)}
    assert max(claim.seeds for claim in exhibit.claims) <= len(seeds)


def _seeds(what):
    """A recipe has one seed; a study has one, or so many, or groups of them; one that says nothing counts as one."""
    if not isinstance(what, Study):
        return {what.seed}
    many = what.settings.get("seeds", what.settings.get("groups"))
    return {what.settings.get("seed", 0)} if many is None else range(many)


def test_a_misspelt_exhibit_names_the_nearest():
    with pytest.raises(InvalidInput, match="mlp2024/tab1"):
        entry("mlp2024/table1")


def test_names_of_papers_mean_all_of_theirs_and_nothing_is_named_twice():
    assert chosen([]) == entries()
    assert chosen(["xu2024", "xu2024/tab1"]) == tuple(item for item in entries() if item.paper == "xu2024")


def test_what_is_to_be_built_cannot_be_loaded():
    waiting = next(item for item in entries() if not item.built)
    with pytest.raises(InvalidInput, match="to be built"):
        load_exhibit(waiting)
