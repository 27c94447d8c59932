"""The phase of a two-layer network in the limit of a large scale: kernel, learning, frozen or unstable.

Everything is a power of one scale κ → ∞: width d ~ κ^c_d, output scale γ ~ κ^c_gamma, initial *variances*
u_i ~ N(0, κ^c_u) and w_i ~ N(0, κ^c_w), learning rates η_u ~ κ^c_eta_u and η_w ~ κ^c_eta_w. The arithmetic is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Literal

from cloudchamber._core.errors import require
from cloudchamber.theory.exact import Number, exact

PhaseName = Literal["kernel", "learning", "frozen", "unstable"]


@dataclass(frozen=True)
class Exponents:
    """The exponents of a two-layer network `f = γ uᵀ W x` in a scale that tends to infinity.

    They are kept as fractions; floats are taken as the simple fractions that they were meant to be (see `exact`).

    Attributes:
        c_d: of the width; 0 if it stays finite, never negative.
        c_gamma: of the output scale γ.
        c_w: of the variance of the first layer's initial weights.
        c_u: of the variance of the second layer's initial weights.
        c_eta_u: of the second layer's learning rate.
        c_eta_w: of the first layer's learning rate.

    Raises:
        InvalidInput: if one is not a finite number, or `c_d` is negative.

    Source: xu2024, Section 3.

    >>> Exponents(c_d=1, c_gamma=-0.5).c_gamma
    Fraction(-1, 2)
    """

    c_d: Number = 0
    c_gamma: Number = 0
    c_w: Number = 0
    c_u: Number = 0
    c_eta_u: Number = 0
    c_eta_w: Number = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, exact(getattr(self, field.name), field.name))
        _require_width(self.c_d)


@dataclass(frozen=True)
class LimitPhase:
    """What becomes of a network in the limit, and the two terms of Eq. (28) that decide it.

    Attributes:
        name: "kernel", "learning", "frozen" or "unstable".
        learning_term: exponent of the first term of 1/t_c², which drives feature learning.
        kernel_term: exponent of the second term of 1/t_c², which drives the kernel's learning.
        equal_modes: whether P/Q → 1, the second condition of the kernel phase.
    """

    name: PhaseName
    learning_term: Fraction
    kernel_term: Fraction
    equal_modes: bool

    @property
    def learning_time_exponent(self) -> Fraction:
        """The exponent of the learning time t_c: 0 where learning is possible, positive where it is frozen."""
        return -max(self.learning_term, self.kernel_term) / 2


def phase(exponents: Exponents, *, zero_initial_output: bool = False) -> LimitPhase:
    """Return the phase of a two-layer network in the limit of a large scale.

    `1/t_c² = 16 s²y² + 64 s⁴PQ` is of order 1 if and only if the larger of
    `2c_γ + c_ηu + c_ηw` and `2 [2c_γ + c_d + max(c_ηu + c_w, c_ηw + c_u)]` is 0. Below 0 the network is frozen, above 0
    gradient descent is unstable. At 0 it is in the kernel phase if the first term is below 0 and P/Q → 1, and else it
    learns features. P/Q → 1 if the width grows (and the layers are independent), if the initial output is zero, or if
    `c_u − c_ηu ≠ c_w − c_ηw`.

    Args:
        exponents: how everything scales.
        zero_initial_output: whether u·w = 0 at the start, as lazy training arranges it.

    Returns:
        The phase with both terms.

    Source: xu2024, Eq. (28), Theorem 2 and the three cases below it, Table 1.

    >>> phase(Exponents(c_d=1, c_gamma=-0.5)).name
    'kernel'
    >>> phase(Exponents(c_d=1, c_gamma=-1, c_eta_u=1, c_eta_w=1)).name
    'learning'
    """
    learning, kernel = _learning_term(exponents), _kernel_term(exponents)
    equal = zero_initial_output or _modes_become_equal(exponents)
    return LimitPhase(_name(learning, kernel, equal), learning, kernel, equal)


def stable_rate_exponent(*, c_d: Number, c_gamma: Number, c_w: Number, c_u: Number) -> Fraction:
    """Return the exponent of the largest learning rate, equal for both layers, at which learning is stable.

    `c_η = min(−c_γ, −2c_γ − c)` with `c = c_d + max(c_u, c_w)`.

    Args:
        c_d: exponent of the width.
        c_gamma: exponent of the output scale.
        c_w: exponent of the first layer's variance.
        c_u: exponent of the second layer's variance.

    Returns:
        c_η. The phase is then kernel or learning.

    Raises:
        InvalidInput: if one is not a finite number, or `c_d` is negative.

    Source: xu2024, Corollary 1.

    >>> stable_rate_exponent(c_d=1, c_gamma=0, c_w=0, c_u=-1)  # Kaiming initialization
    Fraction(-1, 1)
    """
    scale = exact(c_gamma, "c_gamma")
    return min(-scale, -2 * scale - _kernel_size(c_d, c_w, c_u))


def learning_exponents(*, c_d: Number, c_w: Number, c_u: Number) -> tuple[Fraction, Fraction]:
    """Return the exponents of learning rate and output scale that put an initialization into the learning phase.

    `c_η = c` and `c_γ = −c` with `c = c_d + max(c_u, c_w)`.

    Args:
        c_d: exponent of the width.
        c_w: exponent of the first layer's variance.
        c_u: exponent of the second layer's variance.

    Returns:
        (c_η, c_γ), the rate equal for both layers.

    Raises:
        InvalidInput: if one is not a finite number, or `c_d` is negative.

    Source: xu2024, Corollary 2.

    >>> learning_exponents(c_d=1, c_w=0, c_u=-1)  # Kaiming initialization
    (Fraction(1, 1), Fraction(-1, 1))
    """
    size = _kernel_size(c_d, c_w, c_u)
    return size, -size


def kernel_rate_exponent(*, c_d: Number, c_gamma: Number, c_w: Number, c_u: Number) -> Fraction:
    """Return the exponent of the learning rate, equal for both layers, that leads to the kernel phase.

    `c_η = −2c_γ − c` for `c_γ > −c`, with `c = c_d + max(c_u, c_w)`. It makes the first term of Eq. (28) negative. At a
    finite width (c_d = 0) with `c_u = c_w`, which the corollary does not set apart, the kernel phase also needs a zero
    initial output: else P/Q stays away from 1 and features are learned.

    Args:
        c_d: exponent of the width.
        c_gamma: exponent of the output scale, above −c.
        c_w: exponent of the first layer's variance.
        c_u: exponent of the second layer's variance.

    Returns:
        c_η.

    Raises:
        InvalidInput: if one is not a finite number, `c_d` is negative, or `c_gamma` is −c or less.

    Source: xu2024, Corollary 3.

    >>> kernel_rate_exponent(c_d=1, c_gamma=0, c_w=0, c_u=-1)  # Kaiming initialization
    Fraction(-1, 1)
    """
    scale, size = exact(c_gamma, "c_gamma"), _kernel_size(c_d, c_w, c_u)
    require(
        scale > -size,
        f"`c_gamma` is above −c = {-size} in the kernel phase",
        c_gamma,
        "enlarge the output scale, or use `learning_exponents`",
    )
    return -2 * scale - size


def _require_width(c_d: Number) -> None:
    require(c_d >= 0, "`c_d` is 0 or more: the width does not shrink", c_d, "use 0 for a finite width")


def _kernel_size(c_d: Number, c_w: Number, c_u: Number) -> Fraction:
    width = exact(c_d, "c_d")
    _require_width(width)
    return width + max(exact(c_u, "c_u"), exact(c_w, "c_w"))


def _learning_term(of: Exponents) -> Fraction:
    return Fraction(2 * of.c_gamma + of.c_eta_u + of.c_eta_w)


def _kernel_term(of: Exponents) -> Fraction:
    return Fraction(2 * (2 * of.c_gamma + of.c_d + max(of.c_eta_u + of.c_w, of.c_eta_w + of.c_u)))


def _modes_become_equal(of: Exponents) -> bool:
    return of.c_d > 0 or of.c_u - of.c_eta_u != of.c_w - of.c_eta_w


def _name(learning: Fraction, kernel: Fraction, equal_modes: bool) -> PhaseName:
    larger = max(learning, kernel)
    if larger != 0:
        return "frozen" if larger < 0 else "unstable"
    return "kernel" if learning < 0 and equal_modes else "learning"
