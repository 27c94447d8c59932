"""How far a sweep is: a bar with the remaining time, or plain lines where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cloudchamber.cli.sweep_words import duration
from cloudchamber.training.sweep.chunks import Chunk, Outcome
from cloudchamber.training.sweep.execute import Watcher

LINES = 10
"""lines of a sweep that is told in lines"""


class Tally:
    """What has been computed: cells, and their cost, which says how long the rest will take."""

    def __init__(self) -> None:
        self.cells = self.done = self.failed = self.diverged = 0
        self.cost = self.cost_done = 0.0

    def begin(self, chunks: Sequence[Chunk], done: Sequence[Chunk]) -> None:
        """Count all chunks, and those that were done already."""
        self.cells, self.cost = sum(len(chunk.cells) for chunk in chunks), sum(chunk.cost for chunk in chunks)
        self.done, self.cost_done = sum(len(chunk.cells) for chunk in done), sum(chunk.cost for chunk in done)

    def add(self, chunk: Chunk, outcome: Outcome) -> None:
        """Count a chunk that was computed."""
        self.done += len(chunk.cells)
        self.cost_done += chunk.cost
        self.failed += outcome.failed
        self.diverged += int((outcome.arrays["status"] == "diverged").sum()) if "status" in outcome.arrays else 0

    def __str__(self) -> str:
        notes = [f"{count} {word}" for count, word in ((self.diverged, "diverged"), (self.failed, "failed")) if count]
        return ", ".join([f"{self.done}/{self.cells} cells", *notes])


class PlainProgress:
    """About ten lines a sweep, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console, self._tally = console, Tally()
        self._start, self._before, self._next = 0.0, 0.0, 0.0

    def started(self, chunks: Sequence[Chunk], done: Sequence[Chunk]) -> None:
        """Say how much there is."""
        self._tally.begin(chunks, done)
        self._start, self._before = time.monotonic(), self._tally.cost_done
        self._next = self._before
        self._console.print(f"{self._tally} in {len(chunks)} chunks", soft_wrap=True, highlight=False)

    def finished(self, chunk: Chunk, outcome: Outcome) -> None:
        """Print a line if one is due."""
        self._tally.add(chunk, outcome)
        last = self._tally.done == self._tally.cells
        if self._tally.cost_done < self._next and not last:
            return
        self._next = self._tally.cost_done + self._tally.cost / LINES
        rate = (self._tally.cost_done - self._before) / max(time.monotonic() - self._start, 1e-9)
        left = "" if last else f"; {duration((self._tally.cost - self._tally.cost_done) / rate)} left"
        self._console.print(f"{self._tally}{left}", soft_wrap=True, highlight=False)


class BarProgress:
    """A bar that is drawn over itself."""

    def __init__(self, bar: Progress) -> None:
        self._bar, self._tally = bar, Tally()
        self._task = bar.add_task("cells", total=None, tally="")

    def started(self, chunks: Sequence[Chunk], done: Sequence[Chunk]) -> None:
        """Set the length of the bar."""
        self._tally.begin(chunks, done)
        self._bar.reset(self._task, total=self._tally.cost, tally=str(self._tally))
        self._bar.update(self._task, completed=self._tally.cost_done)

    def finished(self, chunk: Chunk, outcome: Outcome) -> None:
        """Move the bar."""
        self._tally.add(chunk, outcome)
        self._bar.update(self._task, advance=chunk.cost, tally=str(self._tally))


@contextmanager
def progress(*, plain: bool) -> Iterator[Watcher]:
    """Yield what fits the output."""
    console = Console()
    if plain:
        yield PlainProgress(console)
        return
    columns = (
        BarColumn(bar_width=None),
        TextColumn("{task.fields[tally]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, speed_estimate_period=600.0) as bar:
        yield BarProgress(bar)
