"""Do neurons that grew end at the directions that theory predicts? 50 random problems with one input and 50 with five.

Two-layer networks of 50 neurons with a bias, every weight from N(0, 1e-6²), gradient flow of the squared loss,
integrated by scipy, while the predicted field holds: until φ has changed by 10 % or some |w·x| reaches 0.1 (zhou2022,
Assumption 1). A neuron has grown if its norm is ten times what it was. It is at an attractor if it is within 5° of one
predicted for the current sign of its output weight. Nothing is left out: neurons that did not grow have a column.

Run: python benchmarks/attractors.py [problems]
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from cloudchamber.models import ActivationName, activation
from cloudchamber.theory import condensed_directions, match_attractors, multiplicity

RESULTS = Path(__file__).parent / "results" / "attractors.json"
ACTIVATIONS: dict[int, ActivationName] = {1: "tanh", 2: "xtanh", 3: "x2tanh"}
VALUES = {1: np.tanh, 2: lambda z: z * np.tanh(z), 3: lambda z: z**2 * np.tanh(z)}
SLOPES = {
    1: lambda z: np.cosh(z) ** -2.0,
    2: lambda z: np.tanh(z) + z * np.cosh(z) ** -2.0,
    3: lambda z: 2 * z * np.tanh(z) + z**2 * np.cosh(z) ** -2.0,
}
NEURONS, SIZE, DEGREES, GROWTH = 50, 1e-6, 5.0, 10.0


def problem(inputs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return samples with a last entry 1 for the bias, and targets: sums of five random sines."""
    random = np.random.default_rng(seed)
    count = 40 if inputs == 1 else 80
    x = random.uniform(-1, 1.5, (count, inputs))
    terms = [random.normal() * np.sin(random.uniform(1, 6) * x[:, k % inputs] + random.uniform(0, 6)) for k in range(5)]
    return np.c_[x, np.ones(count)], np.sum(terms, axis=0)


def trained(x: np.ndarray, y: np.ndarray, order: int, seed: int) -> list[Tensor]:
    """Return w and a before and after, in a time in which the fastest neuron moves at speed 1."""
    random = np.random.default_rng(1000 + seed)
    n, d = x.shape
    start = random.normal(0, SIZE, NEURONS * (d + 1))

    def parts(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return flat[: NEURONS * d].reshape(NEURONS, d), flat[NEURONS * d :]

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        w, a = parts(flat)
        z = x @ w.T
        features = VALUES[order](z)
        e = features @ a - y
        moved = -(SLOPES[order](z) * a * e[:, None]).T @ x / n, -features.T @ e / n
        speed = np.sqrt((moved[0] ** 2).sum(1) + moved[1] ** 2) / np.sqrt((w**2).sum(1) + a**2)
        return np.concatenate([moved[0].ravel(), moved[1]]) / speed.max()

    seen = torch.nn.functional.normalize(
        torch.randn(100, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )
    seen = seen.numpy() @ x.T

    def field_left(_: float, flat: np.ndarray) -> float:
        w, a = parts(flat)
        moved = np.linalg.norm(seen**order @ VALUES[order](x @ w.T) @ a)
        return 0.1 - float(moved / np.linalg.norm(seen**order @ y))

    def smallness_left(_: float, flat: np.ndarray) -> float:
        return np.abs(x @ parts(flat)[0].T).max() - 0.1

    vars(field_left)["terminal"] = vars(smallness_left)["terminal"] = True
    flow = solve_ivp(velocity, (0, 300), start, rtol=1e-6, atol=1e-6 * SIZE, events=[field_left, smallness_left])
    if flow.status != 1:
        raise RuntimeError(f"the field must change in the end; got status {flow.status} for seed {seed}, p = {order}")
    return [torch.from_numpy(np.ascontiguousarray(part)) for flat in (start, flow.y[:, -1]) for part in parts(flat)]


def one(order: int, inputs: int, seed: int) -> dict:
    """Return what became of the neurons of one network."""
    x, y = problem(inputs, seed)
    w0, _, w, a = trained(x, y, order, seed)
    samples = torch.from_numpy(x), torch.from_numpy(-y)
    found = condensed_directions(*samples, multiplicity(activation(ACTIVATIONS[order])))
    match = match_attractors(w, a, found, growing=True)
    growth = w.norm(dim=1) / w0.norm(dim=1)
    near = [float(found.turning_exponents[i]) if i >= 0 else math.nan for i in match.index.tolist()]
    return {
        "multiplicity": order,
        "inputs": inputs,
        "seed": seed,
        "attracting lines": found.attracting_lines(growing=True),
        "neurons": list(zip(growth.tolist(), match.degrees.tolist(), near, strict=True)),
    }


def row(runs: list[dict]) -> dict:
    """Return the shares over all neurons of all networks of one kind."""
    neurons = [neuron for run in runs for neuron in run["neurons"]]
    grown = [degrees for growth, degrees, _ in neurons if growth >= GROWTH]
    still = [degrees for growth, degrees, _ in neurons if growth < GROWTH]
    most = [max(run["neurons"]) for run in runs]
    return {
        "networks": len(runs),
        "grown": len(grown),
        "grown, at an attractor": share(grown),
        "not grown": len(still),
        "not grown, at an attractor": share(still),
        "networks whose neuron that grew most is at one": share([degrees for _, degrees, _ in most]),
        "median growth of that neuron": statistics.median(growth for growth, *_ in most),
    }


def share(degrees: list[float]) -> float | None:
    """Return the share of angles within the bound; NaN (no attractor) is none of them."""
    return sum(value <= DEGREES for value in degrees) / len(degrees) if degrees else None


def kept(run: dict) -> dict:
    """Return a network with its neurons that grew only: growth, angle in degrees, turning exponent (null = none)."""
    grown = [neuron for neuron in run["neurons"] if neuron[0] >= GROWTH]
    return {**run, "neurons": [[None if math.isnan(v) else float(f"{v:.4g}") for v in neuron] for neuron in grown]}


def main(problems: int) -> None:
    """Run everything, print the table and keep the raw numbers."""
    torch.set_num_threads(1)
    table, raw = [], []
    for order in ACTIVATIONS:
        for inputs in (1, 5):
            runs = [one(order, inputs, seed) for seed in range(problems)]
            raw += map(kept, runs)
            table.append({"multiplicity": order, "inputs": inputs, **row(runs)})
            print(json.dumps(table[-1]), flush=True)
    lines = ",\n".join(map(json.dumps, raw))
    RESULTS.write_text(f'{{"torch": "{torch.__version__}", "table": {json.dumps(table)}, "networks": [\n{lines}]}}\n')


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
