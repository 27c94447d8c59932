"""The commands `rescue` and `initialize`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cloudchamber.cli.codes import FAILED
from cloudchamber.cli.folders import next_folder

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run of `cloudchamber run`.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="New folder; left out: RUN-rescued/001, …")]
Steps = Annotated[
    int | None, typer.Option("--steps", metavar="N", help="Updates from there on; left out: as many as the run had.")
]
Trial = Annotated[int, typer.Option("--trial-steps", metavar="N", help="The most updates of a trial.")]
OnlyPlan = Annotated[bool, typer.Option("--plan", help="Only print what would be done.")]
Plain = Annotated[bool, typer.Option("--plain", help="Plain lines instead of the live view.")]


def rescue(
    run: Run,
    out: Out = None,
    steps: Steps = None,
    trial_steps: Trial = 400,
    only_plan: OnlyPlan = False,
    plain: Plain = False,
) -> None:
    """Free a run that is stuck: try remedies on copies, and go on from its checkpoint with the least invasive one.

    The run itself stays as it is; what goes on is in a new folder. A run that is not stuck is left alone. Exit code 1
    if no remedy moved the loss.
    """
    from cloudchamber.control import plan_for_run, rescue_planned

    stuck = plan_for_run(run, trial_steps=trial_steps)
    typer.echo(str(stuck.plan))
    if stuck.plan.verdict == "no remedy":
        raise typer.Exit(FAILED)
    if only_plan or not stuck.plan.remedies:
        return
    from cloudchamber.cli.app import explain, leave
    from cloudchamber.cli.live import live_view

    with live_view(plain=plain or not sys.stdout.isatty()) as view:
        result = rescue_planned(stuck, out or next_folder(Path(f"{run}-rescued")), steps=steps, callbacks=[view])
    explain(result.record, result.folder)
    leave(result)


def initialize(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="[RECIPE.yaml]", help="A recipe; left out: the default one.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Override a field, e.g. initialization.name=condensed."),
    ] = None,
) -> None:
    """Say what a recipe's initialization gives each layer, its learning rate's factor, and the regime; run nothing."""
    from cloudchamber.control import initialization_of
    from cloudchamber.training import load_recipe

    typer.echo(str(initialization_of(load_recipe(recipe, overrides or []))))
