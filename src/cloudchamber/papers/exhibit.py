"""An exhibit: a figure or table of a paper as code: what is run, claimed, measured, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import xarray as xr
from matplotlib.figure import Figure

from cloudchamber._core.errors import require
from cloudchamber.claims import Claim
from cloudchamber.papers.study import Study
from cloudchamber.training import Recipe

Scale = Literal["smoke", "laptop", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "laptop", "paper")
"""smoke: seconds, proves that the code runs; laptop: minutes on 2 cores; paper: the paper's own sizes."""


@dataclass(frozen=True)
class Measured:
    """What an exhibit's runs showed.

    Attributes:
        numbers: by the name of a claim, a number per seed; NaN = could not be measured. A claim that is not named was
            not run.
        arrays: what the figure and the table are made of; kept with the result, so at most a few hundred KB.
        why: by the name of a claim, why numbers are NaN or missing.
    """

    numbers: Mapping[str, Sequence[float]]
    arrays: xr.Dataset
    why: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exhibit:
    """One figure or table of a paper.

    Attributes:
        id: "paper/name", as in the register: "mlp2024/tab1".
        recipes: by scale, recipes and studies by names of ours; equal ones of several exhibits are run once.
        claims: what the paper says; written before the first run at `laptop`, and never loosened.
        measure: by name, the `Run` of each recipe and the `StudyRun` of each study → numbers and arrays.
        draw: the arrays → the figure, as the paper draws it.
        settings: what the paper leaves open and how it was chosen, in words.
        table: the arrays → text with our numbers beside the paper's, for tables.
        explanation: where our numbers disagree with the paper's: why, by which extra runs.
    """

    id: str
    recipes: Callable[[Scale], Mapping[str, Recipe] | Mapping[str, Study] | Mapping[str, Recipe | Study]]
    claims: tuple[Claim, ...]
    measure: Callable[[Mapping[str, Any]], Measured]
    draw: Callable[[xr.Dataset], Figure]
    settings: str
    table: Callable[[xr.Dataset], str] | None = None
    explanation: str = ""

    def __post_init__(self) -> None:
        names = [claim.name for claim in self.claims]
        require(len(set(names)) == len(names) > 0, "an exhibit's claims have names of their own", names, "rename one")
