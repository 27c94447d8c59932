"""One curve per run: those of the records, whatever some of them do not have."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from made_up import made_up_record

from cloudchamber._core.errors import InvalidInput
from cloudchamber.diagnosis import find_phases
from cloudchamber.plot import compare
from cloudchamber.plot.colors import class_colors


def lines(ax):
    return {str(line.get_label()): line for line in ax.lines}


def dotted(ax):
    return [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":" and len(line.get_ydata())]


@pytest.fixture
def other():
    """A shorter run, observed at other steps, with one more layer and fewer quantities."""
    layers = ("linear1", "linear2", "linear3", "extra", "linear4")
    return made_up_record([0, 7, 30], [2.0, 1.5, 1.2], feature_cosine=np.linspace(0.1, 0.5, 3), layers=layers)


def test_one_line_per_run_in_its_own_colour(record, other, axes):
    assert compare({"a": record, "b": other}, ax=axes) is axes
    for name, run, color in zip("ab", (record, other), class_colors(2), strict=True):
        line = lines(axes)[name]
        np.testing.assert_array_equal(line.get_xdata(), run["step"])
        np.testing.assert_array_equal(line.get_ydata(), run["probe_loss"])
        assert line.get_color() == color


def test_runs_without_names_are_numbered(record, axes):
    compare([record, record], ax=axes)
    assert {"run 1", "run 2"} <= set(lines(axes))


def test_a_layer_quantity_of_a_layer(record, other, axes):
    compare({"a": record, "b": other}, "feature_cosine", layer="linear3", ax=axes)
    np.testing.assert_array_equal(lines(axes)["a"].get_ydata(), record["feature_cosine"][:, 2])
    np.testing.assert_array_equal(lines(axes)["b"].get_ydata(), other["feature_cosine"][:, 2])
    assert axes.get_title(loc="left") == "Feature cosine of linear3"


def test_the_middle_hidden_layer_that_all_runs_have(record, other, axes):
    compare({"a": record, "b": other}, "feature_cosine", ax=axes)
    assert axes.get_title(loc="left") == "Feature cosine of linear2"
    assert find_phases(record).layer == "linear2"


def test_each_run_stands_beside_its_initialization(record, other, axes):
    compare({"a": record, "b": other}, "feature_cosine", layer="linear1", ax=axes)
    np.testing.assert_allclose(dotted(axes), [record["feature_cosine"][0, 0], other["feature_cosine"][0, 0]])
    assert "at initialization" in lines(axes)


def test_or_beside_its_null(record, axes):
    compare([record, record], "effective_width", layer="linear1", ax=axes)
    assert set(dotted(axes)) == {32.0}
    assert record["effective_width_null"].attrs["long_name"] in lines(axes)


def test_a_run_that_starts_late_says_so(record, axes):
    compare([record, record.isel(step=slice(1, None))], ax=axes)
    assert "at initialization or at step 10" in lines(axes)


def test_the_ends_of_the_first_phases_are_marked(record, other, axes):
    compare({"a": record, "b": other}, ax=axes)
    (end,) = [line for line in axes.lines if line.get_gid() == "first phase"]
    assert end.get_xdata()[0] == find_phases(record).named("first phase").stop
    assert end.get_color() == lines(axes)["a"].get_color()
    assert "end of the first phase" in lines(axes)


def test_phases_can_be_left_out(record, axes):
    compare([record, record], ax=axes, phases=False)
    assert "end of the first phase" not in lines(axes)
    assert not [line for line in axes.lines if line.get_gid()]


def test_class_quantities_are_drawn_as_their_mean(record, other, axes):
    compare({"a": record, "b": other}, "class_accuracy", ax=axes)
    np.testing.assert_allclose(lines(axes)["a"].get_ydata(), record["class_accuracy"].mean("class"))
    assert "mean over classes" in " ".join(axes.get_ylabel().split())


@pytest.mark.parametrize(
    ("quantity", "layer", "absent"),
    [("gradient_cosine", None, "b"), ("train_loss", None, "b"), ("feature_cosine", "extra", "a")],
)
def test_runs_that_lack_it_are_named(record, other, axes, quantity, layer, absent):
    compare({"a": record, "b": other}, quantity, layer=layer, ax=axes)
    assert f"not measured: {absent}" in lines(axes)
    assert absent not in lines(axes)


def test_many_runs_are_named_by_a_strip(record, axes):
    compare([record] * 12, ax=axes)
    (strip,) = [ax for ax in axes.figure.axes if ax is not axes]
    assert "run 12" in [label.get_text() for label in strip.get_yticklabels()]
    assert sum(line.get_linestyle() == "-" for line in axes.lines) == 12


def test_what_is_not_finite_is_marked(record, axes):
    compare([record, made_up_record(range(4), [2.0, np.inf, np.nan, 1.0])], ax=axes)
    assert lines(axes)["not a finite number"].get_xdata().tolist() == [1, 2]
    np.testing.assert_array_equal(lines(axes)["run 2"].get_ydata(), [2.0, np.nan, np.nan, 1.0])


def test_a_single_observation_is_a_visible_point(axes):
    compare([made_up_record([0], [2.3])] * 2, ax=axes)
    assert lines(axes)["run 1"].get_marker() == "o"


def test_nothing_measured_still_draws(axes):
    bare = xr.Dataset({"probe_loss": ("step", [np.nan])}, coords={"step": [0]})
    compare([bare, bare], ax=axes)
    assert [text.get_text() for text in axes.texts] == ["Measured in none of these runs."]


def test_odd_names_are_shown_as_they_are(record, axes):
    compare({"_a": record, "cost $1$": record}, ax=axes)
    axes.figure.canvas.draw()
    assert {" _a", r"cost \$1\$"} <= set(lines(axes))


def test_without_axes_one_figure_is_made(record):
    before = plt.get_fignums()
    compare([record, record])
    assert len(plt.get_fignums()) == len(before) + 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quantity": "probe_los"}, "probe_loss, train_loss"),
        ({"quantity": "sample_cosine"}, "can draw"),
        ({"quantity": "feature_cosine", "layer": "linear9"}, "linear1, linear2, linear3, linear4"),
        ({"layer": "linear1"}, "no quantity of a layer"),
    ],
)
def test_errors_name_what_there_is(record, options, words):
    with pytest.raises(InvalidInput, match=words):
        compare([record, record], **options)
    assert not plt.get_fignums()


def test_runs_without_a_common_layer(record):
    apart = made_up_record([0, 1], [2.0, 1.0], feature_cosine=[0.1, 0.2], layers=("a", "b"))
    with pytest.raises(InvalidInput, match="name one with layer="):
        compare([record, apart], "feature_cosine")


def test_what_no_run_has_is_an_error_that_says_so():
    bare = xr.Dataset(coords={"step": [0]})
    with pytest.raises(InvalidInput, match="observe"):
        compare([bare, bare])


def test_one_run_is_too_few(record):
    with pytest.raises(InvalidInput, match="at least two runs"):
        compare([record])
