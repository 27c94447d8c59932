"""The grids of the exponents diagram: what scales how in each cell, and what the exact solution says becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Literal, NamedTuple, cast

from cloudchamber.theory.exact import Number, exact
from cloudchamber.theory.parametrizations import (
    PARAMETRIZATIONS,
    TABLE_1,
    Scaling,
    TableRow,
    finite_width_scaling,
    parametrization,
)
from cloudchamber.theory.phase import Exponents, LimitPhase, phase

Over = Literal["rates", "initializations", "table_1"]


class Scaled(NamedTuple):
    """One way to scale a two-layer linear network."""

    exponents: Exponents
    zero_initial_output: bool = False

    @property
    def phase(self) -> LimitPhase:
        """The phase in the limit."""
        return phase(self.exponents, zero_initial_output=self.zero_initial_output)


def _by_rates(cell: Mapping[str, Any]) -> Scaled:
    """The output scale and the rate of both layers, of a wide network with weights of order 1."""
    rate = cell["c_eta"]
    return Scaled(Exponents(c_d=1, c_gamma=cell["c_gamma"], c_eta_u=rate, c_eta_w=rate))


def _by_initializations(cell: Mapping[str, Any]) -> Scaled:
    return Scaled(finite_width_scaling(c_w=cell["c_w"], c_u=cell["c_u"]))


def _by_table(cell: Mapping[str, Any]) -> Scaled:
    found = TABLE_1[cast(TableRow, cell["row"]), cast(Scaling, cell["scaling"])]
    return Scaled(found.exponents, found.zero_initial_output)


_GRIDS: Mapping[Over, Callable[[Mapping[str, Any]], Scaled]] = {
    "rates": _by_rates,
    "initializations": _by_initializations,
    "table_1": _by_table,
}


def scaled(over: Over, cell: Mapping[str, Any]) -> Scaled:
    """Return how everything scales in a cell of a grid.

    Args:
        over: the grid. "rates": (c_gamma, c_eta) at c_d = 1, c_w = c_u = 0; "initializations": (c_u, c_w) at finite
            width, with the output scale and the rate of xu2024, Section 3.2; "table_1": (row, scaling).
        cell: its coordinates.

    Source: xu2024, Section 3, Table 1 and Figure 4.

    >>> scaled("rates", {"c_gamma": -0.5, "c_eta": 0.0}).phase.name
    'kernel'
    """
    return _GRIDS[over](cell)


def stable_rate(c_gamma: Number) -> Fraction:
    """Return the c_eta of learning at order 1 on the grid "rates", `min(−c_γ, −2c_γ − 1)`.

    Source: xu2024, Corollary 1.

    >>> stable_rate(-0.5)
    Fraction(0, 1)
    """
    scale = exact(c_gamma, "c_gamma")
    return min(-scale, -2 * scale - 1)


def named_rates() -> dict[str, tuple[Number, Number]]:
    """Return (c_gamma, c_eta) of the parametrizations that lie on the grid "rates".

    >>> named_rates()["mean_field"]
    (Fraction(-1, 1), Fraction(1, 1))
    """
    found = {name: parametrization(name) for name in PARAMETRIZATIONS}
    return {name: (c.c_gamma, c.c_eta_u) for name, c in found.items() if (c.c_d, c.c_w, c.c_u) == (1, 0, 0)}


def drift_exponent(of: Scaled) -> Fraction:
    """Return the exponent of the relative change of the kernel over the whole training.

    `(K(∞)/K(0))² = 1 + (y² − f(0)²)/(s (P + Q))²`: since PQ is conserved, so is `(s(Pz + Q/z))² − f²`. The last term
    has the exponent `q = max(0, 2c_f) − 2 [c_γ + ½(c_ηu + c_ηw) + c_d + max(c_u − c_ηu, c_w − c_ηw)]`, with
    `c_f = c_γ + ½(c_d + c_u + c_w)` that of f(0), if it is not zero. The change has q below 0, and q/2 above.

    Source: follows from xu2024, Theorem 1 and Eq. (18); docs/phase-diagrams.md.

    >>> drift_exponent(scaled("rates", {"c_gamma": -0.5, "c_eta": 0.0}))
    Fraction(-1, 1)
    """
    c = of.exponents
    output = Fraction(2 * c.c_gamma + c.c_d + c.c_u + c.c_w)
    squared = Fraction(0) if of.zero_initial_output else max(Fraction(0), output)
    modes = Fraction(c.c_d + max(c.c_u - c.c_eta_u, c.c_w - c.c_eta_w))
    growth = squared - Fraction(2 * c.c_gamma + c.c_eta_u + c.c_eta_w) - 2 * modes
    return growth if growth < 0 else growth / 2
