"""Figure 4: the cosine of αΔV with the features in the first phase, CIFAR-10 and Tiny ImageNet."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from cloudchamber.claims import Claim
from cloudchamber.papers.cache import Run
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.mlp2024 import enhancement
from cloudchamber.papers.mlp2024.first_phase import reasons
from cloudchamber.papers.mlp2024.recipes import SETTINGS, by_seed
from cloudchamber.training import Recipe

DATA = {"cifar10": ("CIFAR-10", 3), "tiny_imagenet_50": ("Tiny ImageNet", 1)}
_SOURCE = "mlp2024, Figure 4 and Theorem 2"


def _claims(title: str, seeds: int) -> tuple[Claim, Claim]:
    positive = Claim(
        f"positive, {title}",
        "cos(αΔV, F) is positive in the first phase, and quite large.",
        "cos(αΔV, F), mean over samples and the first phase, smallest over layers 2–6",
        "the paper's words; that 0.1 is the least that counts is ours",
        _SOURCE,
        at_least=0.1,
        seeds=seeds,
    )
    above = Claim(
        f"above chance, {title}",
        "The positive cosine comes from the samples pushing alike.",
        "that mean less the mean with the pushes dealt out to other samples, smallest over layers 2–6",
        "ours: the paper shows no null",
        _SOURCE,
        at_least=0.02,
        seeds=seeds,
    )
    return positive, above


def recipes(scale: Scale) -> dict[str, Recipe]:
    """Return the 9-layer MLPs of Table 1."""
    return by_seed("cifar10", scale) | by_seed("tiny_imagenet_50", scale, laptop=0, paper=1)


def measure(runs: Mapping[str, Run]) -> Measured:
    """Measure the alignment of every run; the first one of each data set is drawn."""
    found = enhancement.over_runs(runs)
    numbers: dict[str, list[float]] = {}
    for data, (title, _) in DATA.items():
        of = [shown for name, shown in found.items() if name.startswith(data)]
        numbers[f"positive, {title}"] = [_smallest(shown.alignment) for shown in of]
        numbers[f"above chance, {title}"] = [_smallest(shown.alignment - shown.alignment_null) for shown in of]
    return Measured(numbers, enhancement.drawn(found, DATA), reasons(numbers))


def draw(shown: xr.Dataset) -> Figure:
    """Draw the cosine over iterations, nulls dashed: ΔV of the whole step, and of each class by itself."""
    return enhancement.draw(shown, {"alignment": "cos(αΔV, F)", "class_alignment": "the same, ΔV of one class alone"})


def _smallest(values: xr.DataArray) -> float:
    return float(values.mean("step").min()) if values.sizes["step"] else np.nan


EXHIBIT = Exhibit(
    id="mlp2024/fig4",
    recipes=recipes,
    claims=tuple(claim for title, seeds in DATA.values() for claim in _claims(title, seeds)),
    measure=measure,
    draw=draw,
    settings=f"{SETTINGS} ΔV is that of the whole batch step (of a single sample the cosine is ±1 exactly), C that "
    "of all samples over the phase, α the sign with which most samples of a class push; about 100 steps of the phase.",
    explanation="In a batch of ten classes pushes along C of both signs nearly cancel, so that the sign of ΔV need "
    "not be that of a class: the mean swings between about −0.4 and 0.7 from step to step, and pushes "
    "dealt out to other samples do as well or better. The module draws ΔV of the samples of one class "
    "alone in a second row, with its null; the stored result is older and has the first row only.",
)
