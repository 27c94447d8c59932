"""Axes: what their values are, and what is refused."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cloudchamber as cc
from cloudchamber import FileAccess, InvalidRecipe
from cloudchamber.training.sweep.axes import Axis
from cloudchamber.training.sweep.cells import cells_of, recipe_of
from cloudchamber.training.sweep.sweep import Sweep
from cloudchamber.training.sweep.sweep_text import load_sweep, parse_sweep, sweep_yaml

laws = settings(deadline=None, derandomize=True, max_examples=60)
floats = st.floats(1e-6, 1e6)
intervals = st.tuples(floats, floats, st.integers(2, 20)).filter(lambda t: t[0] < 0.999 * t[1])


def values(axis, field="optimizer.lr"):
    return [setting[field] for setting in parse_sweep({"axes": {field: axis}}).axes[field].settings(field)]


@laws
@given(intervals)
def test_grid_values_are_evenly_spaced_and_include_both_ends(interval):
    low, high, count = interval
    found = values({"grid": {"low": low, "high": high, "count": count}})
    np.testing.assert_allclose(found, [low + (high - low) * i / (count - 1) for i in range(count)], rtol=1e-10)
    assert (found[0], found[-1]) == (low, high)


@laws
@given(intervals)
def test_log_spaced_values_have_one_ratio_and_include_both_ends(interval):
    low, high, count = interval
    found = values({"log_spaced": {"low": low, "high": high, "count": count}})
    np.testing.assert_allclose(np.diff(np.log(found)), math.log(high / low) / (count - 1), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose([found[0], found[-1]], [low, high], rtol=1e-12)


@laws
@given(intervals, st.booleans(), st.integers(0, 100))
def test_random_values_lie_between_the_ends_and_depend_on_seed_and_field(interval, log, seed):
    low, high, count = interval
    axis = {"random": {"low": low, "high": high, "count": count, "log": log, "seed": seed}}
    found = values(axis)
    assert len(found) == count
    assert all(low * (1 - 1e-12) <= value <= high * (1 + 1e-12) for value in found)
    assert found == values(axis)
    assert found != values({"random": {**axis["random"], "seed": seed + 1}})
    assert found != values(axis, "optimizer.weight_decay")


def test_random_values_are_uniform_in_the_value_or_its_logarithm():
    for log, middle in ((False, 50.5), (True, 10.0)):
        found = values({"random": {"low": 1, "high": 100, "count": 4000, "log": log}})
        assert np.mean(np.array(found) < middle) == pytest.approx(0.5, abs=0.03)


def test_whole_numbers():
    assert values({"log_spaced": {"low": 10, "high": 1000, "count": 5, "integer": True}}, "model.width") == [
        10,
        32,
        100,
        316,
        1000,
    ]
    assert values({"range": 3}, "seed") == [0, 1, 2]
    assert all(isinstance(value, int) for value in values({"grid": {"low": 1, "high": 9, "count": 4, "integer": True}}))


def test_zipped_fields_change_together():
    axis = {"zip": {"model.width": [10, 100], "optimizer.lr": {"log_spaced": {"low": 0.1, "high": 1, "count": 2}}}}
    sweep = parse_sweep({"axes": {"scaling": axis}})
    assert sweep.axes["scaling"].settings("scaling") == [
        {"model.width": 10, "optimizer.lr": 0.1},
        {"model.width": 100, "optimizer.lr": 1.0},
    ]
    assert sweep.fields == ["model.width", "optimizer.lr"]


def test_an_axis_may_be_called_otherwise_than_its_field():
    sweep = parse_sweep({"axes": {"lr": {"field": "optimizer.lr", "values": [0.1]}}})
    assert sweep.axes["lr"].settings("lr") == [{"optimizer.lr": 0.1}]


def test_the_file_that_the_documentation_shows_is_a_sweep(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    shown = page.partition("## The file\n```yaml\n")[2].partition("```")[0]
    (tmp_path / "sweep.yaml").write_text(shown.replace("count: 20", "count: 2").replace("range: 30", "range: 2"))
    (tmp_path / "my-recipe.yaml").write_text("steps: 7\n")
    sweep = load_sweep(tmp_path / "sweep.yaml")
    assert len(sweep.axes) == 8
    assert [recipe_of(sweep, cell).seed for cell in cells_of(sweep)[:2]] == [0, 1]


def test_arrays_and_ranges_are_taken_for_lists():
    sweep = parse_sweep({"axes": {"optimizer.lr": np.array([0.1, 0.2]), "seed": range(2), "steps": (1, np.int64(2))}})
    assert sweep == parse_sweep({"axes": {"optimizer.lr": [0.1, 0.2], "seed": [0, 1], "steps": [1, 2]}})


EVERYTHING = """
recipe: {steps: 5, optimizer: {lr: 1e-2}}
axes:
  optimizer.name: [sgd, adam]
  optimizer.momentum: {values: [0, 0.9], when: {optimizer.name: sgd}}
  scaling:
    labels: [narrow, wide]
    zip: {model.width: [4, 8], initialization.variance_scale: {grid: {low: 1, high: 2, count: 2}}}
  batch_size: [10, null]
  lr: {field: optimizer.lr, random: {low: 1e-3, high: 1, count: 3, log: true, seed: 4}}
  seed: {range: 2}
results: {probe_loss: all, feature_cosine: final}
cells_per_chunk: 7
"""


def test_text_gives_back_the_sweep(tmp_path):
    (tmp_path / "sweep.yaml").write_text(EVERYTHING)
    sweep = load_sweep(tmp_path / "sweep.yaml")
    assert sweep.results == {"probe_loss": "all", "feature_cosine": "final"}
    (tmp_path / "again.yaml").write_text(sweep_yaml(sweep))
    assert load_sweep(tmp_path / "again.yaml") == sweep
    assert sweep_yaml(load_sweep(tmp_path / "again.yaml")) == sweep_yaml(sweep)


def test_a_recipe_may_be_a_file_beside_the_sweep(tmp_path):
    (tmp_path / "base.yaml").write_text("steps: 3\n")
    (tmp_path / "sweep.yaml").write_text("recipe: base.yaml\naxes: {seed: {range: 2}}\n")
    assert load_sweep(tmp_path / "sweep.yaml") == parse_sweep({"recipe": {"steps": 3}, "axes": {"seed": {"range": 2}}})
    (tmp_path / "sweep.yaml").write_text("recipe: nowhere.yaml\n")
    with pytest.raises(FileAccess, match=r"nowhere.yaml"):
        load_sweep(tmp_path / "sweep.yaml")


def test_overrides_set_what_no_axis_sets(tmp_path):
    (tmp_path / "sweep.yaml").write_text("axes: {optimizer.lr: [0.1, 1.0]}\n")
    sweep = load_sweep(tmp_path / "sweep.yaml", ["steps=7", "optimizer.momentum=0.5"])
    assert sweep.recipe == {"steps": 7, "optimizer": {"momentum": 0.5}}
    with pytest.raises(InvalidRecipe, match=r"sets what no axis sets; got optimizer.lr. Remedy: change the axis"):
        load_sweep(tmp_path / "sweep.yaml", ["optimizer.lr=3"])


INTERVAL = {"low": 1.0, "high": 2.0, "count": 3}
WRONG = {
    "misspelt field": (
        {"axes": {"optimizer.mommentum": [0]}},
        "got optimizer.mommentum. Remedy: choose optimizer.momentum",
    ),
    "field without section": (
        {"axes": {"lr": [0]}},
        "axis lr must name a field of a recipe; got lr. Remedy: choose optimizer.lr",
    ),
    "nothing like a field": ({"axes": {"qqqqqq": [0]}}, "Remedy: choose from batch_size, "),
    "misspelt field that is zipped": ({"axes": {"a": {"zip": {"sed": [0]}}}}, "got sed. Remedy: choose seed"),
    "misspelt field of a condition": ({"axes": {"seed": {"range": 2, "when": {"mdoel.width": 3}}}}, "model.width"),
    "misspelt result": ({"results": ["featur_cosine"]}, "got featur_cosine. Remedy: choose feature_cosine"),
    "unknown way of keeping": (
        {"results": {"probe_loss": "last"}},
        "must be 'final', 'all', 'max' or 'min'; got 'last'",
    ),
    "misspelt part": ({"axess": {}}, "axess is not a field of a sweep"),
    "misspelt source": ({"axes": {"seed": {"rang": 3}}}, "axes.seed.rang is not a field"),
    "no source": ({"axes": {"seed": {"when": {"steps": 3}}}}, "exactly one of values, grid"),
    "two sources": ({"axes": {"seed": {"range": 3, "values": [1]}}}, "not values and range"),
    "a number": ({"axes": {"seed": 3}}, "axes.seed must be"),
    "no values": ({"axes": {"seed": []}}, "axes.seed.values"),
    "backward": ({"axes": {"seed": {"grid": {**INTERVAL, "low": 3}}}}, "low (3) must be below high (2)"),
    "logarithm of nothing": (
        {"axes": {"seed": {"log_spaced": {**INTERVAL, "low": 0}}}},
        "must be greater than 0; got 0",
    ),
    "random logarithm of nothing": (
        {"axes": {"seed": {"random": {**INTERVAL, "low": -1, "log": True}}}},
        "above 0 with log",
    ),
    "no count": ({"axes": {"seed": {"grid": {"low": 1, "high": 2}}}}, "axes.seed.grid.count"),
    "infinite": ({"axes": {"seed": {"grid": {**INTERVAL, "high": math.inf}}}}, "finite"),
    "zip of different lengths": ({"axes": {"a": {"zip": {"seed": [1], "steps": [1, 2]}}}}, "equally long"),
    "zip in a zip": ({"axes": {"a": {"zip": {"b": {"zip": {"seed": [1]}}}}}}, "no zip, when or labels of its own"),
    "zip with a field": ({"axes": {"a": {"zip": {"seed": [1]}, "field": "steps"}}}, "not a field"),
    "too few labels": ({"axes": {"seed": {"range": 3, "labels": ["a"]}}}, "labels must be 3 different names"),
    "a field twice": (
        {"axes": {"seed": [1], "s": {"field": "seed", "values": [2]}}},
        "a field must be on one axis; got seed",
    ),
    "a condition on a later axis": (
        {"axes": {"seed": {"range": 2, "when": {"steps": 1}}, "steps": [1, 2]}},
        "the condition of axis seed must be on axes before it; got steps",
    ),
    "a name of the record": ({"axes": {"layer": {"field": "seed", "values": [1]}}}, "got layer. Remedy: rename it"),
    "cells per chunk": ({"cells_per_chunk": 0}, "cells_per_chunk must be greater than 0"),
    "a list of axes": ({"axes": ["seed"]}, "axes must be"),
}


@pytest.mark.parametrize(("raw", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named_with_a_remedy(raw, words):
    with pytest.raises(InvalidRecipe) as caught:
        parse_sweep(raw)
    message = str(caught.value)
    assert words in message
    assert "Remedy: " in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["axes: [", "- 1", "\udcff"])
def test_a_file_that_is_no_sweep_is_named(tmp_path, text):
    (tmp_path / "sweep.yaml").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InvalidRecipe, match=r"a sweep is .*Remedy: mend the file .*sweep.yaml"):
        load_sweep(tmp_path / "sweep.yaml")


def test_a_cell_that_is_no_recipe_is_named_before_anything_runs(tmp_path):
    with pytest.raises(
        InvalidRecipe, match=r"cell optimizer.name=adam, optimizer.momentum=0.5: optimizer.momentum is not"
    ):
        cc.sweep({"axes": {"optimizer.name": ["sgd", "adam"], "optimizer.momentum": [0.5]}}, tmp_path / "out")
    with pytest.raises(InvalidRecipe, match=r"cell model.width=31.6.*: model.width must be a valid integer"):
        cc.sweep({"axes": {"model.width": {"log_spaced": {"low": 10, "high": 100, "count": 3}}}}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_axes_can_be_built_in_python():
    built = Sweep(recipe={"steps": 2}, axes={"optimizer.lr": Axis(values=[0.1, 1.0]), "seed": Axis(range=3)})
    assert built == parse_sweep({"recipe": {"steps": 2}, "axes": {"optimizer.lr": [0.1, 1.0], "seed": {"range": 3}}})
