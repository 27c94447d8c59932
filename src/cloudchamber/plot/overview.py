"""The four most telling panels of a record on one figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudchamber.plot import curves, heatmaps, marks, reading
from cloudchamber.plot.images import image_steps, most_condensed

Panel = Callable[..., Axes]
_PANELS = 4


def overview(record: xr.Dataset, *, figure: Figure | None = None) -> Figure:
    """Draw the four most telling panels that the record has.

    In this order of preference: the losses with their phases, the feature cosine, the gradient cosine, the neurons
    of the layer that is most condensed if any is, the samples of the last hidden layer, the accuracies, any other
    layer quantity.

    Args:
        record: a record, as `Monitor.record` or `open_record` gives it.
        figure: where to draw; a new one without it.

    Returns:
        The figure.

    >>> record = xr.Dataset({"probe_loss": ("step", [2.3, 1.1])}, coords={"step": [0, 10]})
    >>> len(overview(record, figure=Figure()).axes)
    1
    """
    figure = plt.figure(figsize=(10.5, 7.2), layout="constrained") if figure is None else figure
    panels = list(_panels(record))[:_PANELS]
    if not panels:
        marks.say(figure.add_subplot(), "This record holds nothing that can be drawn.")
    columns = 2 if len(panels) > 1 else 1
    for index, panel in enumerate(panels):
        panel(ax=figure.add_subplot((len(panels) + 1) // columns, columns, index + 1))
    return figure


def _panels(record: xr.Dataset) -> Iterator[Panel]:
    first = ("feature_cosine", "gradient_cosine")
    present = reading.layer_quantities(record)
    if "probe_loss" in record or "train_loss" in record:
        yield partial(curves.loss, record)
    for name in [name for name in first if name in present]:
        yield partial(curves.similarity, record, name)
    yield from _neurons(record)
    yield from _samples(record)
    if "class_accuracy" in record:
        yield partial(curves.accuracy, record)
    for name in [name for name in present if name not in first]:
        yield partial(curves.similarity, record, name)


def _neurons(record: xr.Dataset) -> Iterator[Panel]:
    steps = image_steps(record)
    layer = most_condensed(record, steps[-1]) if steps else None
    if layer is not None:
        yield partial(heatmaps.heatmap, record, "neuron_cosine", layer=layer)


def _samples(record: xr.Dataset) -> Iterator[Panel]:
    layers = reading.layer_names(record)
    if layers and "sample_cosine" in record and image_steps(record):
        yield partial(heatmaps.heatmap, record, "sample_cosine", layer=(layers[:-1] or layers)[-1])
