"""The catalogue: every measure works on the tensors it names, within its range."""

import pytest
import torch
from measure_cases import gaussian

import cloudchamber.measures as measures
from cloudchamber._core.citations import PAPERS
from cloudchamber._core.errors import InvalidInput
from cloudchamber._core.registry import quantity
from cloudchamber.measures import Measure, select

NAMES = (
    "feature_cosine",
    "gradient_cosine",
    "effective_rank",
    "effective_width",
    "relative_distance",
    "class_accuracy",
    "sample_cosine",
    "neuron_cosine",
)
SNAPSHOT = {
    "features": gaussian(12, 6, 1).abs(),
    "feature_gradients": gaussian(12, 6, 2),
    "weight": gaussian(6, 5, 3),
    "initial_weight": gaussian(6, 5, 4),
    "outputs": gaussian(12, 3, 5),
    "labels": torch.arange(12) % 3,
}
SHAPES = {
    "class_accuracy": (3,),
    "sample_cosine": (12, 12),
    "neuron_cosine": (6, 6),
}


def measured(measure):
    return measure.function(**{argument: SNAPSHOT[field] for argument, field in measure.takes.items()})


def test_the_measures_are_these():
    assert {measure.name for measure in select()} >= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_measure_takes_what_it_says_and_stays_in_its_range(name):
    (measure,) = select([name])
    value = measured(measure)
    low, high = measure.quantity.bounds
    assert value.shape == SHAPES.get(name, ())
    assert ((value >= low) & (value <= high)).all()


@pytest.mark.parametrize("name", NAMES)
def test_each_measure_names_its_source(name):
    assert quantity(name).paper in PAPERS
    assert quantity(name).long_name
    assert quantity(name).symbol


def test_what_costs_more_than_a_step_is_not_taken_at_every_observation():
    rare = {measure.name for measure in select(NAMES) if measure.at_image_steps}
    assert rare == {"effective_rank", "effective_width", "sample_cosine", "neuron_cosine"}


def test_scopes_subsets_and_dimensions():
    by_name = {measure.name: measure for measure in select(NAMES)}
    assert [name for name in NAMES if by_name[name].scope == "network"] == ["class_accuracy"]
    assert {name: by_name[name].subset for name in NAMES if by_name[name].subset} == {
        "sample_cosine": "samples",
        "neuron_cosine": "neurons",
    }
    assert quantity("class_accuracy").dims == ("step", "class")
    assert quantity("feature_cosine").dims == ("step", "layer")
    assert quantity("sample_cosine").dims == ("image_step", "layer", "sample", "sample_other")
    assert quantity("neuron_cosine").dims == ("image_step", "layer", "neuron", "neuron_other")
    assert quantity("effective_width_null").dims == ("layer",)


def test_everything_public_is_exported():
    assert isinstance(select(["feature_cosine"])[0], Measure)
    for name in ("flatten_samples", "heatmap_order", "isotropic_groups", "orientation_groups", "OrientationGroups"):
        assert hasattr(measures, name)


def test_an_unknown_measure_is_refused():
    with pytest.raises(InvalidInput, match="a measure is one of"):
        select(["feature_cosin"])
