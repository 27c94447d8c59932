"""The overview shows the four most telling panels that a record has, down to none."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from made_up import made_up_record
from matplotlib.figure import Figure

from cloudchamber.plot import overview


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]


def test_the_four_most_telling_panels(record):
    figure = overview(record)
    assert titles(figure)[:3] == ["Loss", "Feature cosine", "Gradient cosine"]
    assert len(titles(figure)) == 4
    assert "Neuron cosine" in titles(figure)[3]


def test_samples_stand_in_for_neurons_that_are_not_condensed(record):
    spread = record.copy(deep=True)
    spread["neuron_cosine"].values[:] = 0.02
    assert titles(overview(spread))[3] == "Sample cosine of linear3 at step 400"


def test_it_draws_on_the_figure_it_is_given(record):
    own = Figure()
    assert overview(record, figure=own) is own
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("record", "panels"),
    [
        (made_up_record([0, 1], [2.0, 1.0]), 1),
        (made_up_record([0], [2.3], feature_cosine=[0.4], gradient_cosine=[0.4], effective_width=[3.0]), 4),
        (made_up_record([0, 1], [2.0, 1.0], feature_cosine=[np.nan] * 2, image_steps=(0,)), 4),
        (made_up_record([0, 1], None), 0),
        (xr.Dataset(), 0),
    ],
)
def test_records_with_little_in_them(record, panels):
    figure = overview(record)
    figure.canvas.draw()
    assert len(titles(figure)) == panels
