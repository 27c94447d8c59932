"""The commands about papers: list, run, check and show their exhibits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloudchamber._core.errors import InvalidInput

if TYPE_CHECKING:
    from cloudchamber.papers import Entry, Results, RunCache, Scale

UNSOUND, INTERRUPTED = 1, 130

app = typer.Typer(
    help="The papers' figures and tables: run them, and see which of their statements hold.", no_args_is_help=True
)

Exhibits = Annotated[
    list[str] | None, typer.Argument(metavar="[PAPER[/EXHIBIT]…]", help="For example mlp2024/tab1, or mlp2024.")
]
ResultsFolder = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where results are kept.")]
RESULTS = Path("results")


@app.command(name="list")
def list_exhibits(exhibits: Exhibits = None) -> None:
    """List the exhibits: what each shows, and whether it is built."""
    from cloudchamber.papers import chosen
    from cloudchamber.papers.ledger_lines import aligned

    rows = [(entry.id, "built" if entry.built else "", entry.title) for entry in chosen(exhibits or [])]
    typer.echo("\n".join(aligned(rows)))


@app.command()
def run(
    exhibits: Exhibits = None,
    scale: Annotated[str, typer.Option("--scale", help="smoke, laptop or paper.")] = "laptop",
    everything: Annotated[bool, typer.Option("--all", help="Every exhibit that is built.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Skip those whose result is up to date.")] = False,
    results: ResultsFolder = RESULTS,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines instead of the live view.")] = False,
) -> None:
    """Run exhibits and keep their results. Runs are shared and kept in $CLOUDCHAMBER_RUNS or the user's cache."""
    from cloudchamber.cli.live import live_view
    from cloudchamber.papers import Results, RunCache

    size, chosen = _scale(scale), _to_run(exhibits or [], everything)
    for entry in chosen:
        try:
            with live_view(plain=plain or not sys.stdout.isatty()) as view:
                words = _run_one(entry, size, RunCache.of_user([view]), Results(results), resume)
        except KeyboardInterrupt as error:
            typer.echo(f"\n{entry.id}: {str(error) or 'interrupted'}; the same command goes on with it", err=True)
            raise typer.Exit(INTERRUPTED) from error
        typer.echo(words)


@app.command()
def check(exhibits: Exhibits = None, results: ResultsFolder = RESULTS) -> None:
    """Print the ledger of all exhibits, and write the gallery; exit code 1 if a result is not that of its claims."""
    from cloudchamber.papers import Results, chosen, entries, ledger, ledger_text, write_gallery

    kept = Results(results)
    lines = ledger(chosen(exhibits or []), kept)
    typer.echo(ledger_text(lines))
    typer.echo(f"gallery  {write_gallery(ledger(entries(), kept), kept)}")
    if not all(line.sound for line in lines):
        raise typer.Exit(UNSOUND)


@app.command()
def show(
    exhibit: Annotated[str, typer.Argument(metavar="PAPER/EXHIBIT")],
    scale: Annotated[str | None, typer.Option("--scale", help="Left out: the largest there is.")] = None,
    results: ResultsFolder = RESULTS,
) -> None:
    """Print an exhibit: its claims, and its stored result with both numbers."""
    from cloudchamber.papers import Results, entry, exhibit_text, load_exhibit, result_text
    from cloudchamber.papers.words import rerun_command

    item, kept = entry(exhibit), Results(results)
    built = load_exhibit(item)
    typer.echo(exhibit_text(item, built))
    result = kept.best(item.id) if scale is None else kept.load(item.id, _scale(scale))
    if result is None:
        typer.echo(f"\nnot run; run it with\n  {rerun_command(item.id, _scale(scale or 'laptop'))}")
        return
    typer.echo(f"\n{result_text(built, result, kept.arrays(item.id, result.scale))}")
    typer.echo(f"figure  {kept.place(item.id, result.scale) / 'figure.png'}")


def _run_one(entry: Entry, scale: Scale, cache: RunCache, results: Results, resume: bool) -> str:
    from cloudchamber.papers import is_current, load_exhibit, result_text, run_exhibit

    exhibit = load_exhibit(entry)
    if resume and is_current(exhibit, scale, results):
        return f"{entry.id} at {scale}: up to date"
    result = run_exhibit(exhibit, scale, cache, results)
    folder = results.place(entry.id, scale)
    return f"\n{result_text(exhibit, result, results.arrays(entry.id, scale))}\nresult  {folder}\n"


def _to_run(names: Sequence[str], everything: bool) -> tuple[Entry, ...]:
    from cloudchamber.papers import chosen

    if bool(names) == everything:
        raise InvalidInput(
            f"exhibits are named, or all are run; got {', '.join(names) if names else 'none'}"
            f"{' and --all' if everything else ''}. Remedy: for example mlp2024/tab1, or --all alone."
        )
    # A single exhibit that is still to be built is an error; among those of a paper it is passed over.
    return tuple(entry for entry in chosen(names) if entry.built or entry.id in names)


def _scale(name: str) -> Scale:
    from cloudchamber.papers import SCALES

    for scale in SCALES:
        if scale == name:
            return scale
    raise InvalidInput(f"a scale is one of {', '.join(SCALES)}; got {name!r}. Remedy: choose one of them.")
