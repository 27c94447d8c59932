"""What `cc.predict` says of the networks of `stuck_networks.py`, beside what training then did.

`python benchmarks/stuck_prediction.py test` predicts every network of `results/stuck_networks_test.jsonl`, writes a
row for each to `results/stuck_prediction_test.jsonl` and prints the table; `--table` prints it from the rows there.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter
from typing import Any

import torch
from stuck_networks import (
    CONFIGS,
    RESULTS,
    Settings,
    left_plateau,
    network,
    optimizer_of,
    probe_of,
    samples,
)
from torch import Tensor

import cloudchamber as cc
from cloudchamber.predict import Prediction

VERDICTS = ("leaves", "stuck", "unstable", "cannot tell")
OUTCOMES = ("left", "at the very end", "never left", "lost it")
FAST_THRESHOLD = 0.37
"""Of the first rule: stuck where `(L − 2)·η·T·mean_l(‖∇W_l‖₂/‖W_l‖₂)` is less, chosen on 240 networks of digits."""


def outcome(row: dict[str, Any]) -> str:
    """Tell what training did; all but the first count as not having left.

    "left" for good; "at the very end", below 85 % of the constant's loss in the end but not for the last tenth; "lost
    it", once below that or ending above both the constant's loss and its own start, or NaN; "never left".
    """
    if left_plateau(row):
        return "left"
    level, values = row["constant_loss"], row["loss"]
    if values[-1] < 0.85 * level:
        return "at the very end"
    below = any(math.isnan(value) or value < 0.85 * level for value in values)
    return "lost it" if below or values[-1] > 1.05 * max(level, values[0]) else "never left"


def predicted(settings: Settings, inputs: Tensor, labels: Tensor) -> dict[str, Any]:
    """Predict one network at its initialization."""
    model, probe = network(settings, inputs.shape[1], 10), probe_of(inputs, labels)
    began = time.perf_counter()
    found = cc.predict(
        model,
        probe,
        loss=torch.nn.functional.cross_entropy,
        optimizer=optimizer_of(model, settings),
        steps=settings.steps,
    )
    reckoning = found.reckoning
    return {
        "verdict": found.leaves_plateau,
        "confidence": found.verdict.confidence,
        "score": found.score,
        "structure": reckoning.structure,
        "overshoot": reckoning.overshoot,
        "depth_overshoot": reckoning.depth_overshoot,
        "fast_score": fast_score(model, settings, found),
        "seconds": round(time.perf_counter() - began, 3),
    }


def fast_score(model: torch.nn.Module, settings: Settings, found: Prediction) -> float:
    """Return the score of the first rule, with momentum as here; NaN for rules that divide by the gradient."""
    if settings.optimizer != "sgd":
        return math.nan
    weights = [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear)]
    norms = [float(torch.linalg.matrix_norm(weight.detach().double(), 2)) for weight in weights]
    growth = [
        (layer.growth_per_step + decay) * layer.gain / norm
        for layer, decay, norm in zip(found.layers, found.reckoning.layers.decays, norms, strict=True)
    ]
    return (settings.depth - 2) * found.reckoning.full_steps * sum(growth) / len(growth)


def balanced(told: list[tuple[bool, bool]]) -> float:
    """Return the mean of the shares that are right among networks that left and among those that did not."""
    shares = [
        sum(said == truth for said, truth in told if truth == kind) / max(sum(truth == kind for _, truth in told), 1)
        for kind in (True, False)
    ]
    return sum(shares) / 2


def table(rows: list[dict[str, Any]]) -> str:
    """Return the confusion matrix and the summary of some rows, as Markdown."""
    counts = Counter((row["verdict"], row["outcome"]) for row in rows)
    lines = ["| verdict | " + " | ".join(OUTCOMES) + " |", "|---|" + "---|" * len(OUTCOMES)]
    lines += [f"| {name} | " + " | ".join(str(counts[name, out]) for out in OUTCOMES) + " |" for name in VERDICTS]
    told = [(row["verdict"] == "leaves", row["outcome"] == "left") for row in rows if row["verdict"] != "cannot tell"]
    lines += [
        "",
        f"{len(rows)} networks, {1 - len(told) / len(rows):.1%} cannot tell, "
        f"balanced accuracy of the others {balanced(told):.1%}, "
        f"wrong {sum(said != truth for said, truth in told)}.",
    ]
    fast = [row for row in rows if not math.isnan(row["fast_score"])]
    if fast:
        first = [(row["fast_score"] >= FAST_THRESHOLD, row["outcome"] == "left") for row in fast]
        same = [pair for pair, row in zip(first, fast, strict=True) if row["verdict"] != "cannot tell"]
        lines.append(
            f"The first rule: balanced accuracy {balanced(first):.1%} on {len(first)}, {balanced(same):.1%} on the "
            f"{len(same)} that are told."
        )
    lines.append(f"Seconds per prediction: median {sorted(row['seconds'] for row in rows)[len(rows) // 2]:.2g}.")
    return "\n".join(lines)


def main(which: str, *, predict_again: bool) -> None:
    """Predict the networks of a set, unless their rows are to be taken as they are, and print the table."""
    torch.set_num_threads(1)
    path = RESULTS / f"stuck_prediction_{which}.jsonl"
    if predict_again:
        data = {name: samples(name) for name in CONFIGS}
        with (RESULTS / f"stuck_networks_{which}.jsonl").open() as trained, path.open("w") as file:
            for row in map(json.loads, trained):
                settings = Settings(**row["settings"])
                said = predicted(settings, *data[settings.data])
                file.write(json.dumps({**said, "outcome": outcome(row), "settings": row["settings"]}) + "\n")
                file.flush()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    print(table(rows))
    for norm in ("none", "batch", "layer"):
        print(f"\nNormalization: {norm}\n\n{table([row for row in rows if row['settings']['norm'] == norm])}")


if __name__ == "__main__":
    main(sys.argv[1], predict_again="--table" not in sys.argv)
