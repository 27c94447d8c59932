"""The phase diagrams: seconds, agreement with theory, and the published slopes.

`python benchmarks/phase_diagram.py` runs all parts, `… published three` some of them. Each part is resumable (its
ledger lies in the system's temporary folder) and writes every network and slope to `results/phase_diagram_<part>.nc`
(`cc.open_record`), and what it took and found to `results/phase_diagram.json`. One thread. "mnist" needs the data set
($CLOUDCHAMBER_DATA, cache or download); it and "picture" (docs/images/phase-diagrams.png, from the results) are only
run when they are named.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr

import cloudchamber as cc
from cloudchamber.training.diagrams import DIAGRAMS

RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "phase-diagrams.png"
LAYERS = ("input", "output")
NOT_UNASKED = ("mnist", "picture")
LEDGERS = Path(tempfile.gettempdir()) / "cloudchamber_phase_diagrams"
PUBLISHED = {0.5: -0.506, 1.0: 0.007, 1.75: 0.372}
SEEDS = {0.5: 600, 1.0: 30, 1.75: 30}
WITHIN = 0.05
CHECKS: dict[str, dict[str, Any]] = {
    "as in the table": {},
    "steps 3 times as exact": {"tolerance": 3e-3},
    "float64": {"precision": "float64"},
    "loss to 1e-4 of the first": {"loss_ratio": 1e-4},
    "loss to 1e-8 of the first, float64": {"loss_ratio": 1e-8, "precision": "float64"},
}


def diagram() -> dict[str, Any]:
    """The 9×9 diagram of two layers, as a whole and with each seed by itself."""
    found, taken = _timed("two-layer-regime", "diagram")
    off = abs(found.boundary_distance) >= 0.1 - 1e-9
    each = _slopes_of_each_seed(found)
    right = (np.sign(each) == np.sign(found.margin)).where(off)
    by_seed = {layer: right.sel(layer=layer).sum(("gamma", "gamma_prime")).values.tolist() for layer in LAYERS}
    return {**taken, "cells_off": int(off.sel(layer="input").sum()), "right_by_seed": by_seed}


def published() -> dict[str, Any]:
    """The three slopes that Luo et al. (2021) print."""
    rows = {}
    for gamma, value in PUBLISHED.items():
        options: dict[str, Any] = {"gamma": [gamma], "gamma_prime": [0.0], "seeds": SEEDS[gamma]}
        found, taken = _timed("two-layer-regime", f"published_{gamma}", **options)
        cell = found.squeeze().sel(layer="input")
        rows[str(gamma)] = {
            **_slope(cell),
            "published": value,
            "within": bool(abs(cell.slope - value) <= WITHIN),
            "local_slopes": cell.local_slope.values.round(4).tolist(),
            "seeds": SEEDS[gamma],
            "cpu_seconds": taken["cpu_seconds"],
        }
    return rows


def checks() -> dict[str, Any]:
    """What the numerical settings do to the published slopes: the same 10 networks per width each time."""
    rows: dict[str, Any] = {}
    options: dict[str, Any] = {
        "gamma": list(PUBLISHED),
        "gamma_prime": [0.0],
        "widths": [1000, 5000, 20000],
        "seeds": 10,
    }
    for number, (words, changes) in enumerate(CHECKS.items()):
        found, _ = _timed("two-layer-regime", f"check_{number}", kept=False, **options, **changes)
        rows[words] = found.slope.sel(layer="input").squeeze().values.round(5).tolist()
    return rows


def three() -> dict[str, Any]:
    """The three-layer diagram."""
    found, taken = _timed("three-layer-regime", "three")
    lost = float((1 - found.fitted).mean())
    return {**taken, "share_of_networks_not_fitted": lost, "deviations": _deviations(found)}


def exponents() -> dict[str, Any]:
    """The exponents diagram over its three grids."""
    return {
        over: _timed("exponents", over, over=over, seeds=seeds)[1]
        for over, seeds in (("rates", 20), ("table_1", 30), ("initializations", 100))
    }


def mnist() -> dict[str, Any]:
    """A coarse two-layer diagram on 100 digits."""
    options: dict[str, Any] = {"data": "mnist", "samples": 100, "widths": [250, 500, 1000, 2000], "loss_ratio": 1e-4}
    grid: dict[str, Any] = {"gamma": [0.6, 1.0, 1.4], "gamma_prime": [-0.4, 0.0, 0.4]}
    return _timed("two-layer-regime", "mnist", **options, **grid)[1]


def picture() -> dict[str, Any]:
    """The figure of docs/phase-diagrams.md, from the results kept."""
    figure, axes = plt.subplots(2, 3, figsize=(17, 9), layout="constrained")
    panels: list[tuple[str, str | None]] = [("diagram", "input"), ("rates", None), ("table_1", None)]
    panels += [("three", layer) for layer in ("first", "second", "output")]
    for (part, layer), ax in zip(panels, axes.ravel(), strict=True):
        cc.plot.phase_diagram(cc.open_record(RESULTS / f"phase_diagram_{part}.nc"), layer=layer, ax=ax)
    figure.savefig(PICTURE, dpi=80)
    return {"path": PICTURE.name}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "diagram": diagram,
    "published": published,
    "checks": checks,
    "three": three,
    "exponents": exponents,
    "mnist": mnist,
    "picture": picture,
}


def _timed(name: str, part: str, *, kept: bool = True, **options: Any) -> tuple[xr.Dataset, dict[str, Any]]:
    """Run a diagram and keep it; seconds are those of this process and hold only if the ledger was empty."""
    LEDGERS.mkdir(exist_ok=True)
    ledger = LEDGERS / f"{part}.sqlite"
    fresh, cpu, wall = not ledger.exists(), time.process_time(), time.perf_counter()
    found = DIAGRAMS[name].run("laptop", ledger=ledger, **options)
    seconds = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
    if kept:
        cc.save_record(found, RESULTS / f"phase_diagram_{part}.nc")
    networks = int(np.prod([found.sizes[axis] for axis in found.fitted.dims])) * found.sizes["seed"]
    words = DIAGRAMS[name].summary(found).splitlines()
    print(part, seconds, *words, sep="\n  ", flush=True)
    return found, {**(seconds if fresh else {"cpu_seconds": None}), "networks": networks, "summary": words}


def _slope(cell: xr.Dataset) -> dict[str, float]:
    return {
        "slope": float(cell.slope),
        "standard_error": float(cell.slope_error),
        "theory": float(cell.predicted_slope),
    }


def _slopes_of_each_seed(found: xr.Dataset) -> xr.DataArray:
    x = np.log(found.width.astype(float))
    x = x - x.mean()
    return (np.log(found.relative_distance) * x).sum("width") / (x**2).sum()


def _deviations(found: xr.Dataset) -> dict[str, Any]:
    """Of the measured slopes from theory's, by layer: quartiles, and the worst cells with their local slopes."""
    away = (found.slope - found.predicted_slope).stack(cell=("gamma", "gamma_prime_1", "gamma_prime_2"))
    rows: dict[str, Any] = {}
    for layer in found.layer.values:
        values = away.sel(layer=layer)
        worst = values.isel(cell=abs(values).fillna(0).argsort().values[::-1][:5])
        rows[str(layer)] = {
            "quartiles": np.nanquantile(abs(values), [0.25, 0.5, 0.75, 1.0]).round(3).tolist(),
            "worst": [
                [list(map(float, cell)), round(float(value), 3)]
                for cell, value in zip(worst.cell.values, worst.values, strict=True)
            ],
        }
    return rows


def main() -> None:
    torch.set_num_threads(1)
    path = RESULTS / "phase_diagram.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    for part in sys.argv[1:] or [part for part in PARTS if part not in NOT_UNASKED]:
        print(part, flush=True)
        rows[part] = PARTS[part]()
        path.write_text(json.dumps({"torch": torch.__version__, **rows}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
