"""The commands. Whatever needs torch is imported inside them, so that `--help` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloudchamber._core.errors import CloudchamberError, InvalidInput
from cloudchamber.cli.codes import DIVERGED, FAILED, INTERRUPTED, MISUSED
from cloudchamber.cli.folders import next_folder
from cloudchamber.cli.merge import merge
from cloudchamber.cli.papers import app as papers
from cloudchamber.cli.rescue import initialize, rescue
from cloudchamber.cli.sweep import sweep

if TYPE_CHECKING:
    import xarray as xr

    from cloudchamber._core.finding import Findings
    from cloudchamber.training import RunResult

REPORT_NAME = "report.html"

app = typer.Typer(
    help="See condensation in neural networks, and read what it means for a training run.",
    epilog="Exit codes: 0 done, 1 a file cannot be used or cells of a sweep failed, 2 wrong input, "
    "3 the loss became NaN or infinite, 130 interrupted (go on with --resume).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(papers, name="papers")
app.command()(sweep)
app.command()(rescue)
app.command()(initialize)
app.command()(merge)

RecipeFile = Annotated[
    Path | None, typer.Argument(metavar="[RECIPE.yaml]", help="A recipe; left out: the default one.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a field, for example optimizer.lr=0.1."),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A run folder.")]
Folders = Annotated[list[Path], typer.Argument(metavar="DIR DIR…", help="Two or more run folders.")]


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    """See condensation in neural networks, and read what it means for a training run."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"cloudchamber {installed('cloudchamber')}")
        raise typer.Exit


@app.command()
def run(
    recipe: RecipeFile = None,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="New folder; left out: runs/001, …")] = None,
    resume: Annotated[Path | None, typer.Option("--resume", metavar="DIR", help="Go on with this run.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines instead of the live view.")] = False,
) -> None:
    """Train a recipe while watching it, then say what happened and write a report."""
    if resume is not None:
        _refuse_beside_resume(recipe, overrides, out)
    from cloudchamber.cli.live import live_view
    from cloudchamber.training import load_recipe
    from cloudchamber.training import resume as resume_run
    from cloudchamber.training import run as start_run

    with live_view(plain=plain or not sys.stdout.isatty()) as view:
        if resume is not None:
            result = resume_run(resume, callbacks=[view])
        else:
            result = start_run(load_recipe(recipe, overrides or []), out or next_folder(Path("runs")), callbacks=[view])
    explain(result.record, result.folder)
    leave(result)


@app.command()
def report(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help=f"Left out: {REPORT_NAME} in the folder.")
    ] = None,
) -> None:
    """Write the HTML report of a run, also of one that was killed."""
    from cloudchamber._core.storage import open_record

    record = open_record(folder)
    inside = folder if folder.is_dir() else folder.parent
    typer.echo(f"report  {_write_report(record, out or inside / REPORT_NAME, _findings(record, inside))}")


@app.command()
def predict(recipe: RecipeFile = None, overrides: Overrides = None) -> None:
    """Say, before a single step, whether a recipe's training will leave its plateau, and why."""
    from cloudchamber.predict import predict_recipe
    from cloudchamber.training import load_recipe

    typer.echo(str(predict_recipe(load_recipe(recipe, overrides or []))))


@app.command()
def phase(recipe: RecipeFile = None, overrides: Overrides = None) -> None:
    """Say whether a recipe's network learns features or stays in the kernel phase, and how to change that."""
    from cloudchamber.predict.phases import phase_recipe
    from cloudchamber.training import load_recipe

    typer.echo(str(phase_recipe(load_recipe(recipe, overrides or []))))


@app.command()
def diagnose(folder: Folder) -> None:
    """Say what happened in a run: what, where, the evidence, how sure, what to change."""
    from cloudchamber._core.storage import open_record

    findings = _findings(open_record(folder), folder if folder.is_dir() else folder.parent)
    typer.echo(str(findings))
    if "stuck" in findings.codes and folder.is_dir():
        typer.echo(f"\nrescue  cloudchamber rescue {folder}")


@app.command()
def compare(folders: Folders) -> None:
    """Put two or more runs side by side: phases, losses, layers, and what differs in their recipes."""
    from cloudchamber._core.storage import open_record
    from cloudchamber.diagnosis import compare as comparison_of

    typer.echo(str(comparison_of({str(folder): open_record(folder) for folder in folders})))


@app.command()
def measures(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME…]", help="Measures or groups; left out: all, with --cost those of the recipe."),
    ] = None,
    cost: Annotated[bool, typer.Option("--cost", help="Time them on a recipe's model and probe.")] = False,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="The recipe for --cost; left out: the default one.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """List what can be measured: names, groups, how often, what each means, and with --cost how long it takes."""
    if cost:
        from cloudchamber.training import load_recipe, observation_costs

        typer.echo(str(observation_costs(load_recipe(recipe, overrides or []), names)))
        return
    from cloudchamber.cli.tables import measures_table

    typer.echo(measures_table(names or ["all"]))


@app.command(name="recipe")
def show_recipe(recipe: RecipeFile = None, overrides: Overrides = None) -> None:
    """Print a recipe with every field: the default one, or yours completed and checked."""
    from cloudchamber.training import load_recipe, recipe_yaml

    typer.echo(recipe_yaml(load_recipe(recipe, overrides or [])), nl=False)


def main() -> None:
    """Run a command; an expected error becomes one line on standard error and an exit code."""
    try:
        app()
    except CloudchamberError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(MISUSED if isinstance(error, InvalidInput) else FAILED)


def explain(record: xr.Dataset, folder: Path) -> None:
    """Say what happened in a run, and write its report."""
    findings = _findings(record, folder)
    typer.echo(f"\n{findings}\n")
    typer.echo(f"record  {folder / 'record.nc'}")
    typer.echo(f"report  {_write_report(record, folder / REPORT_NAME, findings)}")
    if "stuck" in findings.codes:
        typer.echo(f"rescue  cloudchamber rescue {folder}")


def _findings(record: xr.Dataset, folder: Path) -> Findings:
    """The diagnosis, and what merging came to where that was done."""
    from cloudchamber.diagnosis import diagnose as findings_of

    findings = findings_of(record)
    if not (folder / "merged").is_dir():  # torch is imported late, and not for this
        return findings
    from cloudchamber.training.merging import with_merge

    return with_merge(findings, folder)


def _write_report(record: xr.Dataset, path: Path, findings: Findings) -> Path:
    from cloudchamber.reporting import write_report

    return write_report(record, path, findings=findings)


def leave(result: RunResult) -> None:
    """Leave with the exit code of a run."""
    if result.status == "interrupted":
        typer.echo(
            f"\ninterrupted after step {result.step}; go on with\n  cloudchamber run --resume {result.folder}", err=True
        )
        raise typer.Exit(INTERRUPTED)
    if result.status == "diverged":
        typer.echo(f"\nthe loss was not finite at step {result.step}; the record until there is kept", err=True)
        raise typer.Exit(DIVERGED)


def _refuse_beside_resume(recipe: Path | None, overrides: list[str] | None, out: Path | None) -> None:
    if recipe is not None or overrides or out is not None:
        raise InvalidInput(
            "--resume goes on with the run's own recipe and folder; got a recipe, --set or --out beside it. "
            "Remedy: leave them out, or start a new run without --resume."
        )
