"""Results: kept whole, read back equal, their claims sealed, their history remembered; the ledger and the gallery."""

import html.parser
import json
from dataclasses import replace

import pytest
import toy

from cloudchamber import DamagedFile
from cloudchamber.papers import entries, entry, is_current, ledger, ledger_text, result_text, run_exhibit, write_gallery
from cloudchamber.papers.ledger_lines import CHANGED, DAMAGED, NO_RESULT, OUTDATED, TO_BE_BUILT, Line
from cloudchamber.papers.results import PNG_NAME, SVG_NAME, VERDICTS_NAME


@pytest.fixture
def toy_entry(monkeypatch):
    """The register with the toy in the place of a built exhibit."""
    shown = {"exhibit": toy.TOY}
    monkeypatch.setattr("cloudchamber.papers.ledger_lines.load_exhibit", lambda _: shown["exhibit"])
    return shown


def verdicts_file(results, scale="laptop"):
    return results.place(toy.TOY.id, scale) / VERDICTS_NAME


def test_a_result_is_read_back_as_it_was_kept(cache, results):
    result = run_exhibit(toy.TOY, "laptop", cache, results)
    assert results.load(toy.TOY.id, "laptop") == result
    assert results.arrays(toy.TOY.id, "laptop").ratio.shape == (1,)
    folder = results.place(toy.TOY.id, "laptop")
    assert {path.name for path in folder.iterdir()} == {"verdicts.json", "arrays.nc", "figure.png", "figure.svg"}
    assert (folder / PNG_NAME).read_bytes().startswith(b"\x89PNG")
    stored = json.loads(verdicts_file(results).read_text())
    assert stored["claims"][0]["fingerprint"] == toy.CLAIM.fingerprint
    assert stored["runs"]["seed 0"]["environment"]["threads"] == 1
    assert stored["runs"]["seed 0"]["recipe"]["model"] == {"name": "mlp", "depth": 3, "width": 8}


def test_running_again_gives_the_same_pictures_and_remembers_what_was_said(cache, results):
    first = run_exhibit(toy.TOY, "laptop", cache, results)
    picture = (results.place(toy.TOY.id, "laptop") / SVG_NAME).read_bytes()
    second = run_exhibit(toy.TOY, "laptop", cache, results)
    assert (results.place(toy.TOY.id, "laptop") / SVG_NAME).read_bytes() == picture
    assert second.history == (first.as_history(),)
    assert second.history[0]["verdicts"]["falls"]["fingerprint"] == toy.CLAIM.fingerprint


def test_a_claim_changed_after_its_run_is_seen(cache, results, toy_entry):
    run_exhibit(toy.TOY, "laptop", cache, results)
    assert is_current(toy.TOY, "laptop", results)
    assert not is_current(toy.CHANGED, "laptop", results)
    toy_entry["exhibit"] = toy.CHANGED
    (line,) = ledger([entry(toy.TOY.id)], results)
    assert (line.state, line.sound) == (CHANGED, False)
    assert "falls" in line.reason


def test_a_recipe_changed_after_its_run_is_seen(cache, results, toy_entry):
    run_exhibit(toy.TOY, "laptop", cache, results)
    other = replace(toy.TOY, recipes=lambda scale: {"seed 0": toy.small_recipe("seed=5")})
    assert not is_current(other, "laptop", results)
    assert not is_current(toy.TOY, "paper", results)
    toy_entry["exhibit"] = other
    (line,) = ledger([entry(toy.TOY.id)], results)
    assert (line.state, line.sound) == (OUTDATED, False)
    assert "seed 0" in line.reason


def test_a_verdict_whose_claim_was_edited_in_the_file_is_damage(cache, results, toy_entry):
    run_exhibit(toy.TOY, "laptop", cache, results)
    path = verdicts_file(results)
    stored = json.loads(path.read_text())
    stored["claims"][0]["at_most"] = 100.0
    path.write_text(json.dumps(stored))
    with pytest.raises(DamagedFile, match="fingerprint"):
        results.load(toy.TOY.id, "laptop")
    (line,) = ledger([entry(toy.TOY.id)], results)
    assert line.state == DAMAGED
    path.write_text("{")
    assert ledger([entry(toy.TOY.id)], results)[0].state == DAMAGED


def test_smoke_judges_nothing_and_is_no_result_of_the_ledger(cache, results, toy_entry):
    result = run_exhibit(toy.TOY, "smoke", cache, results)
    assert [verdict.outcome for verdict in result.verdicts] == ["not decidable"]
    assert results.best(toy.TOY.id) is None
    assert ledger([entry(toy.TOY.id)], results)[0].state == NO_RESULT


def test_data_that_are_not_there_are_replaced_at_smoke_alone_and_the_result_says_so(cache, results):
    pictures = replace(toy.TOY, recipes=lambda scale: {"seed 0": toy.small_recipe("data.name=mnist")})
    result = run_exhibit(pictures, "smoke", cache, results)
    assert result.notes == ("digits instead of mnist, which is not on this machine",)
    assert "digits" in result_text(pictures, result, results.arrays(pictures.id, "smoke"))
    assert result.runs["seed 0"].recipe["data"] == {"name": "digits"}


def test_the_ledger_has_a_line_for_each_and_a_sum(cache, results, toy_entry):
    run_exhibit(toy.TOY, "laptop", cache, results)
    waiting = next(item for item in entries() if not item.built)
    lines = ledger([entry(toy.TOY.id), waiting], results)
    assert [line.state for line in lines] == ["reproduced", TO_BE_BUILT]
    text = ledger_text(lines)
    assert "1/1" in text
    assert f"2 exhibits: 1 reproduced, 1 {TO_BE_BUILT}" in text


class Page(html.parser.HTMLParser):
    """Collects what matters of the gallery; complains about tags that do not match."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        if tag == "img":
            assert found["alt"]
            self.images.append(found["src"])
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_gallery_shows_every_figure_with_its_claims_and_the_command(cache, results, toy_entry):
    odd = replace(toy.TOY, settings="<b>&", explanation="because <i>")
    result = run_exhibit(odd, "laptop", cache, results)
    lines = [Line(entry(odd.id), result.standing, odd, result), *ledger([entry("xu2024/tab1")], results)[:1]]
    path = write_gallery(lines, results)
    text, page = path.read_text(encoding="utf-8"), Page()
    page.feed(text)
    assert page.open == []
    assert "mlp2024-fig1" in page.ids
    assert all((path.parent / image).is_file() for image in page.images)
    assert len(page.images) == 1 + (lines[1].exhibit is not None and lines[1].result is not None)
    for words in (
        "The loss falls.",
        "cloudchamber papers run mlp2024/fig1 --scale laptop",
        "&lt;b&gt;&amp;",
        "because &lt;",
    ):
        assert words in text
