"""Measures by name or group, and what each is, for people to choose from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cloudchamber._core.errors import require
from cloudchamber.measures.registry import Measure, all_measures

GROUPS: dict[str, str] = {
    "default": "what a monitor takes when nothing is chosen: affordable at every observation, costly ones sparsely",
    "light": "cheap enough for every training step",
    "mlp2024": "mlp2024: similarities, common directions, self-enhancement, agreement of samples",
    "theorem1": "mlp2024, Theorem 1: primary and noise components of the weight changes",
    "kernel": "the empirical neural tangent kernel",
    "neurons": "zhou2022 and overview2025: orientations, groups, distances and activity of neurons",
    "all": "everything",
}


@dataclass(frozen=True)
class MeasureRow:
    """A measure in words.

    Attributes:
        name: its name in the record.
        groups: the groups that it belongs to, beside `all`.
        symbol: the papers' notation.
        meaning: what it is.
        unit: "1" for pure numbers.
        bounds: the closed range of possible values.
        needs: what it takes, by name.
        frequency: how often it is taken.
        source: paper and section.
    """

    name: str
    groups: tuple[str, ...]
    symbol: str
    meaning: str
    unit: str
    bounds: tuple[float, float]
    needs: tuple[str, ...]
    frequency: str
    source: str


def select(names: Iterable[str] | None = None) -> tuple[Measure, ...]:
    """Return the measures of these names and groups, each once; None = those of the group `default`.

    Raises:
        InvalidInput: if a name is unknown.

    >>> [measure.name for measure in select(["weight_norm", "theorem1", "weight_norm"])][:2]
    ['weight_norm', 'primary_strength']
    """
    chosen = [measure for name in (("default",) if names is None else names) for measure in _named(name)]
    return tuple({measure.name: measure for measure in chosen}.values())


def describe(names: Iterable[str] = ("all",)) -> tuple[MeasureRow, ...]:
    """Return a row in words for each measure of these names and groups, in the order of `GROUPS`.

    Raises:
        InvalidInput: if a name is unknown.

    >>> [row.frequency for row in describe(["feature_cosine", "primary_strength"])]
    ['every observation', 'at most 20 steps']
    """
    order = list(GROUPS)
    chosen = sorted(select(names), key=lambda m: min((order.index(group) for group in m.groups), default=len(order)))
    return tuple(_row(measure) for measure in chosen)


def _named(name: str) -> tuple[Measure, ...]:
    known = all_measures()
    if name in known:
        return (known[name],)
    require(
        name in GROUPS,
        f"a measure is one of {sorted(known)}, or a group: {', '.join(GROUPS)}",
        repr(name),
        "check the spelling",
    )
    return tuple(measure for measure in known.values() if name == "all" or name in measure.groups)


def _row(measure: Measure) -> MeasureRow:
    item = measure.quantity
    return MeasureRow(
        item.name,
        measure.groups,
        item.symbol,
        item.long_name,
        item.unit,
        item.bounds,
        tuple(sorted(measure.needs)),
        measure.frequency,
        item.source,
    )
