"""Registry, findings, citations, errors and seeds."""

import random

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from unchecked import TYPES_ARE_CHECKED

import cloudchamber as cc
from cloudchamber import measures
from cloudchamber._core import registry
from cloudchamber._core.citations import PAPERS, cite
from cloudchamber._core.errors import CloudchamberError, InvalidInput, require
from cloudchamber._core.finding import Evidence, Finding, Findings
from cloudchamber._core.registry import Quantity, quantities, quantity, register
from cloudchamber._core.seeding import derive_seed, generator, preserved_random_state

# registry


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_QUANTITIES", {})


@pytest.mark.usefixtures("own_registry")
def test_a_quantity_is_found_under_its_name():
    first, second = Quantity("b", "in words", "B", ()), Quantity("a", "in words", "A", ("step",))
    assert register(first) is first
    register(second)
    assert quantity("b") is first
    assert quantities() == (second, first)
    register(Quantity("b", "in words", "B", ()))  # the same once more is no error


@pytest.mark.usefixtures("own_registry")
def test_a_name_has_one_meaning_and_a_source_is_known():
    register(Quantity("a", "in words", "A", ()))
    with pytest.raises(InvalidInput, match="one meaning; got a"):
        register(Quantity("a", "in other words", "A", ()))
    with pytest.raises(InvalidInput, match="paper is one of"):
        register(Quantity("b", "in words", "B", (), paper="nobody1999"))
    with pytest.raises(InvalidInput, match="got c"):
        quantity("c")
    assert [item.name for item in quantities()] == ["a"]


def test_every_registered_quantity_is_described():
    assert {measure.quantity.name for measure in measures.select()} <= {item.name for item in quantities()}
    for item in quantities():
        assert item.long_name
        assert item.symbol
        assert item.bounds[0] < item.bounds[1]
        assert item.source == ", ".join(part for part in (item.paper, item.section) if part)


# citations


@pytest.mark.parametrize("key", PAPERS)
def test_every_paper_has_an_entry_under_its_key(key):
    paper = PAPERS[key]
    assert paper.bibtex.startswith("@")
    assert f"{{{key}," in paper.bibtex
    assert paper.bibtex.count("{") == paper.bibtex.count("}")
    assert paper.name.endswith(")")


def test_citing_a_record_gives_its_sources_and_the_software():
    text = cite(xr.Dataset(attrs={"citations": "zhou2022 mlp2024 zhou2022"}))
    assert [line.partition("{")[2].strip(",") for line in text.splitlines() if line.startswith("@")] == [
        "mlp2024",
        "zhou2022",
        "cloudchamber",
    ]
    assert cite(xr.Dataset()).count("@") == 1


def test_citing_an_unknown_source_is_refused():
    with pytest.raises(InvalidInput, match="got nobody1999"):
        cite(xr.Dataset(attrs={"citations": "nobody1999"}))


# errors


def test_errors_state_rule_value_and_remedy_and_are_one_family():
    with pytest.raises(ValueError, match=r"^x is 1; got 2\. Remedy: pass 1\.$") as caught:
        require(False, "x is 1", 2, "pass 1")
    assert isinstance(caught.value, CloudchamberError)
    assert issubclass(cc.DamagedFile, CloudchamberError)
    assert issubclass(cc.FileAccess, OSError)
    assert issubclass(cc.Unsupported, TypeError)


# findings


FULL = Finding(
    code="stuck",
    title="The run is stuck <at> 2.30 & stays",
    severity="problem",
    confidence="high",
    because="the loss has not moved",
    layers=("a", "b<1>"),
    steps=(10, 500),
    evidence=(Evidence("probe_loss", 2.3001, 2.302585, "of the constant"), Evidence("drop", float("nan"))),
    advice=("raise the learning rate", "normalize"),
    source="mlp2024, Section 4",
)
BARE = Finding(code="fine", title="Nothing to say", severity="good", confidence="low")


def test_a_finding_reads_well_in_a_terminal():
    assert str(FULL).splitlines() == [
        "[problem] The run is stuck <at> 2.30 & stays",
        "    how sure   high confidence: the loss has not moved",
        "    where      a, b<1>",
        "    when       steps 10 to 500",
        "    evidence   probe_loss 2.3 against 2.303 (of the constant)",
        "    evidence   drop nan",
        "    advice     raise the learning rate",
        "    advice     normalize",
        "    source     mlp2024, Section 4",
    ]
    assert str(BARE).splitlines() == ["[good] Nothing to say", "    how sure   low confidence"]


def test_a_finding_is_escaped_in_a_notebook():
    page = FULL._repr_html_()
    assert "&lt;at&gt; 2.30 &amp; stays" in page
    assert "b&lt;1&gt;" in page
    assert "<at>" not in page
    assert "Where" not in BARE._repr_html_()


def test_findings_are_a_sequence():
    findings = Findings([FULL, BARE])
    assert findings.codes == ("stuck", "fine")
    assert len(findings) == 2
    assert findings[0] is FULL
    assert list(findings) == [FULL, BARE]
    assert isinstance(findings[:1], Findings)
    assert findings[:1].codes == ("stuck",)
    assert repr(findings) == "<Findings: stuck, fine>"
    assert str(findings) == f"{FULL}\n\n{BARE}"
    assert findings._repr_html_() == FULL._repr_html_() + BARE._repr_html_()
    assert not Findings([])


# seeds


WORD = st.text("abcdefghij_", min_size=1, max_size=8)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), WORD, WORD)
def test_seeds_of_other_runs_and_purposes_differ(seed, other, purpose, another):
    assert derive_seed(seed, purpose) == derive_seed(seed, purpose)
    assert 0 <= derive_seed(seed, purpose) < 2**63
    if seed != other:
        assert derive_seed(seed, "order") != derive_seed(other, "order")
    if purpose != another:
        assert derive_seed(seed, purpose) != derive_seed(seed, another)


def test_a_generator_is_its_own_stream():
    draws = [torch.randn(3, generator=generator(0, "order", epoch)) for epoch in (1, 2, 1)]
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])


def states():
    python = () if TYPES_ARE_CHECKED else random.getstate()
    return python, np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


@pytest.mark.parametrize("error", [None, KeyError])
def test_every_random_stream_is_put_back(error):
    before = states()
    try:
        with preserved_random_state([torch.device("cpu")]):
            random.seed(1), np.random.seed(1), torch.manual_seed(1)
            random.random(), np.random.rand(), torch.rand(1)
            if error is not None:
                raise error
    except KeyError:
        pass
    assert states() == before


def test_inside_the_streams_go_on_from_where_they_were():
    torch.manual_seed(3)
    with preserved_random_state():
        inside = torch.rand(4)
    assert torch.equal(inside, torch.rand(4))
