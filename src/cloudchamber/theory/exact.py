"""Exponents as fractions, so that a point on a boundary is on it and not beside it."""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Rational, Real

from cloudchamber._core.errors import require

Number = int | float | Fraction
"""What an exponent may be given as."""

_LARGEST_DENOMINATOR = 1000
_NEAREST = Fraction(1, 10**12)


def exact(value: Number, name: str) -> Fraction:
    """Return `value` as a fraction; a float as the simple fraction that it was meant to be.

    A float within 1e-12 of a fraction with a denominator of at most 1000 is that fraction (0.1 + 0.2 is 3/10); any
    other float stands for its own binary value.

    Args:
        value: an exponent.
        name: what to call it in an error.

    Raises:
        InvalidInput: if it is not a finite number.

    >>> exact(0.1 + 0.2, "x"), exact(1 / 3, "x")
    (Fraction(3, 10), Fraction(1, 3))
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    require(is_number and math.isfinite(value), f"`{name}` is a finite number", repr(value), "pass a number like 1/2")
    binary = Fraction(value) if isinstance(value, Rational) else Fraction(float(value))
    simple = binary.limit_denominator(_LARGEST_DENOMINATOR)
    return simple if abs(simple - binary) <= _NEAREST else binary
