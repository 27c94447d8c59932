"""overview2025, Figure 2: tanh networks at the end of training: the smaller they start, the more they condense."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

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
FIRST, SECOND, ODD = TARGETS
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
_ADDED = (
    "added after the first run: with the first target one neuron fits it, on a line of its own, while most neurons "
    "stay on that of the initial stage; for an odd target both lines are b = 0"
)


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
    *(claim for name in (FIRST, SECOND) for claim in _claims(name)),
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
    Claim(
        "all on one pair", "The neurons condense to a pair of opposite directions when the training converges.",
        f"share of all neurons on the line of the neuron with the most, |cos| > {_LINE}, smallest scale; {ODD}",
        f"ours, {_ADDED}", _SOURCE, at_least=0.9, over="most seeds", seeds=20,
    ),
    Claim(
        "all on both directions", "The neurons condense to a pair of opposite directions when the training converges.",
        f"share of the neurons on that line that point to the rarer side, smallest scale; {ODD}", f"ours, {_ADDED}",
        _SOURCE, at_least=0.1, over="most seeds", seeds=20,
    ),
)  # fmt: skip


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Count lines at every scale, and look at the strongest one at the smallest."""
    found = {name: runs[name].result for name in TARGETS}
    lines = {name: _each(one, _count) for name, one in found.items()}
    alike = {name: _each(one, _mean_cosine) for name, one in found.items()}
    both = (FIRST, SECOND)
    first, odd = (_at_smallest(found[name]) for name in (FIRST, ODD))
    numbers = {
        **{f"fewer lines, {name}": _rank(found[name].gamma.values, lines[name]) for name in both},
        **{f"change, {name}": (lines[name][-1] - lines[name][0]).tolist() for name in both},
        **{f"more alike, {name}": _rank(found[name].gamma.values, alike[name]) for name in both},
        "one pair": [line.weight for line in first],
        "both directions": [line.rarer for line in first],
        "converged": np.max([found[name].loss_ratio.max("gamma") for name in both], axis=0).tolist(),
        "all on one pair": [line.neurons for line in odd],
        "all on both directions": [line.rarer for line in odd],
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


class _Line(NamedTuple):
    """The line of the neuron with the largest |a|‖w‖: shares of Σ|a|‖w‖ and of neurons; of these, the rarer way's."""

    weight: float
    neurons: float
    rarer: float


def _at_smallest(found: xr.Dataset) -> list[_Line]:
    last = found.isel(gamma=-1)
    return [_strongest_line(w, a) for w, a in zip(last.w.values, last.a.values, strict=True)]


def _strongest_line(w: np.ndarray, a: np.ndarray) -> _Line:
    lengths = np.linalg.norm(w, axis=1)
    weight = np.abs(a) * lengths
    cosines = (w / lengths[:, None]) @ (w[weight.argmax()] / lengths[weight.argmax()])
    on = np.abs(cosines) > _LINE
    rarer = min((cosines[on] > 0).mean(), (cosines[on] < 0).mean())
    return _Line(float(weight[on].sum() / weight.sum()), float(on.mean()), float(rarer))


def _arrays(name: str, found: xr.Dataset, lines: np.ndarray, alike: np.ndarray) -> xr.Dataset:
    first = torch.from_numpy(found.w.values[:, 0])
    flat = first.flatten(0, 1)
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
    settings="Target, width, learning rate and scales are lost. Ours: the targets ½ tanh(3x + 1), which one neuron "
    "can represent, sin(2x + ½), which none can, and the odd ½ tanh(3x); width 100, 100 samples even in [−1, 1], all "
    "parameters N(0, 1/m^γ) (variance), γ = 0.5, 1, 2, 3, 4; gradient flow of the mean squared error in place of "
    "steps of a learning rate, until the loss is 1e-5 of its first; 20 seeds, of which the first is drawn. Measures "
    "and the first two targets were chosen on four other seeds. The area of a dot grows with |a|‖w‖. `laptop` and "
    "`paper` are the same.",
    explanation="With every target and seed fewer lines are left the smaller the start, down from what random neurons "
    "have; that ten fewer in every seed is the least that counts was too much, by two, for one of 40. How many lines "
    "are left is the target's. ½ tanh(3x) leaves one, with neurons in equal parts on both of its directions. ½ "
    "tanh(3x + 1) leaves two: neurons turn first to the line of the initial stage, that of Σ y_i x_i (−60° and 120° "
    "as drawn); one of them grows, turns to 18° and fits the target alone, and the others have no reason left to "
    "follow. So all of the output ends on a pair of directions, but not all neurons do; where both lines are one, as "
    "for an odd target, the paper's picture is seen. sin(2x + ½) takes neurons on two lines.",
)
