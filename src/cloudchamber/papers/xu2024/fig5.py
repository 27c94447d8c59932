"""xu2024, Figure 5: layer alignment with SGD and Adam from Xavier+ and Kaiming+ starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cloudchamber.claims import Claim
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.papers.xu2024 import panels

SOURCE = "xu2024, Section B.1 and Figure 5"
_SCALINGS = {"Xavier+": "xavier+", "Kaiming+": "kaiming+"}
_STARTS: dict[str, dict[str, Any]] = {
    "aligning": {"start": "gaussian"},
    "disaligning": {"start": "parallel", "disturbance": 0.5},
}
_SIZE = {"aligning": {"xavier+": 1.0, "kaiming+": 1.0}, "disaligning": {"xavier+": 2.0, "kaiming+": 12.0}}
"""Kaiming+ starts with an output of order 1/√d even if parallel; 12 times the size makes it too large."""
CASES = {
    f"{title}, {way}: {optimizer}": {
        "scaling": scaling,
        **start,
        "size": _SIZE[way][scaling],
        "optimizer": optimizer.lower(),
    }
    for title, scaling in _SCALINGS.items()
    for way, start in _STARTS.items()
    for optimizer in ("SGD", "Adam")
}


def recipes(scale: Scale) -> dict[str, Study]:
    """Return a study for each line of the figure."""
    return panels.studies(CASES, scale)


def _claims() -> tuple[Claim, ...]:
    theory = [
        Claim(
            f"{title}, {way}: theory",
            "Theory lies over the experiment.",
            f"largest |ζ − theory's|, {title} with SGD, {way}",
            "the paper's picture; that 0.05 is agreement for noisy steps is ours",
            SOURCE,
            at_most=0.05,
        )
        for title in _SCALINGS
        for way in _STARTS
    ]
    similar = Claim(
        "Xavier+: SGD and Adam are alike",
        "SGD and Adam converge to a similar solution in Xavier+, where ‖u‖ ≈ ‖w‖.",
        "|ζ of SGD − ζ of Adam| at the end, aligning",
        "the paper's words; that 0.1 is similar is ours",
        SOURCE,
        at_most=0.1,
    )
    larger = Claim(
        "Kaiming+: SGD changes more",
        "SGD leads to a larger change in alignment in Kaiming+, where ‖u‖ ≪ ‖w‖.",
        "change of ζ with SGD less that with Adam, aligning",
        "the paper's words; that 0.05 is the least that counts is ours",
        SOURCE,
        at_least=0.05,
    )
    falls = Claim(
        "disaligning",
        "Near parallel layers with too large an output disalign.",
        "change of ζ with SGD, the larger of Xavier+ and Kaiming+",
        "the paper's words",
        SOURCE,
        at_most=0.0,
    )
    return (*theory, similar, larger, falls)


CLAIMS = _claims()


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Compare SGD with theory, and with Adam."""
    found = {name: run.result for name, run in runs.items()}
    numbers = {
        f"{title}, {way}: theory": panels.deviation(found[f"{title}, {way}: SGD"])
        for title in _SCALINGS
        for way in _STARTS
    }
    ends = {name: np.array(panels.change(one)) for name, one in found.items()}
    xavier, kaiming = (ends[f"{title}, aligning: SGD"] - ends[f"{title}, aligning: Adam"] for title in _SCALINGS)
    numbers["Xavier+: SGD and Adam are alike"] = np.abs(xavier).tolist()
    numbers["Kaiming+: SGD changes more"] = kaiming.tolist()
    numbers["disaligning"] = np.maximum(*(ends[f"{title}, disaligning: SGD"] for title in _SCALINGS)).tolist()
    shown = panels.table(runs)
    adam = shown.case.str.endswith("Adam")
    return Measured(numbers, shown.assign(theory=shown.theory.where(~adam)))


EXHIBIT = Exhibit(
    id="xu2024/fig5",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=panels.draw,
    settings="x are 100 standard normal points on a line, y = x; the paper's width and variances are lost: width 1000, "
    "entries of the sizes that Table 1 gives Xavier+ (both variances 1/d, γ = 1) and Kaiming+ (variances 1 "
    "and 1/d, γ = 1/d, η = d); linear. SGD takes batches of 10 and 4000 steps over a time of 1.5 of gradient "
    "flow. Adam has torch's numbers and a rate with which an entry can move by three times the larger layer's "
    "standard deviation in all. Disaligning: u and w parallel up to a disturbance of half their size, times 2 "
    "(Xavier+) or 12 (Kaiming+), so that the output starts too large. Theory is that of gradient flow and is "
    "drawn for SGD alone.",
    explanation="In Xavier+ Adam ends 0.10 below SGD (0.087 to 0.112), in Kaiming+ 0.11: what the paper calls similar "
    "there and larger here is nearly the same gap in our setting; Adam's rate and the variances, which are "
    "lost, enter it.",
)
