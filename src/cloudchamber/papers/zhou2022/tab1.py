"""Table 1: test accuracies of ResNet-18-like networks from common and condensed initializations."""

from __future__ import annotations

from collections.abc import Mapping

from cloudchamber.claims import Claim
from cloudchamber.papers.exhibit import Exhibit, Measured
from cloudchamber.papers.study import StudyRun
from cloudchamber.papers.zhou2022 import accuracies

_SOURCE = "zhou2022, Table 1"
_PAPER_SPREAD = 0.0134
CLAIMS = (
    Claim(
        "similar",
        "The performance of common and condensed initializations is similar.",
        "mean final test accuracy of the three condensed initializations less that of the three common ones",
        "the paper's spread of common initializations, 86.73 to 88.07 %",
        _SOURCE,
        at_least=-_PAPER_SPREAD,
        at_most=_PAPER_SPREAD,
        paper=(0.0011,),
        over="mean of seeds",
    ),
    Claim(
        "within the spread",
        "Accuracies of both kinds lie within each other's range.",
        "share of the nine condensed runs between the lowest and the highest of the nine common ones",
        "the paper's numbers: 8 of 9 lie between; the bound is ours",
        _SOURCE,
        at_least=0.7,
        paper=(8 / 9,),
        seeds=1,
    ),
)


def measure(runs: Mapping[str, StudyRun]) -> Measured:
    """Compare final accuracies."""
    shown = accuracies.table(runs)
    final = shown.accuracy.isel(updates=-1)
    common, condensed = (final.where(final.kind == kind, drop=True) for kind in ("common", "condensed"))
    between = ((condensed >= common.min()) & (condensed <= common.max())).values[condensed.notnull().values]
    numbers = {"similar": accuracies.difference(final).values.tolist(), "within the spread": [float(between.mean())]}
    return Measured(numbers, shown, {"similar": "a trial of condensed initializations was not run"})


EXHIBIT = Exhibit(
    id="zhou2022/tab1",
    recipes=accuracies.studies,
    claims=CLAIMS,
    measure=measure,
    draw=accuracies.draw,
    table=accuracies.text,
    settings=accuracies.SETTINGS,
    explanation=accuracies.EXPLANATION,
)
