"""What `sweep` can compute: a sweep of a file, or a phase diagram."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, get_args, runtime_checkable

from cloudchamber._core.errors import DamagedFile, FileAccess, InvalidInput, require
from cloudchamber._core.files import write_text
from cloudchamber._core.storage import save_record
from cloudchamber.cli.figures import draw_diagram
from cloudchamber.cli.sweep_words import diagram_plan_text, result_text, sweep_plan_text
from cloudchamber.training.diagrams.catalogue import DIAGRAMS
from cloudchamber.training.diagrams.diagram import Scale
from cloudchamber.training.recipe_text import parse_overrides
from cloudchamber.training.sweep.execute import Watcher
from cloudchamber.training.sweep.ledger import LEDGER_NAME
from cloudchamber.training.sweep.places import place_of
from cloudchamber.training.sweep.run import SWEEP_NAME, sweep
from cloudchamber.training.sweep.sweep import Sweep
from cloudchamber.training.sweep.sweep_text import load_sweep

DIAGRAM_NAME = "diagram.json"


@runtime_checkable
class Job(Protocol):
    """Something that is computed in chunks, into a folder."""

    def plan_text(self, on: str | None) -> str:
        """Say what would be computed, and how long it would take."""
        ...

    def run(
        self, folder: Path, on: str | None, callbacks: Sequence[Watcher], *, retry_failed: bool
    ) -> tuple[str, bool]:
        """Compute it; return what came of it in words, and whether a part of it failed."""
        ...


@dataclass(frozen=True)
class SweepJob:
    """A sweep of a file."""

    sweep: Sweep

    def plan_text(self, on: str | None) -> str:
        """Say what would be computed, and how long it would take."""
        place_of(on)
        return sweep_plan_text(self.sweep, on)

    def run(
        self, folder: Path, on: str | None, callbacks: Sequence[Watcher], *, retry_failed: bool
    ) -> tuple[str, bool]:
        """Compute it; return what came of it in words, and whether a cell failed."""
        result = sweep(self.sweep, folder, on=on, callbacks=callbacks, retry_failed=retry_failed)
        return result_text(result), bool(result.failures)


@dataclass(frozen=True)
class DiagramJob:
    """A phase diagram, at a scale, with changes of its options."""

    name: str
    scale: Scale = "laptop"
    changes: dict[str, Any] = field(default_factory=dict)

    def plan_text(self, on: str | None) -> str:
        """Say what would be computed."""
        place_of(on)
        return diagram_plan_text(DIAGRAMS[self.name], self.scale, self.changes)

    def run(
        self, folder: Path, on: str | None, callbacks: Sequence[Watcher], *, retry_failed: bool
    ) -> tuple[str, bool]:
        """Compute it; return what came of it in words."""
        require(not retry_failed, "--retry-failed is for sweeps of a file", self.name, "leave it out")
        diagram = DIAGRAMS[self.name]
        place_of(on)  # before anything is written
        self._claim(folder)
        dataset = diagram.run(self.scale, ledger=folder / LEDGER_NAME, on=on, callbacks=callbacks, **self.changes)
        save_record(dataset, folder / "diagram.nc")
        picture = draw_diagram(dataset, folder / "diagram.png")
        return f"{diagram.summary(dataset)}\n\ndataset  {folder / 'diagram.nc'}\nfigure   {picture}", False

    def _claim(self, folder: Path) -> None:
        """Write into the folder what it is for, or find that there."""
        path = folder / DIAGRAM_NAME
        if path.exists():
            rule = f"a folder holds one diagram; {folder} is that of another one, or of other options"
            require(_read(path) == self, rule, self.name, "choose a new folder, or --resume this one")
        elif (folder / SWEEP_NAME).exists():
            raise InvalidInput(f"a diagram needs a folder of its own; got {folder}, a sweep's. Remedy: choose another.")
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")


def job_of(what: str, overrides: Sequence[str], scale: str | None) -> Job:
    """Return the job of a diagram's name or of a sweep's file.

    Raises:
        FileAccess: if it is neither.
        InvalidRecipe: if the file, or what is overridden, is not valid.
    """
    if what in DIAGRAMS:
        require(scale in (None, *get_args(Scale)), f"a scale is one of {get_args(Scale)}", scale, "choose one of them")
        return _checked(what, scale or "laptop", parse_overrides(overrides))
    require(scale is None, "--scale is for diagrams", scale, "leave it out, or set the fields of the recipe")
    if not Path(what).is_file():
        raise FileAccess(
            f"a sweep is a readable YAML file, or one of {', '.join(DIAGRAMS)}; got: {what}. Remedy: check the path."
        )
    return SweepJob(load_sweep(what, overrides))


def job_in(folder: Path) -> Job:
    """Return the job of a folder.

    Raises:
        FileAccess: if there is none.
        DamagedFile: if it cannot be understood.
    """
    if (folder / SWEEP_NAME).is_file():
        return SweepJob(load_sweep(folder / SWEEP_NAME))
    if (folder / DIAGRAM_NAME).is_file():
        found = _read(folder / DIAGRAM_NAME)
        return _checked(found.name, found.scale, found.changes)
    raise FileAccess(
        f"a sweep's folder holds {SWEEP_NAME} or {DIAGRAM_NAME}; got {folder} without one. Remedy: check the path."
    )


def _checked(name: str, scale: Any, changes: dict[str, Any]) -> DiagramJob:
    DIAGRAMS[name].chosen(scale, **changes)
    return DiagramJob(name, scale, changes)


def _read(path: Path) -> DiagramJob:
    try:
        return DiagramJob(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DamagedFile(
            f"{path} must say which diagram its folder holds; got: {error}. Remedy: delete it."
        ) from error
