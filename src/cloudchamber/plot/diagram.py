"""Phase diagrams: what was measured in every cell, theory's boundary over it, and the named scalings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from cloudchamber._core.errors import require
from cloudchamber.plot import marks
from cloudchamber.plot.colors import INK, cosine_colors

_UNDECIDED = "undecided"
_COLORS = {
    "frozen": "#92dadb",
    "kernel": "#3f90da",
    "learning": "#ffa90e",
    "unstable": "#bd1f01",
    _UNDECIDED: "#e3e6ea",
}
_SYMBOLS = {
    "gamma": "γ",
    "gamma_prime": "γ'",
    "gamma_prime_1": "γ'₁",
    "gamma_prime_2": "γ'₂",
    "c_gamma": "exponent of the output scale, c_γ",
    "c_eta": "exponent of the learning rate, c_η",
    "c_u": "exponent of the second layer's variance, c_u",
    "c_w": "exponent of the first layer's variance, c_w",
    "scaling": "",
    "row": "",
}
_WRITTEN = {"lecun": "LeCun", "he": "He", "xavier": "Xavier", "ntk": "NTK", "ntk+": "NTK+", "ntk-": "NTK−"}


def phase_diagram(diagram: xr.Dataset, *, layer: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw a phase diagram: slopes (of regimes) or classes (of phases), theory's boundary, the named initializations.

    A cell whose slope has no known sign, or whose phase is undecided, has a dot; one that contradicts theory, where
    theory does not call it critical, a cross.

    Args:
        diagram: what `DIAGRAMS[...].run` returns, or `cc.open_record` reads; of more than two axes, a cut
            (`diagram.sel(gamma_prime_2=0)`).
        layer: of a regime diagram: which layer; the first one without it.
        ax: where to draw; a new figure without it.

    Returns:
        The Axes.

    Raises:
        InvalidInput: if it is no phase diagram, has more axes than two, or no such layer.

    >>> from matplotlib.figure import Figure
    >>> cells = ("gamma", "gamma_prime"), np.array([["linear"], ["condensed"]])
    >>> values = {"slope": (cells[0], [[-0.4], [0.2]]), "regime": cells, "predicted_regime": cells}
    >>> diagram = xr.Dataset(values, {"gamma": [0.6, 1.4], "gamma_prime": [0.0]}, {"x": "gamma", "y": "gamma_prime"})
    >>> phase_diagram(diagram, ax=Figure().add_subplot()).get_xlabel()
    'γ'
    """
    cut = _plane(diagram, layer)
    x, y = str(cut.attrs["x"]), str(cut.attrs["y"])
    ax = marks.axes_or_new(ax)
    _fill(ax, cut, x, y)
    _mark_cells(ax, cut, x, y)
    _draw_boundary(ax, cut, x)
    _name_points(ax, cut, x, y)
    _ticks(ax, cut, x, y)
    chosen = f", {cut.layer.item()} layer" if "layer" in cut.coords else ""
    words = [f"{_SYMBOLS.get(name, name)} = {cut[name].item():g}" for name in _held(cut)]
    marks.tidy(ax, ", ".join([f"{cut.attrs.get('title', 'Phase diagram')}{chosen}", *words]))
    ax.set_xlabel(_SYMBOLS.get(x, x), color=INK)
    ax.set_ylabel(_SYMBOLS.get(y, y), color=INK)
    return ax


def _plane(diagram: xr.Dataset, layer: str | None) -> xr.Dataset:
    """Return the two-dimensional diagram to draw, x first."""
    known = "x" in diagram.attrs and "y" in diagram.attrs and ("regime" in diagram or "phase" in diagram)
    require(known, "a phase diagram has axes and a regime or phase in each cell", list(diagram.data_vars), "run one")
    cut = diagram
    if "layer" in diagram.dims:
        layers = diagram.layer.values.tolist()
        require(layer is None or layer in layers, f"a layer is one of {layers}", repr(layer), "choose one of them")
        cut = diagram.sel(layer=layer or layers[0])
    kind = "regime" if "regime" in cut else "phase"
    x, y = cut.attrs["x"], cut.attrs["y"]
    others = [name for name in cut[kind].dims if name not in (x, y)]
    cut = cut.squeeze([name for name in others if cut.sizes[name] == 1])
    left = {str(name): cut[name].values.tolist() for name in cut[kind].dims if name not in (x, y)}
    require(not left, f"a diagram is drawn over {x} and {y}", f"also {left}", "cut it: diagram.sel(…)")
    return cut.transpose(x, y, ...)


def _held(cut: xr.Dataset) -> list[str]:
    """The further axes of the diagram, each at one value."""
    axes = [str(name).removeprefix("named_") for name in cut.data_vars if str(name).startswith("named_")]
    return [name for name in axes if name in cut.coords and cut[name].ndim == 0]


def _fill(ax: Axes, cut: xr.Dataset, x: str, y: str) -> None:
    edges = _edges(_places(cut, x)), _edges(_places(cut, y))
    if "regime" in cut:
        limit = max(0.1, float(abs(cut.slope).fillna(0.0).max()))
        drawn = ax.pcolormesh(*edges, cut.slope.values.T, cmap=cosine_colors(), vmin=-limit, vmax=limit)
        bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.85, label="slope of log RD over log width")
        bar.outline.set_visible(False)
        return
    numbers = np.vectorize(list(_COLORS).index)(cut.phase.values).T
    ax.pcolormesh(*edges, numbers, cmap=ListedColormap(list(_COLORS.values())), vmin=-0.5, vmax=len(_COLORS) - 0.5)
    present = [name for name in _COLORS if bool((cut.phase == name).any())]
    handles = [Patch(color=_COLORS[name], label=name) for name in present]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), edgecolor="none", fontsize="small")


def _mark_cells(ax: Axes, cut: xr.Dataset, x: str, y: str) -> None:
    measured, predicted = ("regime", "predicted_regime") if "regime" in cut else ("phase", "predicted_phase")
    unknown = (cut[measured] == _UNDECIDED).values
    wrong = ~unknown & (cut[measured] != cut[predicted]).values & (cut[predicted] != "critical").values
    for chosen, style in ((unknown, "."), (wrong, "x")):
        across, up = np.nonzero(chosen)
        name = "undecided" if style == "." else "against theory"
        ax.plot(_places(cut, x)[across], _places(cut, y)[up], style, color=INK, markersize=5, gid=name)


def _draw_boundary(ax: Axes, cut: xr.Dataset, x: str) -> None:
    if "boundary" not in cut:
        return
    along = cut[str(cut.boundary.dims[0])].values
    values = cut.boundary.values
    line = (along, values) if cut.boundary.dims[0] == f"boundary_{x}" else (values, along)
    limits = ax.get_xlim(), ax.get_ylim()
    ax.plot(*line, color=INK, linewidth=1.6, gid="boundary")
    ax.set(xlim=limits[0], ylim=limits[1])


def _name_points(ax: Axes, cut: xr.Dataset, x: str, y: str) -> None:
    """Mark the named scalings of this plane, those at one place by one point; widen the Axes to show them."""
    limits = ax.get_xlim(), ax.get_ylim()
    places = _named_places(cut, x, y)
    for place, names in places.items():
        ax.plot(*place, "o", color="white", markeredgecolor=INK, markersize=7, gid="named", clip_on=False)
        words = ax.annotate(", ".join(names), place, (6, 6), textcoords="offset points", fontsize="small", color=INK)
        words.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    ax.set(xlim=_room([place[0] for place in places], limits[0]), ylim=_room([place[1] for place in places], limits[1]))


def _named_places(cut: xr.Dataset, x: str, y: str) -> dict[tuple[float, float], list[str]]:
    if "named" not in cut.dims:
        return {}
    here = np.ones(cut.sizes["named"], dtype=bool)
    for name in _held(cut):
        here &= np.isclose(cut[f"named_{name}"].values, cut[name].item())
    places: dict[tuple[float, float], list[str]] = {}
    for index in np.flatnonzero(here):
        place = float(cut[f"named_{x}"][index]), float(cut[f"named_{y}"][index])
        places.setdefault(place, []).append(_shown(str(cut.named.values[index])))
    return places


def _shown(name: str) -> str:
    return _WRITTEN.get(name, name.replace("_", " "))


def _room(values: Sequence[float], limits: tuple[float, float]) -> tuple[float, float]:
    """The limits, widened where a value lies outside."""
    pad = 0.04 * (limits[1] - limits[0])
    low, high = min(values, default=limits[0]), max(values, default=limits[1])
    return (low - pad if low < limits[0] else limits[0], high + pad if high > limits[1] else limits[1])


def _ticks(ax: Axes, cut: xr.Dataset, x: str, y: str) -> None:
    if cut[x].dtype.kind in "UO":
        ax.set_xticks(_places(cut, x), cut[x].values.tolist())
    if cut[y].dtype.kind in "UO":
        ax.set_yticks(_places(cut, y), cut[y].values.tolist())


def _places(cut: xr.Dataset, name: str) -> np.ndarray:
    """The values of an axis; of one of words, their numbers."""
    return np.arange(cut.sizes[name], dtype=float) if cut[name].dtype.kind in "UO" else cut[name].values


def _edges(centres: np.ndarray) -> np.ndarray:
    """The edges of cells around their centres, which rise or fall."""
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middles = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])
