"""overview2025, Figure 5: when networks condense: phase diagrams of two and three layers, from trained networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cloudchamber.claims import Claim
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.overview2025.packing import packed
from cloudchamber.papers.overview2025.regime_picture import MNIST, SLOPES, THREE, TWO, draw
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.training.diagrams import DIAGRAMS

_SOURCE = "overview2025, Section 5 and Figure 5"
_PUBLISHED = {0.5: -0.506, 1.0: 0.007, 1.75: 0.372}
_TOLERANCE, _NEAR = 0.05, 0.05
_BEYOND = {TWO: 0.1, MNIST: 0.1, THREE: 0.25}
_LAYERS = {TWO: ("input", "output"), MNIST: ("input", "output"), THREE: ("first", "second", "output")}
_KINDS = {TWO: "two-layer-regime", MNIST: "two-layer-regime", SLOPES: "two-layer-regime", THREE: "three-layer-regime"}
_FIVE = [-0.4, -0.2, 0.0, 0.2, 0.4]
_DIGITS = {"gamma": [0.6, 0.8, 1.0, 1.2, 1.4], "gamma_prime": _FIVE, "samples": 40}
_LINE = {"gamma": list(_PUBLISHED), "gamma_prime": [0.0]}
_FULL: dict[str, dict[str, Any]] = {
    TWO: {},
    SLOPES: {**_LINE, "seeds": 30},
    THREE: {
        "gamma": [1.0, 1.5, 2.0, 2.5, 3.0],
        "gamma_prime_1": [-1.0, -0.5, 0.0, 0.5, 1.0],
        "widths": [50, 100, 200, 400],
    },
    MNIST: {**_DIGITS, "data": "mnist", "widths": [200, 400, 800]},
}
_SIZES: Mapping[Scale, Mapping[str, dict[str, Any]]] = {
    "smoke": {
        TWO: {"widths": [50, 100]},
        SLOPES: {**_LINE, "widths": [50, 100], "seeds": 2},
        THREE: {"widths": [10, 20]},
        MNIST: {"data": "digits", "samples": 6, "widths": [20, 40], "loss_ratio": 1e-2},
    },
    "laptop": _FULL,
    "paper": _FULL,
}


def diagram(folder: Path, *, name: str, scale: Scale, options: Mapping[str, Any]) -> xr.Dataset:
    """Return a phase diagram; what is done of it is kept in the folder.

    Args:
        folder: of the study.
        name: that of `cloudchamber sweep`.
        scale: whose defaults it has.
        options: what is changed of them.
    """
    return DIAGRAMS[name].run(scale, ledger=folder / "ledger.sqlite", **options)


def recipes(scale: Scale) -> dict[str, Study]:
    """Return the diagrams; `laptop` and `paper` are the same: the paper's sizes where they are known."""
    base = "smoke" if scale == "smoke" else "laptop"
    return {
        name: Study(diagram, {"name": _KINDS[name], "scale": base, "options": options})
        for name, options in _SIZES[scale].items()
    }


def _sign_claim(name: str, layer: str) -> Claim:
    theory = "γ < 1 or γ' > γ − 1: linear; γ > 1 and γ' < γ − 1: condensed"
    words = {TWO: theory, MNIST: theory, THREE: "Three-layer networks have similar phase diagrams for each layer"}
    return Claim(
        f"signs, {name}, {layer}",
        f"{words[name]}.",
        f"of the cells at least {_BEYOND[name]:g} off theory's boundary, the share in which the slope of log RD over "
        f"log m has the sign that theory says; {name}, {layer} layer",
        "the paper's theorems",
        _SOURCE,
        at_least=1,
        seeds=1,
    )


def _slope_claim(gamma: float, slope: float) -> Claim:
    return Claim(
        f"slope at γ = {gamma:g}",
        "RD → 0 in the linear regime, → ∞ in the condensed one, of order 1 on the boundary.",
        f"slope of log RD over log m at γ = {gamma:g}, γ' = 0, widths 1000 to 40 000",
        "published slopes (Luo et al., 2021); the tolerance of 0.05 is ours: at γ = ½ 30 seeds leave an error of 0.02",
        _SOURCE,
        slope - _TOLERANCE,
        slope + _TOLERANCE,
        (slope,),
        seeds=1,
    )


CLAIMS = (
    *(_sign_claim(name, layer) for name, layers in _LAYERS.items() for layer in layers),
    *(_slope_claim(gamma, slope) for gamma, slope in _PUBLISHED.items()),
    Claim(
        "boundary",
        "The boundaries are γ = 1 and γ' = γ − 1.",
        "mean over γ' of |γ at which the measured slope crosses 0 − theory's|; input layer, two layers",
        "the paper's theorems; the tolerance is ours",
        _SOURCE,
        at_most=_NEAR,
        seeds=1,
    ),
)


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Compare signs, slopes and boundaries with theory's."""
    found = {name: run.result for name, run in runs.items()}
    slopes = found[SLOPES].slope.sel(layer="input", gamma_prime=0)
    numbers = {
        **{f"signs, {name}, {layer}": _right(found[name], name, layer) for name in _LAYERS for layer in _LAYERS[name]},
        **{f"slope at γ = {gamma:g}": [float(slopes.sel(gamma=gamma))] for gamma in _PUBLISHED},
        "boundary": [float(np.mean(np.abs(crossings(found[TWO]))))],
    }
    why = {f"signs, {name}, {layer}": _missing(found[name], layer) for name in _LAYERS for layer in _LAYERS[name]}
    return Measured(numbers, packed({name: _kept(name, one) for name, one in found.items()}), why)


def _kept(name: str, found: xr.Dataset) -> xr.Dataset:
    """What is drawn and what was counted; RD of single networks only where it is drawn."""
    if name == SLOPES:
        return found[["slope", "slope_error", "relative_distance"]]
    named = [str(key) for key in found.data_vars if str(key).startswith("named_")]
    return found[["fitted", "slope", "slope_interval", "regime", "predicted_regime", "margin", "boundary", *named]]


def _right(found: xr.Dataset, name: str, layer: str) -> list[float]:
    cells = found.sel(layer=layer)
    away = cells.margin if name == THREE else cells.boundary_distance
    off = abs(away) >= _BEYOND[name] - 1e-9
    right = np.sign(cells.slope) == np.sign(cells.margin)
    return [float((right & off).sum() / off.sum())]


def _missing(found: xr.Dataset, layer: str) -> str:
    return f"{int(found.slope.sel(layer=layer).isnull().sum())} cells have no slope: too few networks fitted"


def crossings(found: xr.Dataset) -> np.ndarray:
    """Return, for every γ', at which γ the slope of the input layer crosses 0, less theory's critical γ.

    By the straight line from the last cell whose slope is below 0 to the next one (or, at the edge, through the last
    two); NaN where no slope is below 0.
    """
    cells = found.sel(layer="input").transpose("gamma_prime", "gamma", ...)
    measured = [_crossing(cells.gamma.values, row) for row in cells.slope.values]
    critical = (cells.gamma - cells.margin).isel(gamma=0).values
    return np.array(measured) - critical


def _crossing(x: np.ndarray, y: np.ndarray) -> float:
    below = np.flatnonzero(y < 0)
    if not len(below):
        return float("nan")
    place = min(below[-1], len(x) - 2)
    return float(x[place] - y[place] * (x[place + 1] - x[place]) / (y[place + 1] - y[place]))


EXHIBIT = Exhibit(
    id="overview2025/fig5",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=draw,
    settings="Gradient flow until the loss is 1e-6 of its first (three layers: 1e-4); RD is the largest relative "
    "distance from the start until then. Two layers: x = 4 points even in [−½, ½], y = x², 9×9 cells of γ from 0.6 to "
    "1.4 and γ' from −0.4 to 0.4, widths 1000 to 40 000, all as published; 3 seeds, of slopes 30. Neither data nor "
    "sizes are known for MNIST (ours: 40 images, even against odd, 5×5 cells, widths 200 to 800), nor sizes for three "
    "layers (ours: 5×5 cells, widths 50 to 400). `laptop` and `paper` are the same: the published sizes, where they "
    "are known, take minutes. See docs/phase-diagrams.md.",
    explanation="Three layers: no cell off the boundary has the wrong sign. In one (γ = 3, γ'₁ = −1: grey) most "
    "networks do not reach the loss, so that no layer has a slope there; the claim counts it as not right. It is a "
    "cell in which the first layer, the fastest one, condenses most: networks end at the loss of the best linear "
    "function of x, whatever the patience (docs/phase-diagrams.md, where the argument stops). Theory supposes that "
    "the flow reaches a small loss, and has nothing to say there.",
)
