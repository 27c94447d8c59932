"""The catalogue: every quantity describes itself, and is chosen by name or group."""

import math

import pytest

import cloudchamber.measures as measures
from cloudchamber._core.citations import PAPERS
from cloudchamber._core.errors import InvalidInput
from cloudchamber._core.registry import quantity
from cloudchamber.measures import GROUPS, Measure, describe, select
from cloudchamber.measures.partials import cosine_partials, finished_cosine, shortened
from cloudchamber.measures.registry import RARE, all_measures

NAMES = sorted(all_measures())
NULLS = {
    "feature_cosine",
    "gradient_cosine",
    "effective_rank",
    "within_between_variability",
    "direction_share",
    "self_enhancement",
    "self_enhancement_step",
    "step_alignment",
    "sign_agreement",
}


def names(*chosen):
    return {measure.name for measure in select(chosen)}


@pytest.mark.parametrize("name", NAMES)
def test_each_quantity_describes_itself(name):
    item = quantity(name)
    assert item.paper in PAPERS
    assert item.long_name
    assert item.symbol
    assert item.unit
    assert item.bounds[0] < item.bounds[1]
    assert item.dims[0] in ("step", "image_step")
    assert all_measures()[name].name == name


def test_no_two_quantities_look_alike():
    for attribute in ("long_name", "symbol"):
        shown = [getattr(quantity(name), attribute) for name in NAMES]
        assert len(set(shown)) > 0.95 * len(shown), attribute
    assert len({(quantity(name).long_name, quantity(name).symbol) for name in NAMES}) == len(NAMES)


def test_groups():
    light = {"feature_cosine", "gradient_cosine", "class_accuracy"}
    assert names("light") == light
    assert light < names("default")
    often = {name for name in names("default") if not all_measures()[name].at_image_steps}
    assert often == light | {"weight_norm", "relative_distance", "dead_fraction"}
    assert names("theorem1") == {name for name in NAMES if "primary" in name or "noise_strength" in name}
    assert names("kernel") == {name for name in NAMES if name.startswith("kernel")}
    assert not names("default") & (names("theorem1") | names("kernel"))
    assert names("all") == set(NAMES)
    assert {group for name in NAMES for group in all_measures()[name].groups} == GROUPS.keys() - {"all"}


def test_nothing_chosen_is_the_default():
    assert select() == select(["default"])
    assert select([]) == ()


def test_names_and_groups_mix_and_each_comes_once():
    chosen = select(["effective_width", "light", "effective_width", "feature_cosine"])
    assert chosen[0].name == "effective_width"
    assert len(chosen) == 1 + len(select(["light"]))


@pytest.mark.parametrize("name", ["feature_cosin", "", "Light"])
def test_an_unknown_name_is_refused_with_those_there_are(name):
    with pytest.raises(
        InvalidInput, match=r"a measure is one of .*'feature_cosine'.*or a group: default, light.*got '"
    ):
        select(["light", name])


def test_how_often_each_is_taken():
    by_name = all_measures()
    for name in NAMES:
        measure = by_name[name]
        often = measure.due(images=False, rare=False)
        assert measure.due(images=True, rare=True)
        assert often == (measure.frequency == "every observation") == (not measure.at_image_steps)
        assert measure.due(images=True, rare=False) == (measure.at_most is None)
        assert measure.due(images=False, rare=True) == (often or measure.at_most is not None)
        assert not (often and measure.quantity.dims[0] == "image_step")
    assert {by_name[name].at_most for name in names("theorem1", "kernel")} == {RARE}
    assert by_name["primary_strength"].frequency == "at most 20 steps"
    assert by_name["effective_width"].frequency == by_name["sample_cosine"].frequency == "image steps"


def test_null_values_come_from_a_flag():
    shuffled = {name.removesuffix("_shuffled") for name in NAMES if all_measures()[name].shuffled}
    assert shuffled == NULLS == {name for name in NAMES if all_measures()[name].null}
    for name in NULLS:
        plain, null = all_measures()[name], all_measures()[f"{name}_shuffled"]
        assert null.quantity.dims == ("image_step", *plain.quantity.dims[1:])
        assert (null.function, null.takes, null.quantity.bounds) == (plain.function, plain.takes, plain.quantity.bounds)
        assert null.quantity.long_name == f"{plain.quantity.long_name}, for shuffled inputs"
        assert null.at_image_steps
        assert "light" not in null.groups


def test_scopes_subsets_and_dimensions():
    network = {name for name in NAMES if all_measures()[name].scope == "network"}
    assert network == names("kernel") | {"class_accuracy"}
    assert {name for name in NAMES if all_measures()[name].needs_classes} == {"class_accuracy"}
    for name in NAMES:
        dims, subset = quantity(name).dims, all_measures()[name].subset
        assert ("layer" in dims) == (name not in network)
        assert {"neurons": "neuron", "samples": "sample"}.get(subset, dims[-1]) in dims
    dims = {
        "class_accuracy": ("step", "class"),
        "feature_cosine": ("step", "layer"),
        "direction_strength": ("step", "layer", "direction"),
        "noise_strength": ("step", "layer", "component"),
        "kernel_spectrum": ("step", "eigenvalue"),
        "neuron_distance": ("image_step", "layer", "neuron"),
        "sample_cosine": ("image_step", "layer", "sample", "sample_other"),
        "neuron_cosine": ("image_step", "layer", "neuron", "neuron_other"),
        "effective_width_null": ("layer",),
    }
    assert {name: quantity(name).dims for name in dims} == dims


def test_the_cosines_can_be_taken_in_parts():
    partly = {name: m for name, m in all_measures().items() if m.partials is not None}
    assert set(partly) == {"feature_cosine", "gradient_cosine", "feature_cosine_shuffled", "gradient_cosine_shuffled"}
    for measure in partly.values():
        assert (measure.partials, measure.shorten, measure.finish) == (cosine_partials, shortened, finished_cosine)


def test_descriptions_are_rows_for_a_table():
    rows = {row.name: row for row in describe()}
    assert set(rows) == set(NAMES)
    row = rows["relative_distance"]
    assert (row.symbol, row.unit, row.bounds) == ("RD", "1", (0.0, math.inf))
    assert row.groups == ("default", "neurons")
    assert row.needs == ("initial_norm", "initial_weight", "weight")
    assert row.frequency == "every observation"
    assert row.source == "overview2025, Section 5, Eq. (5)"
    assert [row.name for row in describe(["kernel_trace", "weight_norm"])] == ["weight_norm", "kernel_trace"]
    assert "default" in describe()[0].groups
    assert describe()[-1].groups == ()
    assert rows["orientation_angle"].unit == "rad"


def test_everything_public_is_exported():
    assert isinstance(select(["feature_cosine"])[0], Measure)
    for name in ("flatten_samples", "heatmap_order", "isotropic_groups", "orientation_groups", "OrientationGroups"):
        assert hasattr(measures, name)
