"""Ten stuck runs, rescued without being told by what, and ten healthy ones, which are to be left alone.

A second set of stuck runs is drawn at random: settings by number, the first ten of them that are stuck.
`python benchmarks/rescue.py` runs the cases that `results/rescue.json` does not hold yet and prints the tables;
`--table` prints them from there; names of cases run those alone. One thread. A stuck run is trained for its steps,
shown to `cc.rescue` with its record and its next batches, and goes on with the plan; a copy goes on without. A run is
free if the medians of the last 20 batch losses and of the probe's last three losses are below 85 % of the best constant
output's. A healthy run is shown to `cc.rescue` every 250 steps. MNIST and AG News are read from $CLOUDCHAMBER_DATA,
from the cache, or downloaded.
"""

from __future__ import annotations

import copy
import json
import math
import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import cloudchamber as cc
from cloudchamber._core.files import write_text
from cloudchamber.control import Plan
from cloudchamber.training import Recipe, load_recipe
from cloudchamber.training.session import Session
from cloudchamber.training.settings import own_settings

RESULTS = Path(__file__).parent / "results" / "rescue.json"
WINDOW = 20
AFTER = 1000
LOOK_EVERY = 250
DRAWN = 10
LIGHT = ("observe.measures=[light]", "observe.every=20", "observe.probe_samples=200")
TEXT = ("data.name=ag_news", "data.samples=10000", "data.length=32", "data.vocabulary=5000", "model.name=text")

STUCK: dict[str, tuple[str, ...]] = {
    "digits, 12 layers, γ 0.5": (
        "model.depth=12",
        "model.width=128",
        "initialization.variance_scale=0.5",
        "optimizer.lr=0.02",
        "steps=800",
    ),
    "digits, 6 layers, γ 0.05, GELU": (
        "model.depth=6",
        "model.width=256",
        "model.activation=gelu",
        "initialization.variance_scale=0.05",
        "optimizer.lr=0.1",
        "steps=800",
    ),
    "digits, 9 layers, γ 0.5, weight decay 0.05": (
        "model.width=128",
        "initialization.variance_scale=0.5",
        "optimizer.weight_decay=0.05",
        "optimizer.lr=0.05",
        "steps=800",
    ),
    "digits, 8 layers, γ 0.3, learning rate 1": (
        "model.depth=8",
        "model.width=128",
        "initialization.variance_scale=0.3",
        "optimizer.lr=1.0",
        "steps=800",
    ),
    "digits, 10 layers, Adam at 3e-6": (
        "model.depth=10",
        "model.width=128",
        "initialization.variance_scale=0.2",
        "optimizer.name=adam",
        "optimizer.lr=3e-6",
        "steps=800",
    ),
    "MNIST, 9 layers, γ 0.2": (
        "data.name=mnist",
        "model.width=256",
        "initialization.variance_scale=0.2",
        "optimizer.lr=0.05",
        "steps=800",
    ),
    "MNIST, 15 layers, tanh, γ 0.3, decay": (
        "data.name=mnist",
        "model.depth=15",
        "model.width=128",
        "model.activation=tanh",
        "initialization.variance_scale=0.3",
        "optimizer.lr=0.02",
        "optimizer.weight_decay=0.001",
        "steps=800",
    ),
    "digits, CNN of 8, γ 0.1": (
        "model.name=cnn",
        "model.depth=8",
        "model.width=16",
        "initialization.variance_scale=0.1",
        "optimizer.lr=0.1",
        "steps=800",
    ),
    "AG News, mean of words, 8 layers, γ 0.1": (
        *TEXT,
        "model.depth=8",
        "initialization.variance_scale=0.1",
        "optimizer.lr=0.1",
        "steps=800",
    ),
    "AG News, LSTM, γ 0.01": (
        *TEXT,
        "model.reader=lstm",
        "model.depth=3",
        "model.width=64",
        "initialization.variance_scale=0.01",
        "optimizer.lr=0.1",
        "steps=800",
    ),
}
HEALTHY: dict[str, tuple[str, ...]] = {
    "digits, 9 layers": ("model.width=256", "steps=1000"),
    "digits, 3 layers, tanh": ("model.depth=3", "model.width=128", "model.activation=tanh", "steps=1000"),
    "digits, 9 layers, slow": ("model.width=128", "optimizer.lr=0.005", "steps=2000"),
    "digits, 15 layers, momentum": ("model.depth=15", "model.width=128", "optimizer.momentum=0.9", "steps=1000"),
    "digits, 9 layers, batch norm": ("model.width=128", "norms=batch_norm", "steps=1000"),
    "digits, 6 layers, Adam": ("model.depth=6", "model.width=128", "optimizer.name=adam", "steps=1000"),
    "MNIST, 9 layers": ("data.name=mnist", "model.width=256", "optimizer.lr=0.02", "steps=1000"),
    "digits, CNN of 4": (
        "model.name=cnn",
        "model.depth=4",
        "model.width=16",
        "initialization.name=kaiming_normal",
        "optimizer.lr=0.1",
        "steps=1000",
    ),
    "AG News, mean of words": (*TEXT, "optimizer.lr=0.5", "steps=1500"),
    "sines, 2 layers": (
        "data.name=sines",
        "model.depth=2",
        "model.width=100",
        "optimizer.lr=0.05",
        "batch_size=null",
        "steps=1000",
    ),
}


def drawn(number: int) -> tuple[str, ...]:
    """Return the settings of a random network; the same number gives the same ones."""
    rng = random.Random(f"rescue {number}")
    return (
        f"data.name={rng.choice(['digits', 'mnist'])}",
        f"model.depth={rng.randint(5, 14)}",
        f"model.width={rng.choice([64, 128])}",
        f"model.activation={rng.choice(['relu', 'relu', 'tanh', 'gelu', 'leaky_relu'])}",
        f"initialization.variance_scale={math.exp(rng.uniform(math.log(0.02), math.log(0.6))):.3g}",
        f"optimizer.lr={math.exp(rng.uniform(math.log(0.005), math.log(0.3))):.3g}",
        f"optimizer.momentum={rng.choice([0.0, 0.0, 0.9])}",
        f"optimizer.weight_decay={rng.choice([0.0, 0.0, 0.001, 0.01])}",
        f"batch_size={rng.choice([50, 100])}",
        f"seed={number}",
        "steps=700",
    )


def name_of(settings: tuple[str, ...]) -> str:
    """Return drawn settings in words."""
    values = [setting.partition("=")[2] for setting in settings]
    data, depth, width, act, gamma, lr, momentum, decay, batch, _, _ = values
    more = "".join(f", {word} {value}" for word, value in (("momentum", momentum), ("decay", decay)) if float(value))
    return f"{data}, {depth} × {width}, {act}, γ {gamma}, lr {lr}{more}, batch {batch}"


def plan_of(session: Session, record: Any, step: int) -> Plan:
    """Return the plan for a session after `step` updates."""
    return cc.rescue(
        session.model,
        session.optimizer,
        record,
        probe=session.batches.dataset.probe(200),
        loss=session.loss,
        batches=lambda update: session.batches.of_step(step + update),
    )


def trained(session: Session, first: int, steps: int) -> tuple[list[float], list[float]]:
    """Train on; return the losses of batches, and those of the probe at the last three tenths of the steps."""
    inputs, targets = session.batches.dataset.probe(200)
    losses, probed = [], []
    for step in range(first + 1, first + steps + 1):
        losses.append(session.update(step))
        if first + steps - step in (0, steps // 10, steps // 5):
            with torch.no_grad():
                probed.append(float(session.loss(session.model.eval()(inputs), targets)))
            session.model.train()
    return losses, probed


def free(losses: list[float], probed: list[float], level: float) -> bool:
    """Whether the run has left its plateau."""
    now = (statistics.median(losses[-WINDOW:]), statistics.median(probed))
    return all(math.isfinite(value) and value < 0.85 * level for value in now)


def stuck_case(recipe: Recipe) -> dict[str, Any]:
    """Train a run until it is stuck, rescue it, and go on with and without."""
    session = Session.of(recipe)
    session.seed_training()
    with session.monitor as monitor:
        for step in range(1, recipe.steps + 1):
            session.update(step)
            monitor.observe(step)
    record, level = monitor.record, float(monitor.record.constant_predictor_loss)
    if "stuck" not in cc.diagnose(record).codes:
        return {"diagnosed": False, "loss_before": float(record.probe_loss[-1])}
    left = Session.of(recipe)
    left.model.load_state_dict(session.model.state_dict())
    left.optimizer.load_state_dict(copy.deepcopy(session.optimizer.state_dict()))
    began = time.perf_counter()
    plan = plan_of(session, record, recipe.steps)
    seconds = time.perf_counter() - began
    if plan.remedies:
        plan.apply()
    with_plan, without = (trained(each, recipe.steps, AFTER) for each in (session, left))
    smoothed = [statistics.median(with_plan[0][max(0, end - WINDOW) : end]) for end in range(WINDOW, AFTER + 1)]
    return {
        "diagnosed": True,
        "verdict": plan.verdict,
        "remedies": [remedy.name for remedy in plan.remedies],
        "trials": [str(trial) for trial in plan.trials],
        "constant_loss": level,
        "loss_before": float(record.probe_loss[-1]),
        "free": free(*with_plan, level),
        "left_after": next((WINDOW + i for i, value in enumerate(smoothed) if value < 0.85 * level), None),
        "loss_after": statistics.median(with_plan[0][-WINDOW:]),
        "free_without": free(*without, level),
        "loss_without": statistics.median(without[0][-WINDOW:]),
        "seconds_of_plan": round(seconds, 1),
    }


def healthy_case(recipe: Recipe) -> dict[str, Any]:
    """Train a run, and ask for a rescue on the way."""
    session, verdicts = Session.of(recipe), []
    session.seed_training()
    before = copy.deepcopy(session.model.state_dict())
    with session.monitor as monitor:
        for step in range(1, recipe.steps + 1):
            session.update(step)
            monitor.observe(step)
            if step % LOOK_EVERY == 0:
                before = copy.deepcopy(session.model.state_dict())
                verdicts.append(plan_of(session, monitor.record, step).verdict)
                now = session.model.state_dict()
                if not all(torch.equal(value, now[name]) for name, value in before.items()):
                    verdicts[-1] += ", but changed it"
    level = float(monitor.record.constant_predictor_loss)
    return {"verdicts": verdicts, "loss": float(monitor.record.probe_loss[-1]), "constant_loss": level}


def tables(found: dict[str, dict[str, Any]]) -> str:
    """Return both tables as Markdown."""
    lines = [
        "| stuck run | remedy found | tried | leaves after | loss before → after | without rescue | free |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_line(name, found[name]) for name in STUCK if name in found]
    lines += [
        "",
        *lines[:2],
        *(_line(name, row) for name, row in found.items() if row.get("drawn") and row["diagnosed"]),
    ]
    lines += ["", "| healthy run | verdicts | loss at the end (constant output) |", "|---|---|---|"]
    for name in HEALTHY:
        if name in found:
            row = found[name]
            counted = ", ".join(f"{verdict} ({count})" for verdict, count in Counter(row["verdicts"]).items())
            lines.append(f"| {name} | {counted} | {row['loss']:.3f} ({row['constant_loss']:.3f}) |")
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    return (
        f"| {name} | {' + '.join(row['remedies']) or row['verdict']} | {len(row['trials'])} | "
        f"{row['left_after'] or '–'} | {row['loss_before']:.3f} → {row['loss_after']:.3f} | "
        f"{row['loss_without']:.3f}{' (free)' if row['free_without'] else ''} | {'yes' if row['free'] else '**no**'} |"
    )


def run_drawn(found: dict[str, dict[str, Any]]) -> None:
    """Draw networks until ten of them are stuck, and rescue these."""
    number = 0
    while sum(row.get("drawn", False) and row["diagnosed"] for row in found.values()) < DRAWN:
        settings = drawn(number)
        if name_of(settings) not in found:
            run_case(found, name_of(settings), settings)
            found[name_of(settings)]["drawn"] = True
            write_text(RESULTS, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        number += 1


def run_case(found: dict[str, dict[str, Any]], name: str, overrides: tuple[str, ...]) -> None:
    """Run one case and keep what came of it."""
    recipe = load_recipe(overrides=[*overrides, *LIGHT])
    with own_settings(recipe, recipe.threads):
        found[name] = healthy_case(recipe) if name in HEALTHY else stuck_case(recipe)
    write_text(RESULTS, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(name, found[name], flush=True)


def main(wanted: list[str]) -> None:
    """Run what is missing, then print the tables."""
    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name, overrides in ({} if "--table" in wanted else {**STUCK, **HEALTHY}).items():
        if name in found or (wanted and name not in wanted):
            continue
        run_case(found, name, overrides)
    if not wanted:
        run_drawn(found)
    print(tables(found))


if __name__ == "__main__":
    main(sys.argv[1:])
