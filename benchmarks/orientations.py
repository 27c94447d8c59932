"""How many orientations do neurons condense on, and why? Optimizer × multiplicity × initialization × width × frequency.

Two-layer networks without an output bias (zhou2022, Eq. 1) on 80 samples of Σ 3.5 sin(frequency x_k + 1), five
inputs, every weight from N(0, std²); data and weights drawn anew for every seed; the networks of a cell trained as
one stack until the loss is 97 % of its first: by Adam (lr 10⁻³, full batch, the paper's), SGD (lr 0.005, batches of
20), gradient flow, and "equal speeds": gradient descent in which every neuron moves by the same part of its length
(what Adam does to entries, done to whole neurons).

For each network: the lines (|cos| > 0.95, a tenth of the neurons or more) of all neurons, and of those above a tenth
of the largest norm; directions alike, with 2 % of the neurons or more; how many lines theory predicts from the first
residuals; the share of the neurons within 10° of one; the share within 10° of a direction whose entries are all
equally large (a corner of the cube); the share that has grown tenfold.

Then data with d orthogonal samples, on which theory predicts d lines for x² tanh x.

Run: python benchmarks/orientations.py [seeds]; finished cells are kept, so that it goes on where it was
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber.data import SinesConfig, load_data
from cloudchamber.interventions import NormalConfig, initialize
from cloudchamber.measures import condensed_orientations
from cloudchamber.models import ActivationName, activation
from cloudchamber.papers.zhou2022.predictions import line_angles
from cloudchamber.theory import condensed_directions, orthogonal_counterexample
from cloudchamber.training import SGD, Adam, LossRatio, Steps, TwoLayerNets, gradient_flow, train_ensemble

RESULTS = Path(__file__).parent / "results" / "orientations.jsonl"
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "orientations.png"
ACTIVATIONS: dict[int, ActivationName] = {1: "tanh", 2: "xtanh", 3: "x2tanh"}
AXES = {
    "optimizer": ("adam", "sgd", "flow", "equal speeds"),
    "multiplicity": (1, 2, 3),
    "std": (0.001, 0.005, 0.05),
    "width": (50, 200),
    "frequency": (2.0, 5.0),
}
RATIO, DEGREES = 0.97, 10.0
SGD_STEPS = tuple(sorted({round(1.15**k) for k in range(63)}))
"""after which SGD is looked at: the loss of a batch does not tell"""
Pair = tuple[Tensor, Tensor]
State = tuple[Tensor, Tensor]
"""w (h, d) with biases last, and a (h,)."""


@cache
def samples(frequency: float, seed: int) -> Pair:
    """Return inputs with a last entry 1, and values."""
    found = load_data(SinesConfig(frequency=frequency), seed)
    return torch.cat([found.inputs, torch.ones(len(found.inputs), 1)], 1), found.targets


@cache
def predicted(multiplicity: int, frequency: float, seed: int) -> Tensor:
    """Return the attracting directions at which neurons grow, from the residuals of a tiny network."""
    x, y = samples(frequency, seed)
    found = condensed_directions(x, -y[:, 0], multiplicity)
    return found.directions[found.attracts(1, growing=True) | found.attracts(-1, growing=True)]


def network(inputs: int, width: int, name: ActivationName, std: float, seed: int) -> nn.Module:
    """Return a network of inputs that carry their 1; its weights are N(0, std²)."""
    model = nn.Sequential(nn.Linear(inputs, width, bias=False), activation(name), nn.Linear(width, 1, bias=False))
    initialize(model, NormalConfig(std=std), seed)
    return model


def start(model: nn.Module) -> State:
    """Return the weights of a network."""
    w, a = (value.detach().double() for value in model.parameters())
    return w, a[0]


def by_ensemble(models: Sequence[nn.Module], pairs: Sequence[Pair], ratio: float, **options: Any) -> list[State | None]:
    """Train all at once until their loss has fallen; None for those that did not get there."""
    trained = train_ensemble(
        models, list(pairs), loss="mse", stop=LossRatio(ratio), losses_every=options["steps"], **options
    )
    ends = zip(trained.parameters["0.weight"].double(), trained.parameters["2.weight"].double()[:, 0], strict=True)
    return [end if reason == "loss_ratio" else None for end, reason in zip(ends, trained.reasons, strict=True)]


def by_sgd(
    models: Sequence[nn.Module], pairs: Sequence[Pair], ratio: float, name: ActivationName
) -> list[State | None]:
    """Train all at once in batches; each is taken at the first look at which the loss of all samples has fallen."""
    trained = train_ensemble(
        models, list(pairs), loss="mse", optimizer=SGD(lr=0.005), steps=SGD_STEPS[-1], snapshot_steps=SGD_STEPS,
        batch_size=min(20, len(pairs[0][0])), losses_every=SGD_STEPS[-1],
    )  # fmt: skip
    inward, outward = trained.snapshots["0.weight"].double(), trained.snapshots["2.weight"].double()[:, :, 0]
    function, ends = activation(name), []
    for w, a, (x, y) in zip(inward, outward, pairs, strict=True):
        losses = torch.stack([_loss(one, other, x, y, function) for one, other in zip(w, a, strict=True)])
        low = (losses <= ratio * float(y.double().square().mean())).nonzero()
        ends.append((w[int(low[0])], a[int(low[0])]) if len(low) else None)
    return ends


def _loss(w: Tensor, a: Tensor, x: Tensor, y: Tensor, function: nn.Module) -> Tensor:
    return (function(x.double() @ w.T) @ a - y[:, 0].double()).square().mean()


def by_flow(models: Sequence[nn.Module], pairs: Sequence[Pair], ratio: float, name: str) -> list[State | None]:
    """Follow the gradient flow of each."""
    ends: list[State | None] = []
    for model, (x, y) in zip(models, pairs, strict=True):
        w, a = start(model)
        flow = gradient_flow(TwoLayerNets(a[None], w[None], activation=name), (x, y[:, 0]),
                             until=(LossRatio(ratio), Steps(20_000)))  # fmt: skip
        reached = flow.stopped[0] == "loss_ratio"
        ends.append((flow.parameters["w"][0], flow.parameters["a"][0]) if reached else None)
    return ends


def by_equal_speeds(
    models: Sequence[nn.Module], pairs: Sequence[Pair], ratio: float, name: ActivationName, steps: int = 6000
) -> list[State | None]:
    """Move w and a of every neuron by a hundredth of their lengths against the gradient, until the loss has fallen."""
    return [
        _equal_speeds(start(model), pair, ratio, activation(name), steps)
        for model, pair in zip(models, pairs, strict=True)
    ]


def _equal_speeds(state: State, pair: Pair, ratio: float, function: nn.Module, steps: int) -> State | None:
    w, a = (value.clone().requires_grad_() for value in state)
    x, y = pair[0].double(), pair[1][:, 0].double()
    first = float(y.square().mean())
    for _ in range(steps):
        loss = (function(x @ w.T) @ a - y).square().mean()
        if float(loss.detach()) <= ratio * first:
            return w.detach(), a.detach()
        moves = torch.autograd.grad(loss, (w, a))
        with torch.no_grad():
            w -= 0.01 * w.norm(dim=1, keepdim=True) * nn.functional.normalize(moves[0], dim=1)
            a -= 0.01 * a.abs() * moves[1].sign()
            a.copy_(torch.where(a.abs() < 1e-12, -1e-12 * moves[1].sign(), a))
    return None


def optimizers(name: ActivationName) -> dict[str, Callable[..., list[State | None]]]:
    """Return the ways to train, by name: (models, pairs, ratio) → ends."""
    return {
        "adam": partial(by_ensemble, optimizer=Adam(lr=1e-3), steps=5000),
        "sgd": partial(by_sgd, name=name),
        "flow": partial(by_flow, name=name),
        "equal speeds": partial(by_equal_speeds, name=name),
    }


def near_corners(w: Tensor) -> float:
    """Return the share of neurons within 10° of a direction whose entries are all equally large."""
    cosine = w.abs().sum(1) / (w.norm(dim=1) * math.sqrt(w.shape[1]))
    return float((torch.rad2deg(cosine.clamp(max=1).acos()) <= DEGREES).double().mean())


def told(first: State, end: State, lines: Tensor) -> dict[str, Any]:
    """Return what is measured of a network."""
    w, grown = end[0], end[0].norm(dim=1) >= 10 * first[0].norm(dim=1)
    near = line_angles(w, lines.double()) <= DEGREES if len(lines) else torch.zeros(len(w), dtype=torch.bool)
    every = condensed_orientations(w)
    return {
        "lines": every.count,
        "covered": every.covered,
        "lines, large": condensed_orientations(w, norm_cut=0.1).count,
        "large": condensed_orientations(w, norm_cut=0.1, least_share=0.0).counted / len(w),
        "directions": condensed_orientations(w, norm_cut=0.1, least_share=0.02, signed=True).count,
        "predicted": len(lines) // 2,
        "near predicted": float(near.double().mean()),
        "near predicted, grown": float(near[grown].double().mean()) if grown.any() else math.nan,
        "near corners": near_corners(w),
        "grown": float(grown.double().mean()),
    }


def cell(optimizer: str, multiplicity: int, std: float, width: int, frequency: float, seeds: int) -> dict[str, Any]:
    """Train the networks of a cell."""
    name = ACTIVATIONS[multiplicity]
    models = [network(6, width, name, std, seed) for seed in range(seeds)]
    pairs = [samples(frequency, seed) for seed in range(seeds)]
    ends = optimizers(name)[optimizer](models, pairs, RATIO)
    rows = [
        None if end is None else told(start(model), end, predicted(multiplicity, frequency, seed))
        for seed, (model, end) in enumerate(zip(models, ends, strict=True))
    ]
    return {"networks": rows}


def orthogonal(optimizer: str, dimension: int, seeds: int) -> dict[str, Any]:
    """Train x² tanh x networks on orthogonal samples, on which theory predicts as many lines as there are."""
    x, e = orthogonal_counterexample(dimension)
    pair = (x.float(), -e[:, None].float())
    models = [network(dimension, 400, "x2tanh", 0.001, seed) for seed in range(seeds)]
    ends = optimizers("x2tanh")[optimizer](models, [pair] * seeds, RATIO)
    rows = [
        None if end is None else told(start(model), end, torch.cat([x, -x]))
        for model, end in zip(models, ends, strict=True)
    ]
    return {"networks": rows}


def main(seeds: int) -> None:
    """Run every cell that is not kept, and draw."""
    torch.set_num_threads(1)
    kept = {json.dumps(row["cell"]) for row in read()}
    jobs = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
    jobs += [{"optimizer": one, "dimension": d} for d in (8, 16, 32) for one in AXES["optimizer"]]
    for job in jobs:
        if json.dumps(job) in kept:
            continue
        row = orthogonal(**job, seeds=min(seeds, 5)) if "dimension" in job else cell(**job, seeds=seeds)
        with RESULTS.open("a") as file:
            file.write(json.dumps({"cell": job, **rounded(row)}) + "\n")
    print(table())
    draw()


def rounded(value: Any) -> Any:
    """Return numbers to four digits; NaN as null."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return (None if math.isnan(value) else float(f"{value:.4g}")) if isinstance(value, float) else value


def read() -> list[dict[str, Any]]:
    """Return the cells that are kept."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []


def chosen(networks: str, **where: object) -> list[float]:
    """Return a number of all networks of the cells with these values."""
    rows = [row for row in read() if all(row["cell"].get(key) == value for key, value in where.items())]
    found = [one[networks] for row in rows for one in row["networks"] if one is not None]
    return [value for value in found if value is not None]


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN of nothing."""
    return sum(values) / len(values) if values else math.nan


def table() -> str:
    """Return the means over everything but optimizer and multiplicity, and the orthogonal data."""
    names = (
        "lines",
        "covered",
        "lines, large",
        "large",
        "directions",
        "predicted",
        "near predicted",
        "near corners",
        "grown",
    )
    rows = ["| optimizer | p | reached | " + " | ".join(names) + " |", "|---" * (len(names) + 3) + "|"]
    for optimizer, order in itertools.product(AXES["optimizer"], AXES["multiplicity"]):
        where = {"optimizer": optimizer, "multiplicity": order}
        rows.append(_row(f"{optimizer} | {order}", names, where))
    names = ("lines, large", "directions", "large", "near predicted", "near predicted, grown", "grown")
    rows += ["", "| optimizer | d | reached | " + " | ".join(names) + " |", "|---" * (len(names) + 3) + "|"]
    for optimizer, dimension in itertools.product(AXES["optimizer"], (8, 16, 32)):
        rows.append(_row(f"{optimizer} | {dimension}", names, {"optimizer": optimizer, "dimension": dimension}))
    return "\n".join(rows)


def _row(head: str, names: Sequence[str], where: dict[str, object]) -> str:
    cells = [row for row in read() if all(row["cell"].get(key) == value for key, value in where.items())]
    networks = [one for row in cells for one in row["networks"]]
    reached = sum(one is not None for one in networks)
    numbers = " | ".join(f"{mean(chosen(name, **where)):.2f}" for name in names)
    return f"| {head} | {reached} of {len(networks)} | {numbers} |"


def draw() -> None:
    """Draw the mean number of lines by optimizer, over each of the other axes."""
    from matplotlib import pyplot as plt

    rows = ("std", "width", "frequency")
    figure, axes = plt.subplots(len(rows), 4, figsize=(11, 7), layout="constrained", sharey=True)
    colors = {1: "#0f6f8f", 2: "#d99a1e", 3: "#b3261e"}
    for (line, axis), (column, optimizer) in itertools.product(enumerate(rows), enumerate(AXES["optimizer"])):
        ax = axes[line][column]
        for order in AXES["multiplicity"]:
            values = [chosen("lines", optimizer=optimizer, multiplicity=order, **{axis: at}) for at in AXES[axis]]
            places = [place + 0.06 * (order - 2) for place in range(len(values))]
            spread = [_deviation(part) for part in values]
            ax.errorbar(
                places,
                [mean(part) for part in values],
                spread,
                color=colors[order],
                marker="o",
                ms=4,
                capsize=2,
                label=f"p = {order}",
            )
            ax.axhline(order, color=colors[order], ls=":", lw=0.7)
        ax.set_xticks(range(len(AXES[axis])), [f"{at:g}" for at in AXES[axis]], fontsize="small")
        ax.set_xlabel({"std": "initial deviation", "width": "width", "frequency": "frequency"}[axis], fontsize="small")
        if not line:
            ax.set_title(optimizer, fontsize="medium")
    axes[0][0].legend(fontsize="small", frameon=False)
    axes[1][0].set_ylabel("lines with a tenth of the neurons or more (mean and deviation; dotted: p)")
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


def _deviation(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).std()) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
