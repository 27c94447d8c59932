"""The curves that are drawn are those of the record, whatever is missing or broken in it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_up import made_up_record

from cloudchamber._core.errors import InvalidInput
from cloudchamber.diagnosis import find_phases
from cloudchamber.plot import accuracy, loss, similarity
from cloudchamber.plot.colors import class_colors, depth_colors


def lines(ax):
    return {str(line.get_label()): line for line in ax.lines}


def long_name(record, name):
    return record[name].attrs["long_name"]


def test_losses_are_drawn_as_they_are(record, axes):
    assert loss(record, ax=axes) is axes
    for name in ("train_loss", "probe_loss"):
        line = lines(axes)[long_name(record, name)]
        np.testing.assert_array_equal(line.get_xdata(), record["step"])
        np.testing.assert_array_equal(line.get_ydata(), record[name])


def test_the_best_constant_output_is_a_level(record, axes):
    loss(record, ax=axes)
    level = lines(axes)[long_name(record, "constant_predictor_loss")]
    assert set(level.get_ydata()) == {float(record["constant_predictor_loss"])}


def test_phases_are_shaded_where_they_are_found(record, axes):
    loss(record, ax=axes)
    found = list(find_phases(record))
    assert found
    shaded = [(patch.get_gid(), patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
    assert shaded == [(phase.name, phase.start, phase.until) for phase in found]
    assert {text.get_text() for text in axes.texts} == {phase.name for phase in found}


@pytest.mark.parametrize("draw", [loss, accuracy, similarity])
def test_phases_can_be_left_out(record, axes, draw):
    draw(record, ax=axes, phases=False)
    assert not axes.patches


def test_without_axes_one_figure_is_made(record):
    before = plt.get_fignums()
    ax = loss(record)
    assert len(plt.get_fignums()) == len(before) + 1
    assert ax.figure.number not in before


def test_accuracies_and_their_mean(record, axes):
    accuracy(record, ax=axes)
    drawn = lines(axes)
    np.testing.assert_array_equal(drawn["_class 7"].get_ydata(), record["class_accuracy"][:, 7])
    np.testing.assert_allclose(drawn["mean over classes"].get_ydata(), record["class_accuracy"].mean("class"))
    assert set(drawn["chance"].get_ydata()) == {0.1}


def test_a_class_without_samples_is_left_out_of_the_mean(axes):
    values = np.array([[0.5, np.nan, 1.0]] * 3)
    accuracy(made_up_record([0, 1, 2], [3.0, 2.0, 1.0], class_accuracy=values, classes=3), ax=axes)
    np.testing.assert_allclose(lines(axes)["mean over classes"].get_ydata(), 0.75)
    assert "not a finite number" not in lines(axes)


@pytest.mark.parametrize("quantity", ["feature_cosine", "gradient_cosine"])
def test_one_line_per_layer_in_the_colours_of_its_depth(record, axes, quantity):
    similarity(record, quantity, ax=axes)
    drawn = lines(axes)
    for index, (layer, color) in enumerate(zip(record["layer"].values, depth_colors(4), strict=True)):
        np.testing.assert_array_equal(drawn[layer].get_ydata(), record[quantity][:, index])
        assert drawn[layer].get_color() == color
    assert "".join(axes.get_ylabel().split()) == long_name(record, quantity).replace(" ", "")


def test_chosen_layers_keep_the_colours_of_the_whole_network(record, axes):
    similarity(record, layers=["linear3"], ax=axes)
    drawn = lines(axes)
    assert drawn["linear3"].get_color() == depth_colors(4)[2]
    assert "linear1" not in drawn


def test_the_reference_is_the_value_at_initialization(record, axes):
    similarity(record, "feature_cosine", ax=axes)
    dotted = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":" and len(line.get_ydata())]
    np.testing.assert_allclose(dotted, record["feature_cosine"][0])
    assert "at initialization" in lines(axes)


def test_the_reference_is_the_null_where_there_is_one(record, axes):
    similarity(record, "effective_width", ax=axes)
    dotted = {line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":" and len(line.get_ydata())}
    assert dotted == {32.0}
    assert long_name(record, "effective_width_null") in lines(axes)


def test_a_record_that_starts_late_says_so(axes):
    similarity(made_up_record([50, 60], [2.0, 1.0], feature_cosine=[0.2, 0.3]), ax=axes)
    assert "at step 50" in lines(axes)


def test_sparse_measures_are_joined_where_they_were_taken(axes):
    record = made_up_record([0, 1, 2, 3], [4.0, 3.0, 2.0, 1.0], effective_width=[8.0, np.nan, np.nan, 4.0])
    record["valid"].loc[{"quantity": "effective_width", "step": [1, 2]}] = False
    similarity(record, "effective_width", ax=axes)
    assert lines(axes)["linear1"].get_xdata().tolist() == [0, 3]
    assert "not a finite number" not in lines(axes)


def test_what_is_not_finite_is_marked_and_breaks_the_curve(axes):
    loss(made_up_record(range(4), [2.0, np.inf, np.nan, 1.0]), ax=axes)
    np.testing.assert_array_equal(lines(axes)["loss per probe sample"].get_ydata(), [2.0, np.nan, np.nan, 1.0])
    assert lines(axes)["not a finite number"].get_xdata().tolist() == [1, 2]


def test_marks_are_those_of_the_layers_that_are_drawn(axes):
    values = np.array([[0.1, np.nan], [0.2, 0.3]])
    record = made_up_record([0, 1], [2.0, 1.0], feature_cosine=values, layers=("a", "b"))
    similarity(record, layers=["a"], ax=axes)
    assert "not a finite number" not in lines(axes)


def test_a_single_observation_is_a_visible_point(axes):
    similarity(made_up_record([0], [2.3], feature_cosine=[0.4]), ax=axes)
    assert lines(axes)["linear1"].get_marker() == "o"


@pytest.mark.parametrize("count", [0, 1, 10, 11])
def test_many_classes_share_one_colour(count):
    colors = class_colors(count)
    assert len(colors) == count
    assert len(set(colors)) == (1 if count > 10 else count)


def test_many_layers_are_named_by_a_strip(axes):
    names = tuple(f"layer{index}" for index in range(40))
    record = made_up_record([0, 1], [2.0, 1.0], feature_cosine=[0.1, 0.2], layers=names)
    similarity(record, ax=axes)
    (strip,) = [ax for ax in axes.figure.axes if ax is not axes]
    written = [label.get_text() for label in strip.get_yticklabels()]
    assert len(written) <= 12
    assert {"layer0", "layer39"} <= set(written)


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda r: similarity(r, "feature_kosine"), "feature_cosine, gradient_cosine"),
        (lambda r: similarity(r, layers=["linear9"]), "linear1, linear2, linear3, linear4"),
    ],
)
def test_errors_name_what_there_is(record, draw, named):
    with pytest.raises(InvalidInput, match=named):
        draw(record)
    assert not plt.get_fignums()


@pytest.mark.parametrize("draw", [loss, accuracy, similarity])
def test_what_was_not_measured_is_an_error_that_says_so(draw):
    with pytest.raises(InvalidInput, match="observe"):
        draw(made_up_record([0, 1], None))


def test_nothing_finite_still_draws(axes):
    record = made_up_record([0, 1], [np.nan] * 2, feature_cosine=[np.nan] * 2, class_accuracy=np.full((2, 10), np.nan))
    for draw in (loss, accuracy, similarity):
        draw(record, ax=axes)
