"""Linear or condensed: what relative changes measured at several widths say of each point, beside what theory says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import xarray as xr

from cloudchamber.theory.exact import Number
from cloudchamber.theory.regime import Regime
from cloudchamber.training.diagrams.slopes import log, sign, slopes

Point = tuple[float, ...]
Theory = Callable[..., Mapping[str, Regime]]
"""Of the coordinates of a point: the regime of each layer."""

NAMES = {-1: "linear", 0: "undecided", 1: "condensed"}
_FINE = 81
_DESCRIPTIONS = {
    "relative_distance": "sup over time of |θ(t) − θ(0)|/|θ(0)|, Frobenius norms",
    "loss_ratio": "last loss over first",
    "steps": "accepted steps of the flow",
    "fitted": "share of networks that reached the wanted loss; the others do not count",
    "slope": "d log RD / d log m, least squares through the means over seeds",
    "slope_error": "standard error of the slope, from the scatter of seeds",
    "slope_interval": "half of its 95 % interval",
    "local_slope": "the same between neighbouring widths",
    "regime": "by the sign of the slope; undecided if its interval holds 0",
    "predicted_slope": "theory's limit for wide networks",
    "predicted_regime": "theory's",
    "margin": "γ minus theory's critical γ at the same other coordinates",
    "boundary": "theory's critical γ",
}


def regimes(networks: xr.Dataset, points: Sequence[str], theory: Theory, target: float) -> xr.Dataset:
    """Return the measured and the predicted slope and regime of each layer at each point.

    Args:
        networks: `relative_distance` (*points, width, seed, layer), `loss_ratio` (*points, width, seed).
        points: the axes of the diagram, γ first.
        theory: what is predicted.
        target: the loss ratio that a network has to reach to count.
    """
    fitted = networks.loss_ratio <= target
    logs = log(networks.relative_distance.where(fitted))
    found = slopes(logs.transpose(..., "width", "seed"))
    sides = sign(found)
    measured = xr.apply_ufunc(np.vectorize(NAMES.get, otypes=["U9"]), sides)
    dataset = networks.assign(fitted=fitted.mean("seed")).assign(found.data_vars).assign(regime=measured)
    predicted = _predicted(dataset, points, theory)
    dataset = dataset.assign(predicted).assign(boundary=_boundary(dataset, points, theory))
    for name, words in _DESCRIPTIONS.items():
        dataset[name].attrs["long_name"] = words
    return dataset.assign_attrs(x=points[0], y=points[1])


def named_points(named: Mapping[str, Sequence[Number]], points: Sequence[str]) -> dict[str, xr.DataArray]:
    """Return the coordinates of the named initializations, `named_γ` and so on over `named`."""
    names = {"named": list(named)}
    columns = zip(points, np.array([[float(value) for value in point] for point in named.values()]).T, strict=True)
    return {f"named_{axis}": xr.DataArray(values, names, dims="named") for axis, values in columns}


def agreement(dataset: xr.Dataset, distance: xr.DataArray, beyond: float) -> str:
    """Return, for each layer, in how many cells off the boundary the measured regime is theory's."""
    lines = []
    for layer in dataset.layer.values:
        cells = dataset.sel(layer=layer)
        off = abs(distance.sel(layer=layer)) >= beyond - 1e-9
        right = np.sign(cells.slope) == np.sign(cells.margin)
        decided = (cells.regime == cells.predicted_regime) & off
        contrary = off & ~right & (cells.regime != NAMES[0])
        away = float(abs(cells.slope - cells.predicted_slope).where(off).max())
        lines.append(
            f"{layer}: {int((right & off).sum())} of {int(off.sum())} cells at least {beyond:g} off theory's boundary "
            f"have the slope's sign right ({int(decided.sum())} beyond the 95 % interval, {int(contrary.sum())} "
            f"contradict it); largest deviation of a slope {away:.2f}"
        )
    return "\n".join(lines)


def _predicted(dataset: xr.Dataset, points: Sequence[str], theory: Theory) -> dict[str, xr.DataArray]:
    axes = {name: dataset[name].values.tolist() for name in points}
    layers = dataset.layer.values.tolist()
    cells = [[theory(*point)[layer] for layer in layers] for point in product(*axes.values())]
    shape = (*(len(values) for values in axes.values()), len(layers))

    def over_cells(values: list[list[float]] | list[list[str]]) -> xr.DataArray:
        return xr.DataArray(np.array(values).reshape(shape), {**axes, "layer": layers}, (*points, "layer"))

    return {
        "predicted_slope": over_cells([[float(regime.exponent) for regime in cell] for cell in cells]),
        "predicted_regime": over_cells([[regime.name for regime in cell] for cell in cells]),
        "margin": over_cells([[float(regime.margin) for regime in cell] for cell in cells]),
    }


def _boundary(dataset: xr.Dataset, points: Sequence[str], theory: Theory) -> xr.DataArray:
    """The critical γ along the second axis, finely, at the values of the further ones."""
    second = dataset[points[1]].values
    pad = 0.5 * (second.max() - second.min()) / max(len(second) - 1, 1)
    fine = np.round(np.linspace(second.min() - pad, second.max() + pad, _FINE), 9).tolist()
    axes = {f"boundary_{points[1]}": fine, **{name: dataset[name].values.tolist() for name in points[2:]}}
    layers = dataset.layer.values.tolist()
    values = [[-float(theory(0.0, *others)[layer].margin) for layer in layers] for others in product(*axes.values())]
    shape = (*(len(axis) for axis in axes.values()), len(layers))
    return xr.DataArray(np.array(values).reshape(shape), {**axes, "layer": layers}, (*axes, "layer"))
