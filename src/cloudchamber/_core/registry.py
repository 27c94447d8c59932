"""The registry of quantities: one place for what each array of a record is called and means."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cloudchamber._core.citations import PAPERS
from cloudchamber._core.errors import require


@dataclass(frozen=True)
class Quantity:
    """What one array of a record means; the record, the plots and the report all read it from here.

    Attributes:
        name: its name in the record.
        long_name: the same in words, as an axis label shows it.
        symbol: the papers' notation.
        unit: "1" for pure numbers.
        bounds: the closed range of possible values.
        dims: its dimensions in a record; () for one number per run.
        paper: key of the source in `PAPERS`, empty for quantities without one.
        section: where in the source.
    """

    name: str
    long_name: str
    symbol: str
    dims: tuple[str, ...]
    unit: str = "1"
    bounds: tuple[float, float] = (-math.inf, math.inf)
    paper: str = ""
    section: str = ""

    @property
    def source(self) -> str:
        """The source as shown to people: "mlp2024, Section 2"."""
        return ", ".join(part for part in (self.paper, self.section) if part)


_QUANTITIES: dict[str, Quantity] = {}


def register(quantity: Quantity) -> Quantity:
    """Add a quantity; the same name twice with another meaning is an error.

    Raises:
        InvalidInput: if the name is taken by a different quantity, or the source is unknown.
    """
    known = _QUANTITIES.get(quantity.name, quantity)
    require(known == quantity, "a quantity's name has one meaning", quantity.name, "choose another name")
    require(
        not quantity.paper or quantity.paper in PAPERS,
        f"a quantity's paper is one of {sorted(PAPERS)}",
        quantity.paper,
        "add the paper to the citations first",
    )
    _QUANTITIES[quantity.name] = quantity
    return quantity


def quantity(name: str) -> Quantity:
    """Return the quantity registered under `name`.

    Raises:
        InvalidInput: if there is none.
    """
    require(name in _QUANTITIES, f"a quantity is one of {sorted(_QUANTITIES)}", name, "check the spelling")
    return _QUANTITIES[name]


def quantities() -> tuple[Quantity, ...]:
    """Return every registered quantity, by name."""
    return tuple(_QUANTITIES[name] for name in sorted(_QUANTITIES))
