"""The named ways to scale a two-layer network, and Table 1 of xu2024."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from cloudchamber._core.errors import require
from cloudchamber.theory.exact import Number
from cloudchamber.theory.phase import Exponents, PhaseName

Scaling = Literal["NTK", "mean field", "Xavier", "Kaiming", "lazy"]
TableRow = Literal["constant rate", "stable rate", "learning", "kernel"]

_HALF = Fraction(1, 2)
_INITIALIZATIONS: dict[Scaling, tuple[Number, Number, Number, Number]] = {
    "NTK": (1, -_HALF, 0, 0),
    "mean field": (1, -1, 0, 0),
    "Xavier": (1, 0, -1, -1),
    "Kaiming": (1, 0, 0, -1),
    "lazy": (0, 1, 0, 0),
}
"""c_d, c_gamma, c_w, c_u."""

_RATES: dict[TableRow, tuple[Number, ...]] = {
    "constant rate": (0, 0, 0, 0, 0),
    "stable rate": (0, 1, 0, -1, -2),
    "learning": (1, 1, 0, 1, 0),
    "kernel": (0, 0, -2, -1, -2),
}
"""c_η of both layers, by column."""

_OUTPUT_SCALES: dict[TableRow, tuple[Number, ...]] = {
    "learning": (-1, -1, 0, -1, 0),
    "kernel": (-_HALF, -_HALF, 1, 0, 1),
}
"""c_γ, by column, in the two rows that change it."""

_PUBLISHED: dict[TableRow, tuple[PhaseName, ...]] = {
    "constant rate": ("kernel", "frozen", "learning", "unstable", "unstable"),
    "stable rate": ("kernel", "learning", "learning", "kernel", "kernel"),
    "learning": ("learning", "learning", "learning", "learning", "learning"),
    "kernel": ("kernel", "kernel", "kernel", "kernel", "kernel"),
}


@dataclass(frozen=True)
class TableCell:
    """One cell of Table 1 of xu2024.

    Attributes:
        exponents: how everything scales in it.
        zero_initial_output: whether it starts from u·w = 0, as lazy training does; only its two kernel cells need it.
        published: the phase that the paper prints.
    """

    exponents: Exponents
    zero_initial_output: bool
    published: PhaseName


def _cell(row: TableRow, column: int, scaling: Scaling) -> TableCell:
    c_d, c_gamma, c_w, c_u = _INITIALIZATIONS[scaling]
    if row in _OUTPUT_SCALES:
        c_gamma = _OUTPUT_SCALES[row][column]
    rate = _RATES[row][column]
    return TableCell(Exponents(c_d, c_gamma, c_w, c_u, rate, rate), scaling == "lazy", _PUBLISHED[row][column])


TABLE_1: Mapping[tuple[TableRow, Scaling], TableCell] = MappingProxyType(
    {(row, scaling): _cell(row, column, scaling) for row in _RATES for column, scaling in enumerate(_INITIALIZATIONS)}
)
"""The 20 cells of Table 1 of xu2024, by row and column.

The rows: the constant learning rate; the one of Corollary 1; Corollary 2; Corollary 3.
"""

_NAMED: dict[str, tuple[TableRow, Scaling]] = {
    "ntk": ("constant rate", "NTK"),
    "mean_field": ("stable rate", "mean field"),
    "xavier": ("constant rate", "Xavier"),
    "kaiming": ("constant rate", "Kaiming"),
    "lazy": ("stable rate", "lazy"),
    "ntk+": ("learning", "NTK"),
    "mean_field+": ("learning", "mean field"),
    "xavier+": ("learning", "Xavier"),
    "kaiming+": ("learning", "Kaiming"),
    "lazy+": ("learning", "lazy"),
    "ntk-": ("kernel", "NTK"),
    "mean_field-": ("kernel", "mean field"),
    "xavier-": ("kernel", "Xavier"),
    "kaiming-": ("kernel", "Kaiming"),
    "lazy-": ("kernel", "lazy"),
}

PARAMETRIZATIONS: tuple[str, ...] = tuple(_NAMED)
"""The names that `parametrization` knows."""


def parametrization(name: str) -> Exponents:
    """Return the exponents of a named way to scale a two-layer network.

    A bare name is the standard form: "ntk", "xavier" and "kaiming" with a constant learning rate, "mean_field" with a
    rate that grows like the width, "lazy" with one that falls like the output scale squared. With "+" output scale and
    rate are changed so that the same initialization learns features (Corollary 2), with "-" so that it stays in the
    kernel phase (Corollary 3); "lazy" and "lazy-" only if the initial output is zero.

    Args:
        name: one of `PARAMETRIZATIONS`.

    Returns:
        The exponents, for `phase`.

    Raises:
        InvalidInput: if there is no such name.

    Source: xu2024, Table 1 and Section 3.1.

    >>> parametrization("kaiming+").c_eta_w
    Fraction(1, 1)
    """
    require(name in _NAMED, f"a parametrization is one of {list(PARAMETRIZATIONS)}", repr(name), "check the spelling")
    return TABLE_1[_NAMED[name]].exponents


def finite_width_scaling(*, c_w: Number, c_u: Number) -> Exponents:
    """Return the scaling of an initialization at finite width with an output of order 1 and a stable rate.

    `c_d = 0, c_γ = −(c_u + c_w)/2, c_η = min(c_u, c_w)`: kernel phase if and only if `c_u ≠ c_w`.

    Args:
        c_w: exponent of the first layer's variance.
        c_u: exponent of the second layer's variance.

    Returns:
        The exponents, for `phase`.

    Raises:
        InvalidInput: if one is not a finite number.

    Source: xu2024, Section 3.2 and Figure 4.

    >>> finite_width_scaling(c_w=1, c_u=0).c_gamma
    Fraction(-1, 2)
    """
    given = Exponents(c_w=c_w, c_u=c_u)
    rate = min(given.c_u, given.c_w)
    return Exponents(0, -(given.c_u + given.c_w) / 2, given.c_w, given.c_u, rate, rate)
