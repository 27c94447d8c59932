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
GRADIENTS: dict[str, tuple[str, ...]] = {
    "γ = 0.3": ("initialization.variance_scale=0.3",),
    "γ = 0.25 (taken)": (),
    "γ = 0.2": ("initialization.variance_scale=0.2", "steps=4000"),
}
"""the longer the plateau, the more alike the gradients?"""
CENSUS: dict[str, tuple[str, ...]] = {
    "Xavier, γ = 1": ("initialization.variance_scale=1.0",),
    "Xavier, γ = 0.7": ("initialization.variance_scale=0.7",),
    "Xavier, γ = 0.5": ("initialization.variance_scale=0.5",),
    "Xavier, γ = 0.3 (taken)": (),
    "PyTorch's own": ("initialization.name=pytorch_default",),
}
"""initializations of the 7-layer MLP of 128 neurons on Census"""
LATE: dict[str, tuple[str, ...]] = {
    "7 layers, 512 wide": ("model.depth=7", "steps=6000"),
    "7 layers, 256 wide": ("model.depth=7", "model.width=256", "steps=6000"),
}
"""networks of Figure 12, trained three times as long"""
BATCH, CENTERING = "norms.name=batch_norm", "norms.name=centering_norm"
NORMS: dict[str, tuple[DataName, tuple[str, ...]]] = {
    "cifar10, batch norm, running averages": ("cifar10", (BATCH,)),
    "cifar10, centering, running averages": ("cifar10", (CENTERING,)),
    "cifar10, batch norm, the samples' own": ("cifar10", (BATCH, "observe.mode=train")),
    "mnist, centering, running averages": ("mnist", (CENTERING,)),
    "mnist, centering, the samples' own": ("mnist", (CENTERING, "observe.mode=train")),
}
"""data and overrides: what a norm divides by while features are observed"""
CENSUS_LAYERS = ("linear2", "linear3", "linear4", "linear5")
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


def gradients(setting: str) -> dict[str, Any]:
    """Return the highest gradient cosine of each layer until the loss leaves and 100 steps on, on CIFAR-10."""
    run = RunCache.of_user().run(mlp("cifar10", "laptop", *GRADIENTS[setting]))
    left, curves = _phases(run, RULE.drop).loss_marker, run.record.gradient_cosine
    hidden = [f"linear{layer}" for layer in range(1, 9)]
    return {"loss begins": left, **{name: _rise_and_fall(curves.sel(layer=name), left) for name in hidden}}


def late(setting: str) -> dict[str, Any]:
    """Return the feature cosine of layer 3 on MNIST at the start, at its highest, and now and then after it."""
    curve = RunCache.of_user().run(mlp("mnist", "laptop", *LATE[setting])).record.feature_cosine.sel(layer="linear3")
    later = {str(step): float(curve.sel(step=step)) for step in (2000, 4000, 6000)}
    return {"start": float(curve[0]), "top": float(curve.max()), "top at": int(curve.idxmax("step")), **later}


def census(setting: str) -> dict[str, Any]:
    """Return what an initialization on Census shows of Figures 2 and 14: ends, and cosines by layer."""
    run = RunCache.of_user().run(mlp("adult", "laptop", "model.depth=7", *CENSUS[setting]))
    phases, record = find_phases(run.record, layer="linear3", rule=RULE), run.record
    phase = phases.named("first phase")
    row: dict[str, Any] = {"loss begins": phases.loss_marker, "end": None if phase is None else phase.stop}
    for name in ("feature_cosine", "gradient_cosine"):
        row[name] = {
            layer: _rise_and_fall(record[name].sel(layer=layer), phases.loss_marker) for layer in CENSUS_LAYERS
        }
    return row


def _rise_and_fall(curve: xr.DataArray, left: int | None) -> list[float]:
    """Return a similarity at the start, its highest until the loss leaves and 100 steps on, and its last."""
    until = None if left is None else left + 100
    return [float(curve[0]), float(curve.sel(step=slice(0, until)).max()), float(curve[-1])]


def norms(setting: str) -> dict[str, Any]:
    """Return the feature cosine of layer 3 at a few early steps of a network with norms."""
    data, overrides = NORMS[setting]
    run = RunCache.of_user().run(mlp(data, "laptop", *overrides, f"steps={NORM_STEPS}"))
    curve = run.record.feature_cosine.sel(layer="linear3")
    return {str(step): float(curve.sel(step=step)) for step in NORMS_SHOWN}


PARTS: dict[str, tuple[Callable[[str], dict[str, Any]], list[str]]] = {
    "strengths": (strengths, list(STRENGTHS)),
    "mnist": (mnist, list(MNIST)),
    "gradients": (gradients, list(GRADIENTS)),
    "late": (late, list(LATE)),
    "census": (census, list(CENSUS)),
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
