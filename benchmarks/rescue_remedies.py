"""A stuck network of nine layers on CIFAR-10, freed by each remedy alone; beside batch norm and a restart with γ = 1.

`python benchmarks/rescue_remedies.py` trains what `results/rescue_remedies.json` does not hold yet and prints the
table; `--table` prints it from there. One thread. The stuck run: 256 wide, Xavier with γ = 0.2, SGD with lr 0.05 and
weight decay 0.0005, batches of 100, 1000 steps. Then every remedy by itself, for 2000 more steps; the restart trains
as many from the beginning.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cloudchamber._core.files import write_text
from cloudchamber.control.candidates import LARGER, with_momentum, with_phase_norm, with_rate, without_decay
from cloudchamber.control.remedy import Remedy
from cloudchamber.control.rescale import rescaled
from cloudchamber.control.samples import Samples
from cloudchamber.data import load_data
from cloudchamber.interventions import BatchNormConfig, insert_norms
from cloudchamber.monitor.probe import Probe
from cloudchamber.training import Recipe, load_recipe
from cloudchamber.training.session import Session
from cloudchamber.training.settings import own_settings

RESULTS = Path(__file__).parent / "results" / "rescue_remedies.json"
SMOOTHED = 20
STUCK_STEPS, STEPS, SEEDS = 1000, 2000, range(3)
BASE = (
    "data.name=cifar10",
    "model.width=256",
    "initialization.variance_scale=0.2",
    "optimizer.lr=0.05",
    "optimizer.weight_decay=0.0005",
    "observe.probe_samples=200",
)


def samples_of(session: Session) -> Samples:
    """Return the probe with its loss, as `rescue` has them."""
    probe = Probe.of(session.batches.dataset.probe(200), torch.device("cpu"))
    return Samples.of(session.model, probe, session.loss, lambda model, inputs: model(inputs), "mean")


def _remedy(find: Callable[[Session], Remedy | None]) -> Callable[[Session], None]:
    def apply(session: Session) -> None:
        remedy = find(session)
        if remedy is None:
            raise RuntimeError("the remedy does not apply")
        remedy.apply(session.model, session.optimizer)

    return apply


def _batch_norm(session: Session) -> None:
    norms = insert_norms(session.model, BatchNormConfig())
    session.optimizer.param_groups[0]["params"] += [value for norm in norms.values() for value in norm.parameters()]


VARIANTS: dict[str, Callable[[Session], None]] = {
    "no change": lambda _: None,
    "no decay": _remedy(lambda session: without_decay(session.optimizer.param_groups)),
    "momentum 0.9": _remedy(lambda session: with_momentum(session.optimizer.param_groups)),
    "10 times the learning rate": _remedy(lambda session: with_rate(session.optimizer.param_groups, LARGER[0])),
    "rescale": _remedy(lambda session: rescaled(session.model, samples_of(session))),
    "phase norm": _remedy(lambda session: with_phase_norm(session.model)),
    "batch norm": _batch_norm,
}
RESTART = "restart with γ = 1"


def recipe_of(seed: int, *more: str) -> Recipe:
    """Return the recipe of the stuck run."""
    return load_recipe(overrides=[*BASE, f"seed={seed}", *more])


def trained(session: Session, first: int, steps: int) -> dict[str, Any]:
    """Train on; return when the loss left the plateau, its median at the end, and the accuracies then."""
    losses = torch.tensor([session.update(step) for step in range(first + 1, first + steps + 1)])
    below = losses.unfold(0, SMOOTHED, 1).median(1).values < 0.85 * math.log(10)
    return {
        "left_after": int(below.nonzero()[0]) + SMOOTHED if below.any() else None,
        "final_loss": float(losses[-SMOOTHED:].median()),
        "test_accuracy": accuracy(session),
    }


def accuracy(session: Session) -> float:
    """Return the share of the 10 000 test images that is classified right, in evaluation."""
    test = load_data(session.recipe.data, session.recipe.seed, "test")
    session.model.eval()
    with torch.no_grad():
        right = [
            (session.model(inputs).argmax(1) == targets).float()
            for inputs, targets in zip(test.inputs.split(1000), test.targets.split(1000), strict=True)
        ]
    session.model.train()
    return float(torch.cat(right).mean())


def stuck_state(seed: int) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Train the stuck run; return the states of model and optimizer, and its last losses' median."""
    session = Session.of(recipe_of(seed))
    session.seed_training()
    losses = torch.tensor([session.update(step) for step in range(1, STUCK_STEPS + 1)])
    state = copy.deepcopy((session.model.state_dict(), session.optimizer.state_dict()))
    return *state, float(losses[-SMOOTHED:].median())


def row(name: str, seed: int, stuck: tuple[dict[str, Any], dict[str, Any], float]) -> dict[str, Any]:
    """Train one variant from the stuck state, or from the beginning."""
    began = time.perf_counter()
    if name == RESTART:
        session = Session.of(recipe_of(seed, "initialization.variance_scale=1"))
        session.seed_training()
        found = trained(session, 0, STEPS)
    else:
        session = Session.of(recipe_of(seed))
        session.model.load_state_dict(stuck[0])
        session.optimizer.load_state_dict(copy.deepcopy(stuck[1]))
        VARIANTS[name](session)
        found = trained(session, STUCK_STEPS, STEPS)
    return {"seed": seed, "stuck_loss": stuck[2], **found, "seconds": round(time.perf_counter() - began, 1)}


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table as Markdown."""
    lines = ["| remedy alone | leaves the plateau after | loss at the end | test accuracy |", "|---|---|---|---|"]
    for name, rows in found.items():
        left = ", ".join("–" if each["left_after"] is None else str(each["left_after"]) for each in rows)
        loss = ", ".join(f"{each['final_loss']:.2f}" for each in rows)
        right = ", ".join(f"{100 * each['test_accuracy']:.1f}" for each in rows)
        lines.append(f"| {name} | {left} | {loss} | {right} |")
    return "\n".join(lines)


def main(*, train: bool) -> None:
    """Train what is missing, then print the table."""
    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    recipe = recipe_of(0)
    names = [*VARIANTS, RESTART]
    for seed in SEEDS if train else ():
        missing = [name for name in names if all(each["seed"] != seed for each in found.get(name, []))]
        if not missing:
            continue
        with own_settings(recipe, recipe.threads):
            stuck = stuck_state(seed)
            for name in missing:
                found.setdefault(name, []).append(row(name, seed, stuck))
                write_text(RESULTS, json.dumps(found, indent=1) + "\n")
                print(name, found[name][-1], flush=True)
    print(table(found))


if __name__ == "__main__":
    main(train="--table" not in sys.argv)
