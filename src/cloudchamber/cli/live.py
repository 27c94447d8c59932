"""What a terminal shows while a run goes on: a live panel, or plain lines where the output is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import xarray as xr
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cloudchamber._core.record import RecordBuffer
from cloudchamber.diagnosis import current_phase
from cloudchamber.training import Callback, Recipe

SPARKS = "▁▂▃▄▅▆▇█"
LINES = 10
LAYERS = 4


@dataclass(frozen=True)
class Reading:
    """What the views show of a record."""

    step: int
    loss: float
    constant_loss: float
    accuracy: float
    phase: str
    losses: tuple[float, ...]
    condensed: tuple[tuple[str, float, float], ...]

    @classmethod
    def of(cls, buffer: RecordBuffer) -> Reading:
        """Read the latest observation; `condensed` holds (layer, feature cosine now, at the start), highest first."""
        record = buffer.dataset(images=False)
        losses = record.probe_loss.values
        return cls(
            step=int(record.step[-1]),
            loss=float(losses[-1]),
            constant_loss=float(record.get("constant_predictor_loss", np.nan)),
            accuracy=float(record.class_accuracy[-1].mean()) if "class_accuracy" in record else np.nan,
            phase=current_phase(record),
            losses=tuple(losses.tolist()),
            condensed=_condensed(record),
        )


def _condensed(record: xr.Dataset) -> tuple[tuple[str, float, float], ...]:
    if "feature_cosine" not in record:
        return ()
    hidden = record.feature_cosine[:, :-1] if record.sizes["layer"] > 1 else record.feature_cosine
    now, start = hidden[-1].values, hidden[0].values
    order = np.argsort(-np.nan_to_num(now, nan=-2.0))[:LAYERS]
    return tuple((str(hidden.layer.values[i]), float(now[i]), float(start[i])) for i in order)


def sparkline(values: Sequence[float], width: int = 48) -> str:
    """Return the values as a line of blocks, the last `width` points of an even thinning; NaN is a gap.

    >>> sparkline([0.0, 1.0])
    '▁█'
    """
    chosen = np.asarray(values, dtype=float)
    if len(chosen) > width:
        chosen = chosen[np.linspace(0, len(chosen) - 1, width).round().astype(int)]
    finite = chosen[np.isfinite(chosen)]
    if not len(finite):
        return ""
    low, span = finite.min(), np.ptp(finite) or 1.0
    return "".join(SPARKS[int((v - low) / span * 7.999)] if np.isfinite(v) else " " for v in chosen)


class PlainView:
    """About ten lines a run, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = 0
        self._next = 0

    def started(self, recipe: Recipe, step: int) -> None:
        """Say what runs."""
        self._steps, self._next = recipe.steps, step
        self._console.print(f"{describe(recipe)}; from step {step} to {recipe.steps}", soft_wrap=True)

    def updated(self, step: int, loss: float) -> None:
        """Say nothing: the observations are enough."""

    def observed(self, buffer: RecordBuffer) -> None:
        """Print a line if one is due."""
        if buffer.last_step < self._next and buffer.last_step < self._steps:
            return
        self._next = buffer.last_step + max(self._steps // LINES, 1)
        self._console.print(_line(Reading.of(buffer), self._steps), soft_wrap=True, highlight=False)


def _line(reading: Reading, steps: int) -> str:
    accuracy = "" if np.isnan(reading.accuracy) else f"  accuracy {reading.accuracy:.2f}"
    layers = ", ".join(f"{name} {now:.3f}" for name, now, _ in reading.condensed[:2])
    condensed = f"  most alike: {layers}" if layers else ""
    return f"step {reading.step:>6}/{steps}  loss {reading.loss:.4f}{accuracy}  {reading.phase}{condensed}"


class LiveView:
    """A panel that is drawn over itself."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._title = ""
        self._progress = Progress(
            TextColumn("step"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("[dim]batch loss {task.fields[loss]:.4f}[/]"),
            TimeRemainingColumn(compact=True),
        )
        self._task = self._progress.add_task("steps", total=None, loss=float("nan"))

    def started(self, recipe: Recipe, step: int) -> None:
        """Set the title and the length of the bar."""
        self._title = describe(recipe)
        self._progress.update(self._task, total=recipe.steps, completed=step)

    def updated(self, step: int, loss: float) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=step, loss=loss)

    def observed(self, buffer: RecordBuffer) -> None:
        """Draw the panel anew."""
        content = Group(self._progress, Text(), _numbers(Reading.of(buffer)))
        self._live.update(Panel(content, title=self._title, border_style="dim"))


def _numbers(reading: Reading) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("phase", Text(reading.phase, style="bold"))
    reference = f"best constant output {reading.constant_loss:.4f}"
    table.add_row("loss", f"{reading.loss:.4f}  [cyan]{sparkline(reading.losses)}[/]  [dim]{reference}[/]")
    if not np.isnan(reading.accuracy):
        table.add_row("accuracy", f"{reading.accuracy:.3f}")
    for index, (name, now, start) in enumerate(reading.condensed):
        label = "features alike" if index == 0 else ""
        arrow = "rising" if now > start else "falling"
        table.add_row(label, f"{name:<12} cosine {now:.3f}  [dim]{start:.3f} at the start, {arrow}[/]")
    return table


def describe(recipe: Recipe) -> str:
    """Return a recipe in a few words."""
    optimizer = recipe.optimizer
    return f"{recipe.model.words}, on {recipe.data.name}; {optimizer.name}, lr {optimizer.lr:g}"


@contextmanager
def live_view(*, plain: bool) -> Iterator[Callback]:
    """Yield the view that fits the output."""
    console = Console()
    if plain:
        yield PlainView(console)
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield LiveView(live)
