"""Heatmaps: samples by class, neurons by similarity, no padding, and errors that name what there is."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_up import made_up_record

from cloudchamber._core.errors import InvalidInput
from cloudchamber.plot import heatmap
from cloudchamber.plot.images import image, most_condensed, order


def shown(ax):
    return np.ma.getdata(ax.images[0].get_array())


def test_samples_stand_by_class(record, axes):
    turned = record.isel(sample=slice(None, None, -1), sample_other=slice(None, None, -1))
    assert heatmap(turned, layer="linear2", step=200, ax=axes) is axes
    by_class = np.argsort(turned["sample_class"].values, kind="stable")
    expected = turned["sample_cosine"].sel(image_step=200, layer="linear2").values[np.ix_(by_class, by_class)]
    np.testing.assert_array_equal(shown(axes), expected)
    assert [label.get_text() for label in axes.get_yticklabels()] == [str(index) for index in range(10)]


def test_neurons_of_a_group_stand_side_by_side(record, axes):
    heatmap(record, "neuron_cosine", layer="linear1", ax=axes)
    drawn = shown(axes)
    assert drawn.shape == (16, 16)
    blocks = np.diff((drawn[0] > 0.6).astype(int))
    assert np.abs(blocks).sum() <= 1
    np.testing.assert_array_equal(np.diagonal(drawn), 1)


def test_the_colours_run_from_minus_one_to_one_and_diverge(record, axes):
    heatmap(record, layer="linear1", ax=axes)
    assert axes.images[0].get_clim() == (-1, 1)
    assert axes.images[0].get_cmap().name == "RdBu_r"


def test_the_last_image_is_the_default(record, axes):
    heatmap(record, layer="linear1", ax=axes)
    assert "step 400" in axes.get_title(loc="left")


def test_padding_is_left_out(record):
    padded = record.copy(deep=True)
    padded["neuron_id"].values[1, 5:] = -1
    padded["neuron_cosine"].values[:, 1, 5:] = np.nan
    padded["neuron_cosine"].values[:, 1, :, 5:] = np.nan
    found = image(padded, "neuron_cosine", "linear2", 400)
    assert sorted(found.ids) == [0, 1, 2, 3, 4]
    assert np.isfinite(found.values).all()


def test_dead_neurons_come_last(record):
    dead = record.copy(deep=True)
    dead["neuron_cosine"].values[:, 0, [2, 7]] = np.nan
    dead["neuron_cosine"].values[:, 0, :, [2, 7]] = np.nan
    found = image(dead, "neuron_cosine", "linear1", 400)
    assert found.ids[-2:].tolist() == [2, 7]
    assert np.isfinite(found.values[:14, :14]).all()


@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_an_order_is_a_permutation_whatever_is_unknown(size):
    assert sorted(order(np.full((size, size), np.nan)).tolist()) == list(range(size))


def test_infinite_cosines_are_no_numbers(record):
    broken = record.copy(deep=True)
    broken["sample_cosine"].values[:] = np.inf
    assert np.isnan(image(broken, "sample_cosine", "linear1", 400).values).all()


def test_an_image_of_nothing_says_so(record, axes):
    broken = record.copy(deep=True)
    broken["sample_cosine"].values[:] = np.nan
    heatmap(broken, layer="linear1", ax=axes)
    assert "not a finite number" in axes.texts[0].get_text()


def test_samples_without_classes_have_no_class_ticks(axes):
    record = made_up_record([0, 1], [2.0, 1.0], image_steps=(0,))
    record["sample_class"].values[:] = -1
    heatmap(record, layer="linear1", ax=axes)
    assert not axes.get_yticklabels()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"layer": "linear9"}, "linear1, linear2"),
        ({"layer": "linear1", "step": 10}, r"\[0, 200, 400\]"),
        ({"quantity": "feature_cosine", "layer": "linear1"}, "neuron_cosine, sample_cosine"),
    ],
)
def test_errors_name_what_there_is(record, wrong, named):
    with pytest.raises(InvalidInput, match=named):
        heatmap(record, **wrong)
    assert not plt.get_fignums()


def test_a_record_without_images_says_so():
    with pytest.raises(InvalidInput, match="observe it"):
        heatmap(made_up_record([0], [2.3]), layer="linear1")


def test_the_most_condensed_layer_is_a_hidden_one(record):
    alike = record.copy(deep=True)
    alike["neuron_cosine"].values[:, [1, 3]] = 1.0
    alike["neuron_cosine"].values[:, [0, 2]] = 0.5
    assert most_condensed(alike, 400) == "linear2"
    alike["neuron_cosine"].values[:] = 0.05
    assert most_condensed(alike, 400) is None
