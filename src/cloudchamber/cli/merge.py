"""The command `merge`: the narrow network that a run's equals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Tolerance = Annotated[float, typer.Option("--tolerance", help="Largest relative change of the output.")]
Samples = Annotated[int, typer.Option("--samples", help="Training samples looked at; half of them held out.")]
FineTune = Annotated[
    int, typer.Option("--fine-tune", metavar="STEPS", help="Updates of the narrow network after that.")
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Left out: `merged` in the run's folder, for its report.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan; write nothing.")]


def merge(
    run: Run,
    tolerance: Tolerance = 1e-3,
    samples: Samples = 1000,
    fine_tune: FineTune = 0,
    out: Out = None,
    dry_run: DryRun = False,
) -> None:
    """Merge the neurons of a run's network that act as copies, and save the narrow network with its plan."""
    from cloudchamber.training.merging import merge_run, plan_merge_of_run

    if dry_run:
        typer.echo(str(plan_merge_of_run(run, tolerance=tolerance, samples=samples)))
        return
    summary, place = merge_run(run, tolerance=tolerance, samples=samples, fine_tune_steps=fine_tune, out=out)
    typer.echo(f"{summary.plan}\n\n{summary}\n\nmerged  {place}")
    if out is None:
        typer.echo(f"`cloudchamber report {run}` shows it beside the diagnosis")
