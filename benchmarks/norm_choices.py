"""What the choices that mlp2024 leaves open in its norms do to a stuck network.

`python benchmarks/norm_choices.py` runs all settings, `… digits` one of them. Runs that `results/norm_choices.json`
holds already are not repeated. One thread; "cifar10" needs the data set ($CLOUDCHAMBER_DATA, cache or download).
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cloudchamber._core.files import write_text
from cloudchamber.interventions import PhaseNorm
from cloudchamber.training import load_recipe
from cloudchamber.training.session import Session
from cloudchamber.training.settings import own_settings

RESULTS = Path(__file__).parent / "results" / "norm_choices.json"
SMOOTHED = 20
AFTER = "norms.after=[linear1, linear3, linear5, linear7]"
BATCH, PHASE = ("norms.name=batch_norm", AFTER), ("norms.name=phase_norm", AFTER)
WITHOUT_AFFINE = (*BATCH, "norms.affine=false")
VARIANTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "batch norm": BATCH,
    "batch norm, no affine": WITHOUT_AFFINE,
    "centering norm, every layer": ("norms.name=centering_norm",),
    "phase norm": PHASE,
    "phase norm, start 0": (*PHASE, "norms.start=0.0"),
    "phase norm, watched normalized": (*PHASE, "norms.watched=normalized"),
    "phase norm, watched rectified": (*PHASE, "norms.watched=rectified"),
    "phase norm, statistics running": (*PHASE, "norms.statistics=running"),
    "phase norm, not once": (*PHASE, "norms.once=false"),
}
TINY = {
    "none": (),
    "batch norm, no affine, eps 1e-5": WITHOUT_AFFINE,
    "batch norm, no affine, eps 1e-12": (*WITHOUT_AFFINE, "norms.eps=1e-12"),
    "phase norm, eps 1e-5": PHASE,
    "phase norm, eps 1e-12": (*PHASE, "norms.eps=1e-12"),
}
NARROW = ("model.width=128", "steps=1000")
CIFAR10 = ("data.name=cifar10", "data.augment=[crop, flip]", "initialization.name=pytorch_default", "steps=1500")
SETTINGS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]], range]] = {
    "digits": ((*NARROW, "initialization.variance_scale=0.3", "optimizer.lr=0.05"), VARIANTS, range(3)),
    "digits, lr 0.01": ((*NARROW, "initialization.variance_scale=0.3", "optimizer.lr=0.01"), VARIANTS, range(3)),
    "digits, tiny weights": ((*NARROW, "initialization.variance_scale=1e-6", "optimizer.lr=0.05"), TINY, range(3)),
    "cifar10": ((*CIFAR10, "optimizer.lr=0.1"), VARIANTS, range(1)),
}
"""Overrides of the default recipe, the variants, and the seeds."""


def trained(overrides: tuple[str, ...]) -> dict[str, Any]:
    """Train a recipe without observing it; return when its loss left, how it ended, and when its norms froze."""
    recipe, began = load_recipe(overrides=["observe.probe_samples=500", *overrides]), time.perf_counter()
    with own_settings(recipe, recipe.threads):
        session = Session.of(recipe)
        session.seed_training()
        losses = torch.tensor([session.update(step) for step in range(1, recipe.steps + 1)])
        inputs, targets = session.batches.dataset.probe(recipe.observe.probe_samples)
        with torch.no_grad():
            right = session.model.eval()(inputs).argmax(1) == targets
    return {
        "left_at": _left_at(losses),
        "final_loss": float(losses[-SMOOTHED:].median()),
        "accuracy_in_evaluation": float(right.float().mean()),
        "frozen_after_batches": {
            name: int(norm.batches) if bool(norm.frozen) else None
            for name, norm in session.model.named_modules()
            if isinstance(norm, PhaseNorm)
        },
        "seconds": time.perf_counter() - began,
    }


def _left_at(losses: Tensor) -> int | None:
    """The first step at which the median of the last 20 losses is below 85 % of that of a constant."""
    below = losses.unfold(0, SMOOTHED, 1).median(1).values < 0.85 * math.log(10)
    return int(below.nonzero()[0]) + SMOOTHED if below.any() else None


def main(wanted: list[str]) -> None:
    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for setting in wanted or SETTINGS:
        base, variants, seeds = SETTINGS[setting]
        for name, overrides in variants.items():
            rows = found.setdefault(setting, {}).setdefault(name, [])
            for seed in seeds[len(rows) :]:
                rows.append(trained((*base, *overrides, f"seed={seed}")))
                write_text(RESULTS, json.dumps(found, indent=1) + "\n")
                print(setting, "|", name, "|", rows[-1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
