"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from cloudchamber.measures import GROUPS, describe


def measures_table(names: Sequence[str]) -> str:
    """Return the groups and the measures of these names and groups, a line each."""
    rows = [(row.name, row.frequency, " ".join(row.groups), row.meaning) for row in describe(names)]
    groups = [f"  {name:<10}{meaning}" for name, meaning in GROUPS.items()]
    return "\n".join(["groups", *groups, "", *_aligned([("name", "taken at", "groups", "meaning"), *rows])])


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
