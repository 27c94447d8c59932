"""Figure 5: outputs of two-layer networks early in training, with polynomial fits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.exhibit import Exhibit, Measured
from cloudchamber.papers.study import StudyRun
from cloudchamber.papers.zhou2022 import small
from cloudchamber.papers.zhou2022.nets import loss_ratio, network
from cloudchamber.papers.zhou2022.small import ADAM, FIGURE_5, LINES, Net
from cloudchamber.plot.colors import ACCENT, ALARM, INK

_SOURCE = "zhou2022, Figure 5"
_POINTS = np.linspace(-1, 1.5, 201)
_DEGREES = range(8)
TOLERANCE = 0.1
ENOUGH = 18


def _claims(net: Net) -> tuple[Claim, Claim]:
    degree = LINES[net.name]
    explained = Claim(
        f"degree {degree}, {net.name}",
        f"The output with {net.name} overlaps well with a polynomial of degree {degree}.",
        f"seeds of 20 in which the fit of degree {degree} leaves at most {TOLERANCE:.0%} of the output's deviation",
        "the paper's words; the tolerance and the 18 of 20 are ours",
        _SOURCE,
        at_least=ENOUGH,
        seeds=1,
    )
    needed = Claim(
        f"not degree {degree - 1}, {net.name}",
        "The complexity of what is learned depends on the activation function.",
        f"seeds of 20 in which the fit of degree {degree - 1} leaves more than that",
        "the paper's words; the tolerance and the 18 of 20 are ours",
        _SOURCE,
        at_least=ENOUGH,
        seeds=1,
    )
    return explained, needed


def left_by_fits(values: np.ndarray) -> np.ndarray:
    """Return, for degrees 0 to 7, the root mean square left by the best polynomial over that left by a constant.

    >>> left_by_fits(_POINTS**2).round(6)[:3].tolist()[::2]
    [1.0, 0.0]
    """
    fits = [np.polynomial.Polynomial.fit(_POINTS, values, degree)(_POINTS) for degree in _DEGREES]
    return np.array([np.std(values - fit) for fit in fits]) / np.std(values)


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Fit polynomials to the output of every network."""
    outputs = np.array([_outputs(net, runs[net.name]) for net in FIGURE_5])
    left = np.apply_along_axis(left_by_fits, 2, outputs)
    numbers: dict[str, list[float]] = {}
    for net, rows in zip(FIGURE_5, left, strict=True):
        degree = LINES[net.name]
        numbers[f"degree {degree}, {net.name}"] = [float((rows[:, degree] <= TOLERANCE).sum())]
        numbers[f"not degree {degree - 1}, {net.name}"] = [float((rows[:, degree - 1] > TOLERANCE).sum())]
    first = runs[FIGURE_5[0].name].result
    ratios = [loss_ratio(runs[net.name].result, _epoch(net, runs[net.name])) for net in FIGURE_5]
    shown = xr.Dataset(
        {
            "output": (("activation", "x"), outputs[:, 0]),
            "left": (("activation", "seed", "degree"), left),
            "loss_ratio": (("activation", "seed"), np.array(ratios)),
            "sample": ("n", first.x.values[0, :, 0]),
            "target": ("n", first.y.values[0, :, 0]),
        },
        coords={"activation": [net.name for net in FIGURE_5], "x": _POINTS, "degree": list(_DEGREES)},
    )
    return Measured(numbers, shown)


def _epoch(net: Net, run: StudyRun) -> int:
    return small.kept_epoch(net, run, net.shown[0])


def _outputs(net: Net, run: StudyRun) -> np.ndarray:
    points = torch.from_numpy(_POINTS)[:, None]
    with torch.no_grad():
        models = [network(run.result, member, _epoch(net, run)) for member in range(run.result.sizes["seed"])]
        return np.array([model(points)[:, 0].numpy() for model in models])


def draw(shown: xr.Dataset) -> Figure:
    """Draw the first seed's outputs with their fits, and what fits leave by degree, every seed."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, shown.sizes["activation"], figsize=(10, 5.6), layout="constrained")
    for (top, bottom), name in zip(axes.T, shown.activation.values, strict=True):
        one, degree = shown.sel(activation=name), LINES[str(name)]
        fit = np.polynomial.Polynomial.fit(one.x.values, one.output.values, degree)
        top.plot(one["sample"], one.target, ".", color="#2e8b57", ms=4, label="samples")
        top.plot(one.x, one.output, color=ACCENT, lw=2, label="output")
        top.plot(one.x, fit(one.x.values), color=ALARM, ls="--", label=f"degree {degree}")
        top.set_title(f"{name}, loss {float(one.loss_ratio[0]):.0%} of its start", fontsize="small", color=INK)
        top.legend(fontsize="x-small", frameon=False)
        bottom.semilogy(one.degree, one.left.T, color=ACCENT, lw=0.5, alpha=0.6)
        bottom.axhline(TOLERANCE, color=INK, lw=0.6, ls="--")
        bottom.axvline(degree, color=ALARM, lw=0.8, ls=":")
        bottom.set_xlabel("degree of the fit")
    axes[1, 0].set_ylabel("deviation left by the fit")
    return figure


EXHIBIT = Exhibit(
    id="zhou2022/fig5",
    recipes=partial(small.studies, chosen=FIGURE_5),
    claims=tuple(claim for net in FIGURE_5 for claim in _claims(net)),
    measure=measure,
    draw=draw,
    settings="1-100-1, the paper's 40 samples, variance and epoch 1000. The rates are not legible: the largest of 0.5, "
    "1, 2 and 5·10⁻⁴ at which four pilots (other seeds) stayed above 75 % of the first loss at epoch 1000: 5·10⁻⁴ for "
    f"tanh, 10⁻⁴ for xtanh and x²tanh. {ADAM}",
    explanation="x²tanh: over this range a polynomial of degree 2 leaves less than 10 % of the output's deviation "
    "as well. Degree 3 leaves less, in every seed.",
)
