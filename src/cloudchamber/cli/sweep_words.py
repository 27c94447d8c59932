"""Sweeps in words: what would be computed, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from cloudchamber.training import SweepResult
from cloudchamber.training.diagrams.diagram import Diagram, Scale
from cloudchamber.training.sweep.estimate import ShapeEstimate, estimate
from cloudchamber.training.sweep.places import parallel
from cloudchamber.training.sweep.plan import plan
from cloudchamber.training.sweep.run import DATASET_NAME
from cloudchamber.training.sweep.sweep import Sweep

LISTED = 10
"""failures, or shapes, that are listed"""


def sweep_plan_text(sweep: Sweep, on: str | None) -> str:
    """Say which cells and chunks a sweep has, and how long it will take."""
    planned = plan(sweep)
    shapes = estimate(planned)
    sizes = _many(len(planned.cells), "cell"), _many(len(planned.pieces), "chunk"), _many(len(shapes), "shape")
    lines = ["{} in {} of {}".format(*sizes)]
    lines += [f"  {name}: {size}" for name, size in sweep.sizes.items()]
    lines += ["", *(_shape_line(shape) for shape in shapes[:LISTED])]
    if len(shapes) > LISTED:
        lines.append(f"  … and {len(shapes) - LISTED} shapes more")
    return "\n".join([*lines, "", _total_line(shapes, on)])


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _shape_line(shape: ShapeEstimate) -> str:
    if shape.error is not None:
        return f"  {_many(shape.cells, 'cell')} will fail like {shape.example}: {shape.error}"
    how = "timed" if shape.timed else "by operations"
    chunks = _many(shape.chunks, "chunk")
    return f"  {_many(shape.cells, 'cell'):>11}  {chunks:>11}  {duration(shape.seconds):>8}  {how}, {shape.example}"


def _total_line(shapes: Sequence[ShapeEstimate], on: str | None) -> str:
    seconds = sum(shape.seconds for shape in shapes)
    alone = f"about {duration(seconds)} in one process"
    count = min(parallel(on) or 1, sum(shape.chunks for shape in shapes))
    return f"{alone}, {duration(seconds / count)} in {count}" if count > 1 else alone


def diagram_plan_text(diagram: Diagram[Any], scale: Scale, changes: Mapping[str, Any]) -> str:
    """Say which chunks a diagram has."""
    chunks = diagram.chunks(scale, **changes)
    cells = sum(len(chunk.cells) for chunk in chunks)
    return f"{diagram.title}\n{_many(cells, 'cell')} in {_many(len(chunks), 'chunk')}"


def duration(seconds: float) -> str:
    """Return a duration as people say it.

    >>> duration(8.4), duration(100), duration(7200), duration(3e5)
    ('8 s', '2 min', '2.0 h', '3.5 d')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"


def result_text(result: SweepResult) -> str:
    """Say how the cells ended, which one ended best, which failed, and where the dataset is."""
    counts = Counter(result.dataset.status.values.ravel().tolist())
    said = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    lines = [f"{sum(counts.values())} cells: {said}"]
    lines += [f"  cell {one.cell} ({_settings(one.settings)}): {one.error}" for one in result.failures[:LISTED]]
    if len(result.failures) > LISTED:
        lines.append(f"  … and {len(result.failures) - LISTED} more: cc.open_sweep({str(result.folder)!r}).failures")
    lines += _lowest(result.dataset)
    if result.folder is not None:
        lines.append(f"dataset  {result.folder / DATASET_NAME}")
    return "\n".join(lines)


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{field}={value}" for field, value in settings.items())


def _lowest(dataset: xr.Dataset) -> list[str]:
    loss = dataset.get("probe_loss")
    if loss is None or "step" in loss.dims or not np.isfinite(loss.values).any():
        return []
    place = loss.where(np.isfinite(loss), np.inf).argmin(...)
    best = loss.isel(place)
    where = ", ".join(f"{name}={value.item()}" for name, value in best.coords.items() if name != "cell")
    return [f"lowest probe_loss {best.item():.4g}" + (f" at {where}" if where else "")]
