"""overview2025, Figure 2: tanh networks at the end of training: the smaller they start, the more they condense."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
import xarray as xr
from scipy.stats import spearmanr

from cloudchamber.claims import Claim
from cloudchamber.measures import (
    cosine_matrix,
    isotropic_groups,
    neuron_amplitude,
    orientation_angle,
    orientation_groups,
)
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.overview2025.terminal import TARGETS, fitted, samples
from cloudchamber.papers.overview2025.terminal_picture import draw
from cloudchamber.papers.study import Study, StudyRun

_SOURCE = "overview2025, Section 4.1 and Figure 2"
FIRST, SECOND = TARGETS
_EXPONENTS = [0.5, 1.0, 2.0, 3.0, 4.0]
_FULL = {"exponents": _EXPONENTS, "width": 100, "count": 100, "ratio": 1e-5, "tolerance": 1e-3, "seeds": 20}
_SIZES: Mapping[Scale, dict[str, object]] = {
    "smoke": {"exponents": [0.5, 2.0], "width": 20, "count": 10, "ratio": 1e-2, "tolerance": 1e-2, "seeds": 2},
    "laptop": _FULL,
    "paper": _FULL,
}
_DEGREES = 3.0
_NEAR = math.cos(math.radians(_DEGREES))
_LINE = 0.95


def recipes(scale: Scale) -> dict[str, Study]:
    """Return the networks on each target."""
    return {name: Study(fitted, {"target": name, **_SIZES[scale]}) for name in TARGETS}


def _claims(name: str) -> tuple[Claim, ...]:
    which = "the target" if name == FIRST else "a second target"
    smaller = "As the initializations become smaller, the neurons become more condensed."
    counted = f"lines on which neurons are (each its strongest neuron's, all within {_DEGREES:g}° of it belong to it)"
    return (
        Claim(
            f"fewer lines, {name}", smaller, f"rank correlation of γ and the number of {counted}; {which}",
            "the paper's words; the measure and the bound are ours", _SOURCE, at_most=-0.7, over="most seeds", seeds=20,
        ),
        Claim(
            f"change, {name}", smaller, f"number of {counted}, at the smallest scale less that at the largest; {which}",
            "the paper's words; that 10 fewer (random neurons: 33) is the least that counts is ours", _SOURCE,
            at_most=-10, seeds=20,
        ),
        Claim(
            f"more alike, {name}", smaller, f"rank correlation of γ and the mean |cos| of two neurons' (w, b); {which}",
            "the paper's words; the measure and the bound are ours", _SOURCE, at_least=0.7, over="most seeds", seeds=20,
        ),
    )  # fmt: skip


CLAIMS = (
    *(claim for name in TARGETS for claim in _claims(name)),
    Claim(
        "one pair", "The neurons condense to a pair of opposite directions when the training converges.",
        f"share of Σ|a|‖w‖ on the line of the neuron with the most, |cos| > {_LINE}, smallest scale; {FIRST}",
        "the paper's words; the bound is ours", _SOURCE, at_least=0.95, over="most seeds", seeds=20,
    ),
    Claim(
        "both directions", "The neurons condense to a pair of opposite directions when the training converges.",
        f"share of the neurons on that line that point to the rarer side, smallest scale; {FIRST}",
        "the paper's words; the bound is ours", _SOURCE, at_least=0.1, over="most seeds", seeds=20,
    ),
    Claim(
        "converged", "The training converges.", "largest loss over its first, all scales and both targets",
        "ours: where the flow is to end", _SOURCE, at_most=1e-5, seeds=20,
    ),
)  # fmt: skip


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Count lines at every scale, and look at the strongest one at the smallest."""
    found = {name: runs[name].result for name in TARGETS}
    lines = {name: _each(one, _count) for name, one in found.items()}
    alike = {name: _each(one, _mean_cosine) for name, one in found.items()}
    smallest = [_strongest_line(found[FIRST].isel(gamma=-1, seed=seed)) for seed in range(found[FIRST].sizes["seed"])]
    numbers = {
        **{f"fewer lines, {name}": _rank(found[name].gamma.values, counts) for name, counts in lines.items()},
        **{f"change, {name}": (counts[-1] - counts[0]).tolist() for name, counts in lines.items()},
        **{f"more alike, {name}": _rank(found[name].gamma.values, means) for name, means in alike.items()},
        "one pair": [share for share, _ in smallest],
        "both directions": [rarer for _, rarer in smallest],
        "converged": np.max([one.loss_ratio.max("gamma").values for one in found.values()], axis=0).tolist(),
    }
    parts = [_arrays(name, one, lines[name], alike[name]) for name, one in found.items()]
    return Measured(numbers, xr.concat(parts, xr.Variable("goal", list(TARGETS))))


def _each(found: xr.Dataset, of: Callable[[torch.Tensor], float]) -> np.ndarray:
    """A number of the neurons of each network: (gamma, seed)."""
    return np.array([[of(torch.from_numpy(w)) for w in scale] for scale in found.w.values])


def _count(weights: torch.Tensor) -> float:
    return float(orientation_groups(weights, threshold=_NEAR).n_groups)


def _mean_cosine(weights: torch.Tensor) -> float:
    matrix = cosine_matrix(weights).abs()
    return float(matrix[~torch.eye(len(matrix), dtype=torch.bool)].mean())


def _rank(gammas: np.ndarray, values: np.ndarray) -> list[float]:
    return [float(spearmanr(gammas, values[:, seed])[0]) for seed in range(values.shape[1])]  # pyright: ignore


def _strongest_line(one: xr.Dataset) -> tuple[float, float]:
    """The share of Σ|a|‖w‖ on the line of the neuron with the most, and how many of its neurons point the rarer way."""
    units = one.w.values / np.linalg.norm(one.w.values, axis=1, keepdims=True)
    weight = np.abs(one.a.values) * np.linalg.norm(one.w.values, axis=1)
    cosines = units @ units[weight.argmax()]
    on = np.abs(cosines) > _LINE
    return float(weight[on].sum() / weight.sum()), float(min((cosines[on] > 0).mean(), (cosines[on] < 0).mean()))


def _arrays(name: str, found: xr.Dataset, lines: np.ndarray, alike: np.ndarray) -> xr.Dataset:
    first = torch.from_numpy(found.w.values[:, 0])
    flat = first.flatten(0, 1)
    share = [
        [_strongest_line(found.isel(gamma=at, seed=seed))[0] for seed in range(found.sizes["seed"])]
        for at in range(len(first))
    ]
    inputs, y = samples(101, name)
    outputs = np.einsum("gm,gnm->gn", found.a.values[:, 0], np.tanh(inputs.numpy() @ first.numpy().transpose(0, 2, 1)))
    width = found.sizes["neuron"]
    return xr.Dataset(
        {
            "angle": (("gamma", "neuron"), torch.rad2deg(orientation_angle(flat)).reshape(first.shape[:2]).numpy()),
            "amplitude": (("gamma", "neuron"), neuron_amplitude(flat).reshape(first.shape[:2]).numpy()),
            "contribution": (
                ("gamma", "neuron"),
                np.abs(found.a.values[:, 0]) * np.linalg.norm(first.numpy(), axis=-1),
            ),
            "lines": (("gamma", "seed"), lines),
            "alike": (("gamma", "seed"), alike),
            "share": (("gamma", "seed"), np.array(share)),
            "loss_ratio": found.loss_ratio,
            "steps": found.steps,
            "output": (("gamma", "x"), outputs),
            "target": ("x", y.numpy()),
        },
        {"gamma": found.gamma.values, "x": inputs[:, 0].numpy()},
        {"random_lines": isotropic_groups(width, 2, threshold=_NEAR), "random_alike": 2 / math.pi},
    )


EXHIBIT = Exhibit(
    id="overview2025/fig2",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=draw,
    settings="Target, width, learning rate and scales are lost. Ours: the targets ½ tanh(3x + 1), which one neuron can "
    "represent, and sin(2x + ½), which none can; width 100, 100 samples even in [−1, 1], all parameters N(0, 1/m^γ) "
    "(variance), γ = 0.5, 1, 2, 3, 4; gradient flow of the mean squared error in place of steps of a learning rate, "
    "until the loss is 1e-5 of its first; 20 seeds, of which the first is drawn. Targets and measures were chosen on "
    "four other seeds. `laptop` and `paper` are the same.",
)
