"""The axes of a sweep: fields of a recipe, and the values that they take."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from cloudchamber._core.config import Config
from cloudchamber._core.seeding import derive_seed

Setting = dict[str, Any]
"""Values by field: what one position on an axis sets."""


class _Interval(Config):
    low: float
    high: float
    count: PositiveInt
    integer: bool = False
    """round to whole numbers, for fields that count something"""

    def _rounded(self, values: np.ndarray) -> list[Any]:
        return np.rint(values).astype(np.int64).tolist() if self.integer else values.tolist()


class _Ordered(_Interval):
    @model_validator(mode="after")
    def _low_below_high(self) -> _Ordered:
        if self.low > self.high or (self.count > 1 and self.low == self.high):
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self


class Grid(_Ordered):
    """`count` values evenly spaced from `low` to `high`, both included."""

    def values(self) -> list[Any]:
        """Return them."""
        return self._rounded(np.linspace(self.low, self.high, self.count))


class LogSpaced(_Ordered):
    """`count` values from `low` to `high`, both included, each the same multiple of the one before."""

    low: float = Field(gt=0)

    def values(self) -> list[Any]:
        """Return them."""
        return self._rounded(np.geomspace(self.low, self.high, self.count))


class Random(_Ordered):
    """`count` independent values, uniform in low … high, or with `log` uniform in their logarithm."""

    log: bool = False
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _logarithms_exist(self) -> Random:
        if self.log and self.low <= 0:
            raise ValueError(f"low ({self.low:g}) must be above 0 with log")
        return self

    def values(self, field: str) -> list[Any]:
        """Return them; axes of different fields are independent of each other with the same seed."""
        numbers = np.random.Generator(np.random.PCG64(derive_seed(self.seed, "sweep", field)))
        shares = numbers.random(self.count)
        if self.log:
            return self._rounded(self.low * (self.high / self.low) ** shares)
        return self._rounded(self.low + (self.high - self.low) * shares)


Source = Literal["values", "grid", "log_spaced", "random", "range", "zip"]
SOURCES: tuple[Source, ...] = ("values", "grid", "log_spaced", "random", "range", "zip")


class Axis(Config):
    """One axis: exactly one of `values`, `grid`, `log_spaced`, `random`, `range` and `zip` says what it consists of."""

    field: str | None = None
    """the field of the recipe; null = what the axis is called"""
    values: list[Any] | None = Field(default=None, min_length=1)
    """the values themselves; for a whole section, mappings"""
    grid: Grid | None = None
    log_spaced: LogSpaced | None = None
    random: Random | None = None
    range: PositiveInt | None = None
    """the whole numbers 0 … range − 1: for seeds"""
    zip: dict[str, Axis] | None = Field(default=None, min_length=1)
    """several fields that change together, each with values of its own, equally many"""
    labels: list[str] | None = None
    """what the positions are called in the dataset; null = their values"""
    when: dict[str, Any] | None = None
    """the axis is there only where these fields have this value, or one of these"""

    @model_validator(mode="after")
    def _one_source(self) -> Axis:
        said = [name for name in SOURCES if getattr(self, name) is not None]
        if len(said) != 1:
            raise ValueError(f"exactly one of {', '.join(SOURCES)} must be given, not {' and '.join(said) or 'none'}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Axis:
        inner = list((self.zip or {}).values())
        if any(axis.zip or axis.when or axis.labels for axis in inner):
            raise ValueError("what is zipped together has no zip, when or labels of its own")
        if self.zip and self.field:
            raise ValueError("an axis with zip has the fields that it zips, not a field")
        counts = {name: len(axis.settings(name)) for name, axis in (self.zip or {}).items()}
        if len(set(counts.values())) > 1:
            raise ValueError(f"what is zipped together must be equally long, not {counts}")
        size = next(iter(counts.values())) if counts else len(self.settings(""))
        if self.labels is not None and len(set(self.labels)) != size:
            raise ValueError(f"labels must be {size} different names, one per value")
        return self

    def fields(self, name: str) -> list[str]:
        """Return the fields that an axis of this name sets."""
        if self.zip is None:
            return [self.field or name]
        return [field for inner, axis in self.zip.items() for field in axis.fields(inner)]

    def settings(self, name: str) -> list[Setting]:
        """Return what each position of an axis of this name sets."""
        if self.zip is not None:
            columns = [axis.settings(inner) for inner, axis in self.zip.items()]
            return [
                {field: value for part in row for field, value in part.items()} for row in zip(*columns, strict=True)
            ]
        field = self.field or name
        return [{field: value} for value in self._values(field)]

    def _values(self, field: str) -> list[Any]:
        if self.values is not None:
            return self.values
        if self.range is not None:
            return list(range(self.range))
        if self.random is not None:
            return self.random.values(field)
        spaced = self.grid or self.log_spaced
        return [] if spaced is None else spaced.values()
