"""Results that are kept: verdicts with both numbers, small arrays and pictures, a folder per exhibit and scale."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from cloudchamber._core.errors import DamagedFile
from cloudchamber._core.files import write_bytes, write_text
from cloudchamber._core.storage import open_record, save_record
from cloudchamber.claims import Claim, Standing, Verdict, standing
from cloudchamber.papers import pictures
from cloudchamber.papers.exhibit import SCALES, Exhibit, Scale
from cloudchamber.papers.keys import content

VERDICTS_NAME, ARRAYS_NAME = "verdicts.json", "arrays.nc"
PNG_NAME, SVG_NAME = "figure.png", "figure.svg"


@dataclass(frozen=True)
class RunNote:
    """What is kept of a run: its key in the cache, content (of a recipe: beyond the defaults), machine and duration."""

    key: str
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Result:
    """What came of running an exhibit at a scale.

    Attributes:
        exhibit: its id.
        scale: the scale.
        when: the end, as UTC time.
        seconds: how long measuring took, beside the runs.
        claims: as they were when they were checked.
        verdicts: on them, in the same order.
        runs: by name.
        notes: what a reader must know of this result ("digits instead of cifar10").
        history: what earlier results at this scale said: when, fingerprints, outcomes and values by claim.
    """

    exhibit: str
    scale: Scale
    when: str
    seconds: float
    claims: tuple[Claim, ...]
    verdicts: tuple[Verdict, ...]
    runs: Mapping[str, RunNote]
    notes: tuple[str, ...] = ()
    history: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def standing(self) -> Standing:
        """How the exhibit stands."""
        return standing([verdict.outcome for verdict in self.verdicts])

    def as_history(self) -> dict[str, Any]:
        """Return what a later result remembers of this one."""
        kept = {v.claim: {"fingerprint": v.fingerprint, "outcome": v.outcome} for v in self.verdicts}
        return {"when": self.when, "verdicts": kept}

    def changed_claims(self, exhibit: Exhibit) -> tuple[str, ...]:
        """Return the claims of an exhibit that are not those that were checked: changed, added or gone."""
        then = {claim.name: claim.fingerprint for claim in self.claims}
        now = {claim.name: claim.fingerprint for claim in exhibit.claims}
        return tuple(sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name)))

    def changed_recipes(self, recipes: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the runs whose recipes or studies are not those that were run: changed, added or gone."""
        then = {name: note.recipe for name, note in self.runs.items()}
        now = {name: content(recipe) for name, recipe in recipes.items()}
        return tuple(sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name)))


@dataclass(frozen=True)
class Results:
    """The folder of all results: `<paper>/<exhibit>/<scale>/`."""

    folder: Path

    def place(self, exhibit: str, scale: Scale) -> Path:
        """Return the folder of a result."""
        return self.folder / exhibit / scale

    def load(self, exhibit: str, scale: Scale) -> Result | None:
        """Read a result; None if there is none.

        Raises:
            DamagedFile: if it cannot be read.
        """
        path = self.place(exhibit, scale) / VERDICTS_NAME
        if not path.is_file():
            return None
        try:
            return _result(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, DamagedFile) as error:
            raise DamagedFile(
                f"{path} must be a whole result; got: {error}. Remedy: delete its folder and run {exhibit} again."
            ) from error

    def best(self, exhibit: str) -> Result | None:
        """Return the result at the largest scale but smoke, which proves nothing but that the code runs."""
        found = (self.load(exhibit, scale) for scale in reversed(SCALES) if scale != "smoke")
        return next((result for result in found if result is not None), None)

    def arrays(self, exhibit: str, scale: Scale) -> xr.Dataset:
        """Read the arrays of a result.

        Raises:
            FileAccess: if there are none.
            DamagedFile: if they cannot be read.
        """
        return open_record(self.place(exhibit, scale) / ARRAYS_NAME)

    def save(self, result: Result, arrays: xr.Dataset, figure: Figure) -> Path:
        """Keep a result; the verdicts come last, so that they are there only beside arrays and pictures."""
        folder = self.place(result.exhibit, result.scale)
        save_record(arrays, folder / ARRAYS_NAME)
        self.keep_pictures(result.exhibit, result.scale, figure)
        write_text(folder / VERDICTS_NAME, json.dumps(_stored(result), indent=1, ensure_ascii=False) + "\n")
        return folder

    def keep_pictures(self, exhibit: str, scale: Scale, figure: Figure) -> None:
        """Keep the figure of a result, as `exhibit.draw` makes it of its arrays."""
        folder = self.place(exhibit, scale)
        write_bytes(folder / SVG_NAME, pictures.svg(figure))
        write_bytes(folder / PNG_NAME, pictures.png(figure))


def _stored(result: Result) -> dict[str, Any]:
    return {
        **vars(result),
        "claims": [{**claim.to_json(), "fingerprint": claim.fingerprint} for claim in result.claims],
        "verdicts": [verdict.to_json() for verdict in result.verdicts],
        "runs": {name: vars(note) for name, note in result.runs.items()},
    }


def _result(stored: dict[str, Any]) -> Result:
    claims = tuple(_claim(claim) for claim in stored["claims"])
    verdicts = tuple(Verdict.from_json(verdict) for verdict in stored["verdicts"])
    runs = {name: RunNote(**note) for name, note in stored["runs"].items()}
    more = {"notes": tuple(stored["notes"]), "history": tuple(stored["history"])}
    return Result(**{**stored, "claims": claims, "verdicts": verdicts, "runs": runs, **more})


def _claim(stored: dict[str, Any]) -> Claim:
    fields = {name: value for name, value in stored.items() if name != "fingerprint"}
    claim = Claim.from_json(fields)
    if claim.fingerprint != stored["fingerprint"]:
        raise DamagedFile(
            f"a stored claim has the fingerprint of its text; {claim.name} has another. Remedy: run again."
        )
    return claim
