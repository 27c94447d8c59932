"""Figures that commands write into files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure

from cloudchamber._core.files import write_bytes
from cloudchamber.plot import phase_diagram

PANEL = (5.6, 4.4)
"""inches of one diagram in a figure of several"""


def draw_diagram(diagram: xr.Dataset, path: Path) -> Path:
    """Draw a phase diagram into a PNG file: a column for each layer, a row for each value of further axes."""
    rows = [list(row) for row in _panels(diagram)]
    figure = Figure(figsize=(PANEL[0] * len(rows[0]), PANEL[1] * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for ax, panel in zip(axes.flat, chain.from_iterable(rows), strict=True):
        phase_diagram(panel, ax=ax)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    write_bytes(path, content.getbuffer())
    return path


def _panels(diagram: xr.Dataset) -> Iterator[Iterator[xr.Dataset]]:
    """Yield for each value of the further axes the diagrams of the layers."""
    cells = diagram["regime" if "regime" in diagram else "phase"]
    further = [dim for dim in cells.dims if dim not in (diagram.attrs["x"], diagram.attrs["y"], "layer")]
    for values in product(*(range(diagram.sizes[dim]) for dim in further)):
        cut = diagram.isel(dict(zip(further, values, strict=True)))
        layers = range(diagram.sizes["layer"]) if "layer" in cells.dims else None
        yield iter([cut]) if layers is None else (cut.isel(layer=[layer]) for layer in layers)
