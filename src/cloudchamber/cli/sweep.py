"""The command `sweep`: many networks at once, from a file, or a phase diagram by its name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cloudchamber._core.errors import InvalidInput
from cloudchamber.cli.codes import FAILED, INTERRUPTED
from cloudchamber.cli.folders import next_folder

What = Annotated[
    str | None,
    typer.Argument(metavar="[SWEEP.yaml|NAME]", help="A sweep, or two-layer-regime, three-layer-regime, exponents."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show cells, chunks and how long it will take; run nothing.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder; left out: sweeps/001, …")]
On = Annotated[
    str | None,
    typer.Option("--on", metavar="WHERE", help="processes, processes://N, ray or ray://HOST:PORT; left out: here."),
]
Resume = Annotated[Path | None, typer.Option("--resume", metavar="DIR", help="Go on with what this folder holds.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the recipe, or an option of a diagram."),
]
Scale = Annotated[
    str | None, typer.Option("--scale", metavar="SCALE", help="Of a diagram: smoke, laptop (left out) or paper.")
]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Compute cells again that had failed.")]
Plain = Annotated[bool, typer.Option("--plain", help="Plain lines instead of a progress bar.")]


def sweep(
    what: What = None,
    dry_run: DryRun = False,
    out: Out = None,
    on: On = None,
    resume: Resume = None,
    overrides: Overrides = None,
    scale: Scale = None,
    retry_failed: Retry = False,
    plain: Plain = False,
) -> None:
    """Train a recipe over axes, many networks at once; the same command with the same folder goes on where it was."""
    _refuse_beside_resume(what, resume, more=bool(out or overrides or scale))
    from cloudchamber.cli.jobs import job_in, job_of
    from cloudchamber.cli.progress import progress

    job = job_in(resume) if resume is not None else job_of(what or "", overrides or [], scale)
    if dry_run:
        typer.echo(job.plan_text(on))
        return
    folder = resume or out or next_folder(Path("sweeps"))
    try:
        with progress(plain=plain or not sys.stdout.isatty()) as watcher:
            text, failed = job.run(folder, on, [watcher], retry_failed=retry_failed)
    except KeyboardInterrupt:
        typer.echo(f"\ninterrupted; go on with\n  cloudchamber sweep --resume {folder}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(text)
    if failed:
        raise typer.Exit(FAILED)


def _refuse_beside_resume(what: str | None, resume: Path | None, *, more: bool) -> None:
    if resume is not None and (what is not None or more):
        raise InvalidInput(
            "--resume goes on with the folder's own sweep; got a sweep, --set, --scale or --out beside it. "
            "Remedy: leave them out, or start a new sweep without --resume."
        )
    if resume is None and what is None:
        raise InvalidInput(
            "a sweep is a file or the name of a diagram; got none. Remedy: cloudchamber sweep my-sweep.yaml, "
            "cloudchamber sweep two-layer-regime, or --resume DIR."
        )
