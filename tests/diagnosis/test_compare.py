"""Runs side by side: the numbers are those of each run alone, and nothing is dropped without a word."""

import math
from itertools import permutations

import numpy as np
import pytest
import xarray as xr
from diagnosis_curves import LEVEL, leaving_loss, peaking_cosine
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import made_up_record
from unchecked import refused

import cloudchamber as cc
from cloudchamber.diagnosis import Comparison, compare, find_phases
from cloudchamber.diagnosis.compare import _merged

STEPS = np.arange(0, 1010, 10)
FLAT = np.full(len(STEPS), LEVEL)
RECIPE = "model: {{name: mlp, depth: 9}}\noptimizer: {{name: sgd, lr: 0.1, momentum: {momentum}}}\nseed: {seed}\n"


def recipe(momentum=0.0, seed=1):
    return RECIPE.format(momentum=momentum, seed=seed)


def leaving(**more):
    """A run that leaves its plateau: everything is measured."""
    return made_up_record(
        STEPS,
        leaving_loss(STEPS, 500),
        feature_cosine=peaking_cosine(STEPS, 600),
        gradient_cosine=peaking_cosine(STEPS, 500, start=0.2, top=0.5, end=0.4),
        class_accuracy=np.linspace(0, 1, len(STEPS))[:, None] * np.linspace(0.5, 1, 10),
        effective_width=np.linspace(32, 3, len(STEPS)),
        relative_distance=np.linspace(0, 1.5, len(STEPS))[:, None] * np.ones(4),
        **more,
    )


def stuck(**more):
    """A run that does not learn, of which little is measured."""
    return made_up_record(STEPS[::2], FLAT[::2], **more)


def row(comparison, run):
    return {name: item.item() for name, item in comparison.table.sel(run=run).items() if item.dims == ()}


def layers_of(comparison, name, run):
    return comparison.table[name].sel(run=run).values


# known answers


def test_a_run_that_learns_beside_one_that_is_stuck():
    record = leaving()
    shown = compare({"good": record, "bad": stuck()})
    good, bad, phases = row(shown, "good"), row(shown, "bad"), find_phases(record)
    assert (good["status"], bad["status"]) == ("second phase", "stuck")
    assert good["first_phase_end"] == phases.named("first phase").stop == 600
    assert (good["loss_marker"], good["feature_peak"]) == (phases.loss_marker, phases.feature_peak)
    assert (good["last_step"], bad["last_step"], bad["stuck_since"]) == (1000, 1000, 0)
    assert good["final_probe_loss"] == pytest.approx(leaving_loss(1000, 500))
    assert good["lowest_probe_loss"] == float(record["probe_loss"].min())
    assert good["constant_predictor_loss"] == bad["final_probe_loss"] == pytest.approx(LEVEL)
    assert good["final_accuracy"] == pytest.approx(0.75)
    assert good["marker_layer"] == "linear2" == phases.layer


def test_layers_stand_beside_their_initialization_and_their_null():
    shown = compare({"good": leaving(), "bad": stuck()})
    expected = {
        "initial_feature_cosine": 0.6,
        "peak_feature_cosine": 0.8,
        "final_feature_cosine": 0.7,
        "initial_gradient_cosine": 0.2,
        "peak_gradient_cosine": 0.5,
        "final_gradient_cosine": 0.4,
        "final_effective_width": 3,
        "effective_width_null": 32,
        "final_relative_distance": 1.5,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(layers_of(shown, name, "good"), value)


def test_records_in_a_sequence_are_numbered():
    shown = compare([leaving(), stuck(), stuck()])
    assert shown.runs == ("run 1", "run 2", "run 3")
    assert repr(shown) == "<Comparison: run 1, run 2, run 3>"


def test_it_is_public():
    assert cc.compare is compare
    assert isinstance(compare([leaving(), stuck()]), Comparison)


def test_the_layer_of_the_markers_can_be_chosen():
    shown = compare([leaving(), leaving()], layer="linear3")
    assert set(shown.table["marker_layer"].values) == {"linear3"}
    assert "The features' peak is that of linear3." in str(shown)


# what is missing, what did not happen, what is not a number


def test_what_only_one_run_measured_is_missing_for_the_other():
    shown = compare({"good": leaving(), "bad": stuck()})
    for name in ("final_accuracy", "feature_peak", "final_feature_cosine", "final_relative_distance"):
        assert shown.measured[name].sel(run="good").all()
        assert not shown.measured[name].sel(run="bad").any()
        assert np.isnan(shown.table[name].sel(run="bad")).all()
    assert "0.600 → 0.800 → 0.700  –" in str(shown)
    assert "– of 32" in str(shown)


def test_a_step_that_did_not_come_is_not_missing():
    shown = compare({"good": leaving(), "bad": stuck()})
    for run, name in (("good", "stuck_since"), ("bad", "first_phase_end"), ("bad", "loss_marker")):
        assert math.isnan(row(shown, run)[name])
        assert shown.measured[name].sel(run=run)
    assert "none" in str(shown)


def test_of_different_layers_all_have_a_row():
    long = leaving(layers=("linear1", "linear2", "linear3", "linear4"))
    short = stuck(layers=("linear1", "extra", "linear4"), feature_cosine=np.linspace(0.1, 0.3, len(STEPS[::2])))
    shown = compare({"long": long, "short": short})
    assert set(shown.table["layer"].values) == {"linear1", "linear2", "linear3", "linear4", "extra"}
    there = shown.measured["final_feature_cosine"]
    assert there.sel(run="long").layer[there.sel(run="long")].values.tolist() == long["layer"].values.tolist()
    assert set(there.sel(run="short").layer[there.sel(run="short")].values) == set(short["layer"].values)
    assert "linear2 (long), extra (short)" in str(shown)


def test_what_no_run_measured_is_said():
    text = str(compare([stuck(), stuck()]))
    assert "In none of these records: feature cosine, gradient cosine, effective width, relative distance." in text


def test_a_measured_nan_is_no_missing_one():
    dead = stuck(feature_cosine=np.r_[np.full(len(STEPS[::2]) - 1, 0.5), np.nan])
    shown = compare({"dead": dead, "alive": leaving()})
    assert np.isnan(layers_of(shown, "final_feature_cosine", "dead")).all()
    assert shown.measured["final_feature_cosine"].all()
    np.testing.assert_array_equal(layers_of(shown, "peak_feature_cosine", "dead"), 0.5)
    assert "0.500 → 0.500 → nan" in str(shown)


def test_a_run_that_diverged():
    shown = compare({"broken": made_up_record([0, 1, 2, 3], [2.3, 9.0, np.inf, np.nan]), "good": leaving()})
    broken = row(shown, "broken")
    assert broken["status"] == "diverged"
    assert math.isnan(broken["final_probe_loss"])
    assert broken["lowest_probe_loss"] == 2.3
    assert "broken, diverged: the probe loss is no finite number from step 2 on." in str(shown)


def test_a_record_that_starts_late_has_no_value_at_initialization():
    late = leaving().isel(step=slice(5, None))
    shown = compare([late, leaving()])
    assert not shown.measured["initial_feature_cosine"].sel(run="run 1").any()
    assert "– → 0.800 → 0.700" in str(shown)


def test_a_class_without_samples_is_left_out_of_the_accuracy():
    accuracy = np.array([[0.0, np.nan, 0.0], [0.5, np.nan, 1.0]])
    record = made_up_record([0, 1], [2.0, 1.0], class_accuracy=accuracy, classes=3)
    assert row(compare([record, leaving()]), "run 1")["final_accuracy"] == 0.75


@pytest.mark.parametrize(
    "record",
    [
        made_up_record([0], [2.3], feature_cosine=[0.4]),
        made_up_record([0, 1], [np.nan, np.nan], feature_cosine=[np.nan, np.nan]),
        made_up_record([0, 1], None),
        made_up_record([0, 1], [2.0, 1.0]).isel(layer=[]),
        xr.Dataset(coords={"step": [0, 10]}),
        xr.Dataset(coords={"step": []}),
        xr.Dataset({"effective_width": ("step", [3.0])}, coords={"step": [0], "layer": ["linear1"]}),
    ],
    ids=["one observation", "nan", "no loss", "no layers", "bare", "no steps", "other dimensions"],
)
def test_degenerate_records_are_compared(record):
    for records in ([record, record], {"odd": record, "whole": leaving()}):
        shown = compare(records)
        assert max(map(len, str(shown).splitlines())) <= 110
        assert shown._repr_html_()


# recipes


def test_the_recipe_fields_that_differ():
    shown = compare({"a": leaving(recipe=recipe(0.0)), "b": stuck(recipe=recipe(0.9))})
    assert shown.recipes == {"optimizer.momentum": {"a": 0.0, "b": 0.9}}
    assert "optimizer.momentum  0.0  0.9" in str(shown)
    assert shown.without_recipe == ()


def test_a_field_that_only_one_recipe_has():
    shown = compare({"a": leaving(recipe=recipe()), "b": stuck(recipe=recipe() + "batch_size: null\n")})
    assert shown.recipes == {"batch_size": {"b": None}}
    assert "batch_size  –  None" in str(shown)


def test_the_same_recipe():
    shown = compare([leaving(recipe=recipe()), stuck(recipe=recipe())])
    assert shown.recipes == {}
    assert "Recipes: no field differs." in str(shown)


UNREADABLE = [
    "",
    "# a loop of one's own",
    "just words",
    "[1, 2]",
    "{",
    "&a {self: *a}",
    "day: 2024-13-45",
    "? [1]\n: 2",
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_without_a_readable_recipe(text):
    shown = compare({"a": leaving(recipe=recipe()), "own": stuck(recipe=text), "b": stuck(recipe=recipe(0.5))})
    assert shown.without_recipe == ("own",)
    assert list(shown.recipes) == ["optimizer.momentum"]
    assert "Without a recipe to compare: own." in str(shown)


# how it is shown


@pytest.mark.parametrize("count", [2, 5, 30])
def test_it_fits_a_terminal(count):
    runs = {f"sweeps/a-long-folder/{index:03d}/with more words/x": leaving() for index in range(count)}
    lines = str(compare(runs)).splitlines()
    assert max(map(len, lines)) <= 110
    assert all(line == line.rstrip() for line in lines)
    for index in range(1, count + 1):
        assert any(line.startswith(f"  {index} sweeps") for line in lines)


def test_odd_names_do_not_break_the_table():
    shown = compare({"a\nb\x1b[31m": leaving(), "<b>&": stuck(recipe="note: <script>\n")})
    assert "\x1b" not in str(shown).split("\n\n")[0]
    assert "<b>&amp;" not in shown._repr_html_()
    assert "<td>&lt;b&gt;&amp;</td>" in shown._repr_html_()


def test_the_notebook_shows_the_recipes_escaped():
    html = compare([leaving(recipe="note: <i>\n"), stuck(recipe="note: <script>\n")])._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html


# laws


def test_the_order_of_the_runs_only_permutes_the_rows():
    runs = {
        "a": leaving(recipe=recipe(0.1)),
        "b": stuck(recipe=recipe(0.2), layers=("linear1", "extra", "linear4")),
        "c": made_up_record([0], [2.0], layers=("other",)),
    }
    first = compare(runs)
    for names in permutations(runs):
        other = compare({name: runs[name] for name in names})
        assert other.runs == names
        xr.testing.assert_identical(other.table.sel(run=list(runs)), first.table)
        xr.testing.assert_identical(other.measured.sel(run=list(runs)), first.measured)
        assert other.recipes == first.recipes


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 20) | st.just(math.nan), min_size=1, max_size=30), st.integers(1, 7))
def test_a_run_has_the_same_numbers_in_any_company(values, every):
    record = made_up_record(np.arange(len(values)) * every, values, layers=("linear1", "linear2"))
    alone, beside = compare([record, record]).table, compare([record, leaving()]).table
    xr.testing.assert_identical(alone.sel(run="run 1"), beside.sel(run="run 1", layer=["linear1", "linear2"]))


@given(st.lists(st.lists(st.sampled_from("abcdef"), unique=True), min_size=1, max_size=4), st.randoms())
def test_layers_keep_the_order_of_each_network(orders, random):
    chain = [sorted(names) for names in orders]
    merged = _merged(chain)
    for names in chain:
        assert [name for name in merged if name in names] == names
    for given_orders in (chain, orders):  # the second may contradict each other
        assert sorted(_merged(given_orders)) == sorted({name for names in orders for name in names})
        assert _merged(random.sample(given_orders, len(given_orders))) == _merged(given_orders)


def test_comparing_changes_no_record():
    record = leaving(recipe=recipe())
    before = record.copy(deep=True)
    str(compare([record, record]))
    xr.testing.assert_identical(record, before)


# bad input

GOOD = xr.Dataset(coords={"step": [0, 10]})


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (GOOD, "a mapping from names to records, or a sequence; got one record"),
        ([GOOD], r"at least two runs; got 1 \(run 1\)"),
        ({"only": GOOD}, r"at least two runs; got 1 \(only\)"),
        ([], r"at least two runs; got 0 \(no record\)"),
        ("runs/001", "got str"),
        (None, "got NoneType"),
        (["runs/001", "runs/002"], "run 1 must be a record .*; got str"),
        ({"a": GOOD, "b": 3}, "b must be a record .*; got int"),
        ([GOOD, GOOD["step"]], "run 2 must be a record .*; got DataArray"),
        ([GOOD, GOOD.isel(step=0)], "run 2 must be a record, with the dimension step"),
        ([GOOD, xr.Dataset()], "run 2 must be a record, with the dimension step"),
        ([GOOD, xr.Dataset(coords={"step": [0], "layer": "a"})], "and layer if it has layers; got the dimensions step"),
    ],
)
def test_what_cannot_be_compared(records, words):
    with refused(words):
        compare(records)


def test_an_unknown_layer_of_the_markers():
    with pytest.raises(cc.InvalidInput, match="linear1, linear2"):
        compare([leaving(), stuck()], layer="linear9")
