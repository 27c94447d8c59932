"""The written page: its content, that nothing in it can run or be fetched, and that it is whole or absent."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from made_up import made_up_record
from plotly.offline import get_plotlyjs

from cloudchamber._core.citations import cite
from cloudchamber._core.errors import FileAccess
from cloudchamber._core.finding import Findings
from cloudchamber.reporting import write_report

from .conftest import ATTACK, FINDINGS, full_record

FETCHING = {"src", "srcset", "href", "action", "data", "poster", "background", "formaction"}


class Page(HTMLParser):
    """Elements, attributes and visible text of a page; the texts of its scripts apart."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.words, self.ids = [], [], [], [], {}
        self._open, self._id = [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag in ("script", "style"):
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._open.pop()

    def handle_data(self, data):
        if not self._open:
            self.words.append(data)
        elif self._open[-1][0] == "script":
            self.scripts.append((self._open[-1][1], data))

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    @property
    def data(self):
        return next(json.loads(data) for attrs, data in self.scripts if attrs.get("id") == "data")


@pytest.fixture(scope="module")
def full(pages):
    return Page(pages["full"].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def attacked(pages):
    return Page(pages["hostile"].read_text(encoding="utf-8"))


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def test_the_verdict_is_the_worst_finding(full):
    assert full.text.startswith("Training is stuck on its first plateau. – cloudchamber")
    assert "1 problem, 1 good sign." in full.text


def test_what_was_run_is_told_in_words(full):
    assert "4-layer MLP, 32 neurons wide, on digits. Trained with SGD, learning rate 0.1." in full.text
    assert "Observed 41 times, from step 0 to step 400." in full.text


def test_a_finding_is_told_with_its_evidence_and_advice(full):
    told = "medium confidence only 400 steps were observed", "linear2 · steps 0 to 400", "2.301 against 2.303"
    for words in (*told, "(the best constant output)", "Use momentum 0.9.", "Source: mlp2024, Section 3"):
        assert words in full.text


def test_curves_are_those_of_the_record(full, record):
    charts = full.data["charts"]
    loss = next(line for line in charts["loss"]["lines"] if line["role"] == "probe_loss")
    np.testing.assert_allclose(loss["y"], record["probe_loss"], rtol=1e-5)
    for index, line in enumerate(charts["feature_cosine"]["lines"]):
        np.testing.assert_allclose(line["y"], record["feature_cosine"][:, index], rtol=1e-5)
        assert line["reference"] == pytest.approx(float(record["feature_cosine"][0, index]), rel=1e-5)
    assert [phase["name"] for phase in full.data["phases"]] == ["first phase"]


def test_every_layer_stands_beside_what_it_is_compared_with(full):
    assert "12 of 32" in full.text
    assert "from 0.301" in full.text


def test_coverage_names_what_was_skipped_and_why(full):
    assert "4 of 5 modules with weights are measured" in full.text
    assert "norm BatchNorm1d skipped, because it is a normalization" in full.text


def test_each_quantity_is_explained_from_its_attributes(full, record):
    for name in ("feature_cosine", "neuron_cosine", "effective_width"):
        assert record[name].attrs["long_name"] in full.text


def test_recipe_environment_and_citations_are_exact(full, record):
    words = "".join(full.words)
    assert record.attrs["recipe"].strip() in words
    assert cite(record) in words
    assert "threads 1" in full.text


def test_language_viewport_and_labels_are_there(full):
    assert ("html", "lang", "en") in full.attributes
    assert ("meta", "name", "viewport") in full.attributes
    labelled = [value for tag, name, value in full.attributes if tag == "div" and name == "aria-label"]
    assert "Feature cosine over steps 0 to 400" in labelled


@pytest.mark.parametrize("kind", ["full", "attacked"])
def test_nothing_would_be_fetched(kind, request):
    page = request.getfixturevalue(kind)
    targets = [value for _, name, value in page.attributes if name in FETCHING]
    assert targets
    assert all(value.startswith(("#", "data:image/svg+xml,")) for value in targets)
    assert not {"iframe", "object", "embed", "base", "img"} & set(page.tags)


def test_styles_import_nothing(pages):
    style = re.search(r"<style>(.*?)</style>", pages["full"].read_text(encoding="utf-8"), flags=re.DOTALL)
    assert style
    assert "@import" not in style[1]
    assert "url(" not in style[1]


def test_own_scripts_name_no_address(full):
    own = [data for attrs, data in full.scripts if data != get_plotlyjs() and attrs.get("id") != "data"]
    assert len(own) == 2
    for script in own:
        addresses = set(re.findall(r"https?://[^\"'` ]+", script))
        assert addresses <= {"http://www.w3.org/2000/svg"}
        assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|import)\(", script)


@pytest.mark.parametrize("kind", ["full", "attacked"])
def test_the_policy_allows_the_page_s_scripts_and_nothing_else(kind, request):
    page = request.getfixturevalue(kind)
    policy = next(value for tag, name, value in page.attributes if name == "content" and "default-src" in value)
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    run = {base64.b64encode(hashlib.sha256(d.encode()).digest()).decode() for a, d in page.scripts if "id" not in a}
    assert allowed == run
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_hostile_words_are_shown_as_words(attacked):
    assert attacked.tags.count("script") == 4
    assert "img" not in attacked.tags
    assert "<b>two</b>" in attacked.text
    assert attacked.text.count(ATTACK) > 10
    assert attacked.data["layers"][0] == ATTACK


def test_handlers_never_stand_in_attributes(attacked):
    assert not [name for _, name, _ in attacked.attributes if name.startswith("on")]


def test_the_findings_are_the_diagnosis_unless_given(tmp_path, record):
    page = read(write_report(record, tmp_path / "own.html"))
    assert "first phase" in page.text


def test_no_findings_are_said_to_be_none(tmp_path, record):
    page = read(write_report(record, tmp_path / "none.html", findings=Findings([])))
    assert "The diagnosis has nothing to say about this record." in page.text


@pytest.mark.parametrize(
    ("record", "sentences"),
    [
        (xr.Dataset(), ["Nothing was observed.", "No layer was observed", "Loss was not measured"]),
        (made_up_record([0, 1], None), ["Loss was not measured", "No cosine images were taken"]),
        (made_up_record([0], [2.3], feature_cosine=[0.4]), ["Observed once, at step 0.", "not yet a curve"]),
        (
            made_up_record([0, 5], [np.nan] * 2),
            ["2 observations hold a value that is no finite number, first at step 0"],
        ),
        (made_up_record([0, 5], [1.0, np.inf]), ["Probe loss infinite", "1 observation holds a value"]),
        (
            made_up_record([0, 1], [2.0, 1.0], class_accuracy=np.full((2, 10), np.nan)),
            ["Accuracy holds no finite number"],
        ),
        (made_up_record([0, 1], [2.0, 1.0], classes=0), ["Accuracy was not measured in this run"]),
        (made_up_record([0, 1], [2.0, 1.0], image_steps=(0,)).isel(layer=slice(0, 0)), ["No layer was observed"]),
        (full_record(recipe="# no mapping"), ["4 observed layers. Observed 41 times"]),
        (full_record(recipe="[broken"), ["[broken"]),
        (full_record().drop_vars(["sample_cosine"]), ["Sample cosine was not measured in this run"]),
        (full_record().assign_attrs(citations="unknown2099"), ["The citations cannot be written"]),
        (full_record().assign_attrs(environment="no json"), ["no json"]),
    ],
)
def test_what_is_missing_gets_an_honest_sentence(tmp_path, record, sentences):
    page = read(write_report(record, tmp_path / "report.html"))
    for sentence in sentences:
        assert sentence in page.text


def test_long_records_are_thinned_and_say_so(tmp_path):
    steps = np.arange(4000)
    page = read(write_report(made_up_record(steps, 1 / (1.0 + steps)), tmp_path / "long.html"))
    assert "Drawn at 1500 evenly spread steps of 4000." in page.text
    drawn = page.data["charts"]["loss"]["lines"][0]["x"]
    assert (drawn[0], drawn[-1]) == (0, 3999)


def test_the_file_stays_small(pages):
    assert pages["full"].stat().st_size < len(get_plotlyjs().encode()) + 300_000


def test_folders_are_made_and_the_path_is_returned(tmp_path, record):
    path = tmp_path / "deep" / "er" / "report.html"
    assert write_report(record, str(path), findings=FINDINGS) == path
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


def test_an_unwritable_path_is_an_error_and_leaves_nothing(tmp_path, record):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(FileAccess, match="Remedy"):
        write_report(record, tmp_path / "file" / "report.html")
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
