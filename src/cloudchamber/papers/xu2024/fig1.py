"""xu2024, Figure 1: layer alignment of linear and ReLU networks, aligning and disaligning, theory over experiment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cloudchamber.claims import Claim
from cloudchamber.papers.exhibit import Exhibit, Measured, Scale
from cloudchamber.papers.study import Study, StudyRun
from cloudchamber.papers.xu2024 import panels

SOURCE = "xu2024, Section 2.2 and Figure 1"
_PARALLEL = {"scaling": "mean_field", "start": "parallel", "size": 2.0}
_RELU = {"activation": "relu"}
LINEAR = {
    "(a) linear: feature learning": {"scaling": "mean_field"},
    "(a) linear: kernel": {"scaling": "ntk"},
    "(b) linear, parallel: disturbed by 0.2": {**_PARALLEL, "disturbance": 0.2},
    "(b) linear, parallel: disturbed by 0.5": {**_PARALLEL, "disturbance": 0.5},
}
RELU = {
    "(c) ReLU: feature learning": {"scaling": "mean_field", **_RELU},
    "(c) ReLU: kernel": {"scaling": "ntk", **_RELU},
    "(d) ReLU, parallel: undisturbed": {**_PARALLEL, **_RELU},
    "(d) ReLU, parallel: disturbed by 0.5": {**_PARALLEL, **_RELU, "disturbance": 0.5},
}
CASES = {**LINEAR, **RELU}


def recipes(scale: Scale) -> dict[str, Study]:
    """Return a study for each line of the figure."""
    return panels.studies(CASES, scale)


def _claim(
    name: str, statement: str, quantity: str, basis: str, at_least: float | None = None, at_most: float | None = None
) -> Claim:
    return Claim(name, statement, quantity, basis, SOURCE, at_least, at_most)


_KERNEL = "the paper's words; that 0.2 is unchanged at a width of 1000 is ours"


def _linear_claims() -> tuple[Claim, ...]:
    theory = "The theoretical prediction of Eq. (21) agrees with the experiment."
    thousandth = "the paper's picture; that 0.001 is agreement is ours"
    return (
        _claim("linear, aligning: theory", theory, "largest |ζ − theory's| of (a)", thousandth, at_most=1e-3),
        _claim("linear, parallel: theory", theory, "largest |ζ − theory's| of (b)", thousandth, at_most=1e-3),
        _claim(
            "linear: aligns",
            "ζ monotonically increases.",
            "smallest change of ζ between looks, (a) feature learning",
            "the paper's words",
            at_least=0.0,
        ),
        _claim(
            "linear: kernel phase",
            "In the kernel phase the two layers are essentially orthogonal throughout.",
            "largest |ζ|, (a) kernel",
            _KERNEL,
            at_most=0.2,
        ),
        _claim(
            "linear: disaligns",
            "Near parallel layers with a large output disalign: ζ monotonically decreases.",
            "largest change of ζ between looks, (b) disturbed by 0.5",
            "the paper's words",
            at_most=0.0,
        ),
    )


def _relu_claims() -> tuple[Claim, ...]:
    return (
        _claim(
            "ReLU: aligns",
            "ζ monotonically increases in the feature learning phase.",
            "smallest change of ζ between looks, (c) feature learning",
            "the paper's words",
            at_least=0.0,
        ),
        _claim(
            "ReLU: kernel phase",
            "ζ remains unchanged in the NTK phase.",
            "|ζ at the end − ζ at the start|, (c) kernel",
            _KERNEL,
            at_most=0.2,
        ),
        _claim(
            "ReLU: parallel stays",
            "ζ remains 1 if the layers are initialized to be parallel.",
            "1 − ζ at the end, (d) undisturbed",
            "the paper's words; that 1e-6 is 0 is ours",
            at_most=1e-6,
        ),
        _claim(
            "ReLU: disaligns",
            "ζ monotonically decreases if a small disturbance is added.",
            "largest change of ζ between looks, (d) disturbed by 0.5",
            "the paper's words",
            at_most=0.0,
        ),
    )


CLAIMS = (*_linear_claims(), *_relu_claims())


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Compare ζ with theory, and look at the way it goes."""
    names = list(CASES)
    found = {name: run.result for name, run in runs.items()}
    kernel = found["(c) ReLU: kernel"]
    numbers = {
        "linear, aligning: theory": panels.largest_deviation(runs, names[:2]),
        "linear, parallel: theory": panels.largest_deviation(runs, names[2:4]),
        "linear: aligns": panels.smallest_step(found["(a) linear: feature learning"]),
        "linear: kernel phase": abs(found["(a) linear: kernel"].alignment).max("look").values.tolist(),
        "linear: disaligns": panels.largest_step(found["(b) linear, parallel: disturbed by 0.5"]),
        "ReLU: aligns": panels.smallest_step(found["(c) ReLU: feature learning"]),
        "ReLU: kernel phase": np.abs(panels.change(kernel)).tolist(),
        "ReLU: parallel stays": (1 - found["(d) ReLU, parallel: undisturbed"].alignment[:, -1]).values.tolist(),
        "ReLU: disaligns": panels.largest_step(found["(d) ReLU, parallel: disturbed by 0.5"]),
    }
    return Measured(numbers, panels.table(runs))


EXHIBIT = Exhibit(
    id="xu2024/fig1",
    recipes=recipes,
    claims=CLAIMS,
    measure=measure,
    draw=panels.draw,
    settings="x are 100 standard normal points on a line, y = x; the paper's width and variances are lost: width 1000, "
    "entries of order 1. Feature learning is the mean field scaling (γ = 1/d, η = d), kernel is NTK; near "
    "parallel starts are u = w plus noise of 0.2 or 0.5 of its size, both layers twice as large, so that f(0) "
    "is 4 or more times the target. Gradient descent of 4000 steps over a time of 1.5, full batch. The line "
    "over ReLU is ours: on a line a ReLU network is two linear ones, of the neurons with w > 0 and with w < "
    "0, until a w changes its sign.",
)
