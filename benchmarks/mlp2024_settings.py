"""What decides where runs of mlp2024 agree with the paper: steps, initialization, learning rate, norms.

`python benchmarks/mlp2024_settings.py` measures all parts, `… strengths` one of them; rows that
`results/mlp2024_settings.json` holds already are not repeated. Runs are taken from, and kept in, the cache of
`cloudchamber papers`. One thread; the data sets are needed ($CLOUDCHAMBER_DATA, cache or download). Seed 0.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cloudchamber._core.files import write_text
from cloudchamber.diagnosis import Phases, find_phases
from cloudchamber.papers import Run, RunCache
from cloudchamber.papers.mlp2024.first_phase import LAYERS, RULE
from cloudchamber.papers.mlp2024.recipes import DataName, mlp
from cloudchamber.papers.mlp2024.strengths import SHOWN
from cloudchamber.training import second_pass

RESULTS = Path(__file__).parent / "results" / "mlp2024_settings.json"
BEGINS, DOWN = "5 %", "15 %"
"""where the first phase ends: the loss is so far below that of a constant output"""
STRENGTHS: dict[str, tuple[DataName, tuple[str, ...], tuple[str, str]]] = {
    "γ = 0.25, from 5 % to 15 %": ("cifar10", (), (BEGINS, DOWN)),
    "γ = 0.25, lr 0.2, until 5 %": ("cifar10", ("optimizer.lr=0.2", "steps=1000"), ("start", BEGINS)),
    "MNIST, γ = 0.8, from 5 % to 15 %": ("mnist", (), (BEGINS, DOWN)),
}
"""data, overrides, and which steps are averaged: from, to; the phase until 5 % is in Table 1 itself, with its parts"""
MNIST: dict[str, tuple[str, ...]] = {
    "pixels/255, γ = 1": ("initialization.variance_scale=1.0",),
    "pixels/255, γ = 0.8 (taken)": (),
    "pixels/255, γ = 0.7": ("initialization.variance_scale=0.7",),
}
BATCH, CENTERING = "norms.name=batch_norm", "norms.name=centering_norm"
NORMS: dict[str, tuple[DataName, tuple[str, ...]]] = {
    "cifar10, batch norm, running averages": ("cifar10", (BATCH,)),
    "cifar10, centering, running averages": ("cifar10", (CENTERING,)),
    "cifar10, batch norm, the samples' own": ("cifar10", (BATCH, "observe.mode=train")),
    "mnist, centering, running averages": ("mnist", (CENTERING,)),
    "mnist, centering, the samples' own": ("mnist", (CENTERING, "observe.mode=train")),
}
"""data and overrides: what a norm divides by while features are observed"""
NORM_STEPS, NORMS_SHOWN = 200, (0, 10, 20, 50, 100, 200)
LOOKS, CLOSE, FAR = 100, 20, 3.0


def strengths(setting: str) -> dict[str, Any]:
    """Return Table 1 and Figure 3 in short for some steps of a run: means over layers 2–6 and the two best classes."""
    data, overrides, span = STRENGTHS[setting]
    run = RunCache.of_user().run(mlp(data, "laptop", *overrides))
    start, stop = (_step(run, name) for name in span)
    every = max(1, (stop - start) // LOOKS)
    options = {"every": every, "layers": list(LAYERS), "classes": _best(run, stop), "directions": 2}
    found = second_pass(run.recipe, stop, start_step=start, close_steps=CLOSE, **options).to_dataset()
    rate = run.recipe.optimizer.lr
    return {"from": start, "to": stop, "rate": rate, **_short(found, rate), "all samples": _all(found)}


def _short(found: xr.Dataset, rate: float) -> dict[str, float]:
    of = found.isel(group=slice(1, None))
    shown = of.sel(layer=list(SHOWN))
    primary, noise = 1e3 * shown.primary_strength, 1e3 * shown.noise_strength
    second = of.strength.isel(direction=0) / of.strength.isel(direction=1)
    return {
        "primary": float(primary.mean()),
        "noise": float(noise.mean()),
        "primary / rate": float(primary.mean() / rate),
        "noise / rate": float(noise.mean() / rate),
        "ratio": float((primary / noise).min()),
        "growth": float((primary.isel(layer=-1) / primary.isel(layer=0)).min()),
        "s_1/s_2": float(np.exp(np.log(second).mean())),
    }


def _all(found: xr.Dataset) -> dict[str, float]:
    shown = found.sel(group="all", layer=list(SHOWN))
    primary, noise = 1e3 * shown.primary_strength, 1e3 * shown.noise_strength
    return {"primary": float(primary.mean()), "ratio": float((primary / noise).min())}


def _step(run: Run, name: str) -> int:
    if name == "start":
        return 0
    left = _phases(run, {BEGINS: 0.05, DOWN: 0.15}[name]).loss_marker
    assert left is not None, f"{name}: the loss does not leave"
    return left


def _phases(run: Run, drop: float) -> Phases:
    return find_phases(run.record, rule=replace(RULE, drop=drop))


def _best(run: Run, step: int) -> list[int]:
    accuracy = run.record.class_accuracy.sel(step=step, method="ffill").values
    return np.argsort(-accuracy, kind="stable")[:2].tolist()


def mnist(setting: str) -> dict[str, Any]:
    """Return what a setting of MNIST shows of Figures 6, 9 and 12: ends, rises, falls, classes learned."""
    run = RunCache.of_user().run(mlp("mnist", "laptop", *MNIST[setting]))
    phases, record = find_phases(run.record, layer="linear4", rule=RULE), run.record
    phase = phases.named("first phase")
    stop = None if phase is None else phase.stop
    row: dict[str, Any] = {"loss begins": phases.loss_marker, "loss down": _phases(run, 0.15).loss_marker, "end": stop}
    shown = int(record.step[-1]) if stop is None else stop
    for name in ("feature_cosine", "gradient_cosine"):
        curve = record[name].sel(layer="linear4")
        row[name] = [float(curve[0]), float(curve.sel(step=slice(0, shown)).max()), float(curve[-1])]
    for name, step in (("learned where the loss begins", phases.loss_marker), ("learned at the end", stop)):
        row[name] = None if step is None else int((record.class_accuracy.sel(step=step) > FAR / 10).sum())
    return row


def norms(setting: str) -> dict[str, Any]:
    """Return the feature cosine of layer 3 at a few early steps of a network with norms."""
    data, overrides = NORMS[setting]
    run = RunCache.of_user().run(mlp(data, "laptop", *overrides, f"steps={NORM_STEPS}"))
    curve = run.record.feature_cosine.sel(layer="linear3")
    return {str(step): float(curve.sel(step=step)) for step in NORMS_SHOWN}


PARTS: dict[str, tuple[Callable[[str], dict[str, Any]], list[str]]] = {
    "strengths": (strengths, list(STRENGTHS)),
    "mnist": (mnist, list(MNIST)),
    "norms": (norms, list(NORMS)),
}


def main(wanted: list[str]) -> None:
    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for part in wanted or PARTS:
        measure, settings = PARTS[part]
        rows = found.setdefault(part, {})
        for setting in settings:
            if setting not in rows:
                began = time.perf_counter()
                rows[setting] = {**measure(setting), "seconds": round(time.perf_counter() - began, 1)}
                write_text(RESULTS, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
                print(part, "|", setting, "|", rows[setting], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
