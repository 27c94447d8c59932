"""Is `cc.phase` right? Twelve parametrisations whose phase in the limit is known, at growing scale κ, three seeds.

And what happens to an MLP on the digits that is moved to the other phase and back, as its report says.

python benchmarks/phases.py [--out benchmarks/results/phases.json]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import cloudchamber as cc
from cloudchamber.data import load_digits, split
from cloudchamber.models import ScaledOutput
from cloudchamber.predict.phases.twin import Twin
from cloudchamber.theory import TABLE_1, Exponents
from cloudchamber.theory.parametrizations import Scaling, TableRow
from cloudchamber.training.batches import Batches

CASES: tuple[tuple[TableRow, Scaling], ...] = (
    ("constant rate", "NTK"),
    ("constant rate", "Xavier"),
    ("constant rate", "mean field"),
    ("constant rate", "Kaiming"),
    ("constant rate", "lazy"),
    ("stable rate", "mean field"),
    ("stable rate", "Kaiming"),
    ("stable rate", "lazy"),
    ("learning", "NTK"),
    ("learning", "Kaiming"),
    ("learning", "lazy"),
    ("kernel", "Xavier"),
)
"""Four kernel, five learning, one frozen, two unstable."""
KAPPAS = (64, 512, 4096)
FINITE_WIDTH = 64
RATE, STEPS = 0.2, 300
INPUTS, SAMPLES = 4, 60


@dataclass(frozen=True)
class Known:
    """A network whose phase in the limit of a large κ is known."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    probe: tuple[Tensor, Tensor]
    phase: str


def known(row: TableRow, scaling: Scaling, kappa: int, seed: int) -> Known:
    """Return the ReLU network of a cell of Table 1, on a linear target."""
    cell = TABLE_1[row, scaling]
    c: Exponents = cell.exponents
    size = {name: float(kappa) ** float(getattr(c, name)) for name in ("c_d", "c_gamma", "c_w", "c_u", "c_eta_u")}
    width = round(size["c_d"]) if c.c_d else FINITE_WIDTH
    torch.manual_seed(seed)
    first, second = nn.Linear(INPUTS, width, bias=False), nn.Linear(width, 1, bias=False)
    with torch.no_grad():
        first.weight.normal_(std=size["c_w"] ** 0.5)
        second.weight.normal_(std=size["c_u"] ** 0.5)
        if cell.zero_initial_output:  # neurons in pairs whose outputs cancel
            first.weight[width // 2 :] = first.weight[: width // 2]
            second.weight[:, width // 2 :] = -second.weight[:, : width // 2]
        if not c.c_d:  # a finite width is a constant: outputs and kernel of order 1 at κ = 1
            first.weight.div_(width**0.5)
            second.weight.div_(width**0.5)
    model = ScaledOutput(nn.Sequential(first, nn.ReLU(), second), size["c_gamma"])
    x = torch.randn(SAMPLES, INPUTS) / INPUTS**0.5
    y = x.sum(1, keepdim=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE * size["c_eta_u"])
    return Known(model, optimizer, (x, y), cell.published)


def told(case: Known) -> dict[str, object]:
    """Return what `phase` says."""
    mse = nn.functional.mse_loss
    found = cc.phase(case.model, case.probe, loss=mse, optimizer=case.optimizer, steps=STEPS)
    return {
        "known": case.phase,
        "measured": found.name,
        "parametrised": found.parametrised.name,
        "mechanism": found.mechanism,
        "confidence": found.confidence,
        "drift": found.measured.kernel_drift,
        "told_drift": found.parametrised.line.drift if found.parametrised.line else None,
        "learned": found.measured.learned,
        "speed": found.parametrised.speed,
    }


def rows(seeds: int) -> Iterator[dict[str, object]]:
    """Return what is said of every case, κ and seed."""
    for row, scaling in CASES:
        for kappa in KAPPAS:
            for seed in range(seeds):
                yield {"row": row, "scaling": scaling, "kappa": kappa, "seed": seed} | told(
                    known(row, scaling, kappa, seed)
                )


def moved(seed: int, steps: int = 1000) -> Iterator[dict[str, object]]:
    """Train an MLP on the digits as it is, moved to the kernel phase, and moved back from there."""
    train, test = split(load_digits(), 0.8, seed)
    torch.manual_seed(seed)
    model: nn.Module = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 10))
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for way in ("as it is", "moved to the kernel phase", "moved on to the learning phase"):
        cross_entropy = nn.functional.cross_entropy
        found = cc.phase(model, train.probe(200), loss=cross_entropy, optimizer=optimizer)
        twin = Twin.of(model, optimizer)
        batches = Batches(train, 100, seed)
        for step in range(1, steps + 1):
            inputs, targets = batches.of_step(step)
            twin.optimizer.zero_grad()
            cross_entropy(twin.model(inputs), targets).backward()
            twin.optimizer.step()
        with torch.no_grad():
            right = [(twin.model(part.inputs).argmax(1) == part.targets).double().mean() for part in (train, test)]
        yield {
            "way": way,
            "seed": seed,
            "phase": found.name,
            "drift": found.measured.kernel_drift,
            "tried": found.measured.steps,
            "train_accuracy": float(right[0]),
            "test_accuracy": float(right[1]),
            "change": str(found.to_kernel or found.to_learning),
        }
        change = found.to_kernel or found.to_learning
        if change is not None:
            model, optimizer = change.applied(model, optimizer)


def _written(value: object) -> object:
    """JSON has no infinities."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "phases.json")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for one in rows(options.seeds):
        found.append(one)
        print(
            f"{one['row']:14} {one['scaling']:11} κ={one['kappa']:5} seed {one['seed']}: {one['known']:9} "
            f"measured {one['measured']:9} parametrised {one['parametrised']:11} {one['mechanism']:12} "
            f"drift {one['drift']:.3g} told {one['told_drift']} learned {one['learned']:.2f} speed {one['speed']:.3g}",
            flush=True,
        )
    for kappa in KAPPAS:
        of = [one for one in found if one["kappa"] == kappa]
        for kind in ("measured", "parametrised"):
            print(f"κ = {kappa}: {kind} right in {sum(one[kind] == one['known'] for one in of)} of {len(of)}")
    digits = [one for seed in range(options.seeds) for one in moved(seed)]
    for one in digits:
        print(one)
    kept = [{name: _written(value) for name, value in one.items()} for one in found]
    options.out.write_text(json.dumps({"rate": RATE, "steps": STEPS, "rows": kept, "digits": digits}, indent=1) + "\n")


if __name__ == "__main__":
    main()
