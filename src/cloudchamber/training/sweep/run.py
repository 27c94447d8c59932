"""Run a sweep into a folder, or go on with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from cloudchamber._core.errors import FileAccess, InvalidInput
from cloudchamber._core.files import make_folder, remove_temporaries, write_text
from cloudchamber._core.storage import save_record
from cloudchamber.training.sweep.chunks import Outcome
from cloudchamber.training.sweep.dataset import dataset_of
from cloudchamber.training.sweep.execute import Watcher, execute
from cloudchamber.training.sweep.ledger import LEDGER_NAME, Ledger, name_of
from cloudchamber.training.sweep.places import place_of
from cloudchamber.training.sweep.plan import Plan, plan
from cloudchamber.training.sweep.sweep import Sweep
from cloudchamber.training.sweep.sweep_text import load_sweep, parse_sweep, sweep_yaml
from cloudchamber.training.sweep.work import train_cells

SWEEP_NAME = "sweep.yaml"
DATASET_NAME = "sweep.nc"


@dataclass(frozen=True)
class CellFailure:
    """A cell that could not be computed: what it sets, and what it raised."""

    cell: int
    settings: Mapping[str, Any]
    error: str


@dataclass(frozen=True)
class SweepResult:
    """What came of a sweep: its dataset, its folder, and the cells that failed."""

    dataset: xr.Dataset
    folder: Path | None
    failures: tuple[CellFailure, ...]


def sweep(
    what: Sweep | Mapping[str, Any] | Path | str,
    out: Path | str | None = None,
    *,
    on: str | None = None,
    callbacks: Sequence[Watcher] = (),
    retry_failed: bool = False,
) -> SweepResult:
    """Run every cell of a sweep, and put what is kept of them into one dataset over its axes.

    The folder then holds `sweep.yaml`, `ledger.sqlite` and `sweep.nc`. Every finished chunk of cells is committed to
    the ledger: a sweep can be killed at any instant, and the same call goes on to the bit-identical dataset. A cell
    that fails is recorded with its error; a loss that is not finite is a result.

    Args:
        what: a sweep, a mapping that is one as in a file, or the path of a file.
        out: folder; None = keep nothing but the result.
        on: where to compute: None = in this process, "processes" or "processes://4" = in so many of this machine,
            "ray" = on the Ray cluster of this machine, "ray://host:port" = on another.
        callbacks: are told what happens.
        retry_failed: compute cells again that had failed.

    Returns:
        The result; `dataset.status` says how each cell ended.

    Raises:
        InvalidRecipe: if the sweep, or a cell of it, is not valid.
        InvalidInput: if the folder holds another sweep, or `on` names no place.
        FileAccess: if the folder cannot be written, or another process writes it.
        DamagedFile: if the ledger is damaged.
        Unsupported: if Ray is asked for and not installed.

    >>> small = {"data": {"name": "sines"}, "model": {"depth": 2, "width": 4}, "batch_size": None, "steps": 5}
    >>> result = sweep({"recipe": small, "axes": {"optimizer.lr": [0.1, 0.01], "seed": {"range": 3}}})
    >>> result.dataset.probe_loss.sizes
    Frozen({'optimizer.lr': 2, 'seed': 3})
    """
    place_of(on)  # before anything is written
    planned = plan(_as_sweep(what))
    folder = None if out is None else _claimed(Path(out), planned.sweep)
    outcomes = execute(
        [piece.chunk for piece in planned.pieces],
        train_cells,
        ledger=None if folder is None else folder / LEDGER_NAME,
        on=on,
        threads=planned.recipes[0].threads or 1,
        callbacks=callbacks,
        retry_failed=retry_failed,
    )
    result = _result(planned, outcomes, folder)
    if folder is not None:
        save_record(result.dataset, folder / DATASET_NAME)
    return result


def open_sweep(folder: Path | str) -> SweepResult:
    """Open what a sweep's folder holds, also while it is being computed; cells that are not there yet are "missing".

    Raises:
        FileAccess: if the folder holds no sweep.
        DamagedFile: if its ledger is damaged.
    """
    folder = Path(folder)
    if not (folder / SWEEP_NAME).is_file():
        raise FileAccess(f"a sweep's folder holds {SWEEP_NAME}; got {folder} without one. Remedy: check the path.")
    planned = plan(load_sweep(folder / SWEEP_NAME))
    return _result(planned, Ledger(folder / LEDGER_NAME, name_of(train_cells)).load(), folder)


def _as_sweep(what: Sweep | Mapping[str, Any] | Path | str) -> Sweep:
    if isinstance(what, Sweep):
        return what
    return parse_sweep(what) if isinstance(what, Mapping) else load_sweep(what)


def _claimed(folder: Path, sweep: Sweep) -> Path:
    """Write the sweep into its folder, or find it there."""
    make_folder(folder)
    path, text = folder / SWEEP_NAME, sweep_yaml(sweep)
    if not path.exists():
        remove_temporaries(folder)
        write_text(path, text)
    elif load_sweep(path) != sweep:
        raise InvalidInput(
            f"a folder holds one sweep; got another than that in {path}. "
            "Remedy: choose a new folder, or go on with the sweep that is there."
        )
    return folder


def _result(planned: Plan, outcomes: Mapping[str, Outcome], folder: Path | None) -> SweepResult:
    return SweepResult(dataset_of(planned, outcomes), folder, tuple(failures_of(planned, outcomes)))


def failures_of(planned: Plan, outcomes: Mapping[str, Outcome]) -> list[CellFailure]:
    """Return the cells that failed, in their order."""
    found = [
        CellFailure(number, planned.cells[number].settings, error)
        for piece in planned.pieces
        if piece.chunk.key in outcomes
        for number, error in zip(piece.members, outcomes[piece.chunk.key].errors, strict=True)
        if error is not None
    ]
    return sorted(found, key=lambda failure: failure.cell)
