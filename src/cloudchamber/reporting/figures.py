"""The figures of a report: a caption, a place for the chart, its legend, and an honest sentence where it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from cloudchamber.diagnosis import Phase, find_phases
from cloudchamber.plot import reading
from cloudchamber.plot.images import KINDS
from cloudchamber.reporting.markup import Markup, element, joined
from cloudchamber.reporting.panels import MOST_POINTS
from cloudchamber.reporting.words import count, number, title

COSINES = ("feature_cosine", "gradient_cosine")
_MOST_ROWS = 40
_FEW_ROWS = 16
_ROW = 24
_NARROW_ROW = 18


def figures(record: xr.Dataset, charts: Mapping[str, Any], images: Mapping[str, Any] | None) -> dict[str, Markup | str]:
    """Return the figures of each section, and the sentence at its head."""
    drawn = charts["charts"]
    others = [name for name in reading.layer_quantities(record) if name not in COSINES]
    layered = [name for name in (*COSINES, *others) if name in drawn]
    return {
        "phases": joined([_phases(record), _hint() if drawn else ""]),
        "training": joined([_curve(record, drawn, "loss"), _curve(record, drawn, "accuracy")]),
        "similarity_words": _similarity_words(drawn),
        "layer_legend": _legend("layers", "filter long" if record.sizes["layer"] > _FEW_ROWS else "filter")
        if layered
        else Markup(),
        "similarity": joined(_similarity(record, drawn, name) for name in COSINES),
        "images_words": _images_words(images),
        "images": _images(record, images),
        "layers_words": _layers_words(record),
        "layer_charts": joined(_curve(record, drawn, name) for name in others),
    }


def _phases(record: xr.Dataset) -> str:
    found = find_phases(record)
    if not len(found):
        because = f" ({found.reason})" if found.reason else ""
        return f"No phase is shaded: {found.status}{because}."
    spans = [f"{phase.name} from step {number(phase.start)}{_end(phase)}" for phase in found]
    return f"Shaded: {'; '.join(spans)}."


def _hint() -> Markup:
    words = " Drag across a chart to zoom into its steps, double-click to see all."
    return element("span", words, class_="hint")


def _end(phase: Phase) -> str:
    if phase.stop is None:
        return ", not over at the end of the record"
    reasons = {"features": ", where the feature similarity peaks", "loss": ", where the loss leaves its plateau"}
    return f" to step {number(phase.stop)}{reasons.get(phase.ended_by, '')}"


def _curve(record: xr.Dataset, drawn: Mapping[str, Any], name: str) -> Markup:
    source = {"loss": "probe_loss", "accuracy": "class_accuracy"}.get(name, name)
    words = reading.label(record[source]) if source in record else ""
    caption = element("figcaption", element("h3", title(name)), element("p", words[:1].upper() + words[1:]))
    if name not in drawn:
        absent = _missing(name, held=source in record)
        return element("figure", element("figcaption", element("h3", title(name))), absent, class_="chart")
    own = drawn[name]["lines"][0]["role"] != "layer"
    legend = _legend(name) if own else Markup()
    return element("figure", caption, _plot(name, drawn), legend, _notes(record, drawn, name), class_="chart")


def _similarity(record: xr.Dataset, drawn: Mapping[str, Any], name: str) -> Markup:
    if name not in drawn or len(drawn[name]["lines"]) > _MOST_ROWS:
        return _curve(record, drawn, name)
    chart = drawn[name]
    words = reading.label(record[name])
    height = f"height:{_height(len(chart['lines']))}px"
    label = f"{title(name)} of each layer: {chart['reference']}, highest and last"
    change = element("div", class_="plot", role="img", aria_label=label, data_change=name, style=height)
    return element(
        "figure",
        element("figcaption", element("h3", title(name)), element("p", words[:1].upper() + words[1:])),
        element("div", _plot(name, drawn, height), _notes(record, drawn, name)),
        element("div", change, _change_legend(chart["reference"])),
        class_="wide",
    )


def _height(rows: int) -> int:
    return max(320, (_ROW if rows <= _FEW_ROWS else _NARROW_ROW) * rows + 60)


def _plot(name: str, drawn: Mapping[str, Any], style: str | None = None) -> Markup:
    steps = drawn[name]["lines"][0]["x"]
    label = f"{title(name)} over steps {steps[0]} to {steps[-1]}"
    return element("div", class_="plot", role="img", aria_label=label, data_chart=name, style=style)


def _legend(group: str, more: str = "") -> Markup:
    label = "Layers shown in every chart" if group == "layers" else f"Lines of {group}"
    return element("div", class_=f"legend {more}".strip(), role="group", aria_label=label, data_legend=group)


def _change_legend(reference: str) -> Markup:
    marks = {
        reference: element("circle", cx="9", cy="5", r="3.6", fill="none", stroke="currentColor", stroke_width="2"),
        "highest": element("path", d="M9 1l4.200 7.500H4.800Z", fill="currentColor"),
        "last": element("circle", cx="9", cy="5", r="4.6", fill="currentColor"),
    }
    keys = [
        element("span", element("svg", mark, viewBox="0 0 18 10", aria_hidden="true"), name, class_="key")
        for name, mark in marks.items()
    ]
    return element("div", *keys, class_="legend")


def _notes(record: xr.Dataset, drawn: Mapping[str, Any], name: str) -> Markup:
    chart, notes = drawn[name], []
    steps = len(np.unique(np.concatenate([line["x"] for line in chart["lines"]])))
    if chart["broken"]:
        amount = count(len(chart["broken"]), "observation holds", "observations hold")
        notes.append(
            f"{amount} a value that is no finite number, first at step {number(chart['broken'][0])} (crosses)."
        )
    if steps == 1:
        notes.append("One observation so far: a point, not yet a curve.")
    if record.sizes["step"] > MOST_POINTS and steps >= MOST_POINTS:
        notes.append(f"Drawn at {number(steps)} evenly spread steps of {number(record.sizes['step'])}.")
    return element("p", " ".join(notes), class_="note") if notes else Markup()


def _missing(name: str, *, held: bool = False) -> Markup:
    why = "holds no finite number in this record" if held else "was not measured in this run"
    return element("p", f"{title(name)} {why}, so there is nothing to draw.", class_="missing")


def _similarity_words(drawn: Mapping[str, Any]) -> str:
    shown = next((drawn[name] for name in COSINES if name in drawn), None)
    if shown is None:
        return "A similarity can be read only beside what it is compared with; this record holds none."
    return (
        "Colour runs from the first layer to the last. A similarity can be read only beside what it is compared with: "
        f"beside each chart, every layer's last and highest value stand next to the one {shown['reference']}; "
        "the table of layers says what shuffled inputs give, where that was measured."
    )


def _layers_words(record: xr.Dataset) -> str:
    if "effective_width" not in record or "effective_width_null" not in record:
        return "Each layer at its last measurement."
    return (
        "Each layer at its last measurement. The effective width counts the directions along which a layer's neurons "
        "point; beside it stands what as many random neurons would give. The smaller the share, the more condensed."
    )


def _images_words(images: Mapping[str, Any] | None) -> str:
    if images is None:
        return "Cosines between single samples and between single neurons."
    thin = (
        f" Shown are {len(images['steps'])} of {images['of']} image steps."
        if len(images["steps"]) < images["of"]
        else ""
    )
    return (
        "Cosines between single samples and between single neurons. Blocks along the diagonal are groups that point "
        f"the same way; a neuron pair at −1 lies on one line in opposite directions.{thin}"
    )


def _images(record: xr.Dataset, images: Mapping[str, Any] | None) -> Markup:
    if images is None:
        return element("p", "No cosine images were taken in this run, so there is nothing to draw.", class_="missing")
    found = [_image(record, name) if name in images["kinds"] else _no_image(name) for name in KINDS]
    ends = [element("span", text) for text in ("−1", "1")]
    gap = [element("i", class_="gap"), element("span", "not a number")]
    scale = element("div", ends[0], element("i", id="image-scale"), ends[1], *gap, class_="scale")
    return joined([_controls(record, images), element("div", *found, class_="pair"), scale])


def _image(record: xr.Dataset, name: str) -> Markup:
    words = reading.label(record[name])
    ordered = "ordered by class" if name == "sample_cosine" else "similar neurons side by side"
    caption = element("p", f"{words[:1].upper() + words[1:]}, {ordered}")
    heat = element("div", class_="plot heat", role="img", aria_label=title(name), data_image=name)
    note = element("p", class_="note")
    return element("figure", element("figcaption", element("h3", title(name)), caption), heat, note, class_="chart")


def _no_image(name: str) -> Markup:
    return element("figure", element("figcaption", element("h3", title(name))), _missing(name), class_="chart")


def _controls(record: xr.Dataset, images: Mapping[str, Any]) -> Markup:
    names = [reading.layer_names(record)[index] for index in images["layers"]]
    options = [element("option", name, selected=index == max(len(names) - 2, 0)) for index, name in enumerate(names)]
    choices = [element("label", "Layer", element("select", *options, id="image-layer"))]
    if "neuron_cosine" in images["kinds"]:
        orders = [
            element("option", words, value=value)
            for value, words in (("step", "at each step anew"), ("last", "as at the last step"))
        ]
        choices.append(element("label", "Order of the neurons", element("select", *orders, id="image-order")))
    last, still = len(images["steps"]) - 1, len(images["steps"]) < 2
    svg = element(
        "svg", element("path", d="M4 2.500v11l9-5.500Z", class_="solid"), viewBox="0 0 16 16", aria_hidden="true"
    )
    play = element(
        "button", svg, element("span", "Play"), id="image-play", type="button", aria_pressed="false", disabled=still
    )
    slider = element(
        "input", id="image-step", type="range", aria_label="Step", min=0, max=last, value=last, step=1, disabled=still
    )
    line = element(
        "svg", id="timeline", class_="timeline", viewBox="0 0 1000 46", preserveAspectRatio="none", aria_hidden="true"
    )
    words = element("output", id="image-now", for_="image-step")
    return element(
        "div",
        element("div", *choices, class_="choices"),
        play,
        element("div", words, line, slider, class_="time"),
        class_="controls",
    )
