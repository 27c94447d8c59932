"""One-sided Taylor coefficients at 0 from values alone: nothing that autograd says enters.

On `[0, H]` for H = 1/2, 1/4, … the function is interpolated at Chebyshev points, and the interpolants are expanded at
0; for each coefficient the H is taken that gives the smallest error bound. The bound is made of the rounding of the
values and of the last Chebyshev coefficients, so it grows beyond use where the function has no such derivative. There,
given that all lower coefficients vanish, the growth of `|σ(x) − σ(0)| ~ |x|^α` over the halvings of x decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_NODES = 32
_LAST = 24
_HALVINGS = 34
_EPS = float(np.finfo(np.float64).eps)
_DETERMINED = 1e-6
_FEWEST = 4

Array = np.ndarray


@dataclass(frozen=True)
class Estimate:
    """A number and a bound on its error: infinite where nothing is known; a value may be ±inf or NaN (no limit)."""

    value: float
    error: float

    @property
    def known(self) -> bool:
        """Whether it says anything."""
        return self.error < math.inf

    @property
    def finite(self) -> bool:
        """Whether it is not known to be infinite or without limit."""
        return not self.known or math.isfinite(self.value)

    def agrees(self, other: float) -> bool:
        """Whether `other` lies within the error."""
        return not self.known or abs(self.value - other) <= self.error + 1e-12 * abs(other)


UNKNOWN = Estimate(math.nan, math.inf)


@dataclass(frozen=True)
class OneSided:
    """A function on one side of 0, seen at H = 1/2, 1/4, ….

    Attributes:
        side: 1 for x > 0, −1 for x < 0.
        coefficients: of x^k, k = 0, 1, …, each from the H that determines it best.
        errors: bounds on their errors; infinite where unknown.
        widths: those H, in a row and falling, at which the change is above its noise.
        changes: σ(side·H) − σ(0) at each of them.
        size: the largest |σ(x) − σ(0)| that was seen.
        visible: from which size on a coefficient of x^k, k = 0, 1, …, would stand out of the noise of the values.
    """

    side: int
    coefficients: Array
    errors: Array
    widths: Array
    changes: Array
    size: float
    visible: Array

    def coefficient(self, order: int, size: float, *, lower_vanish: bool = True) -> Estimate:
        """Return the coefficient of x^order; `size` is the largest change of the function on both sides."""
        error = float(self.errors[order])
        found = float(self.coefficients[order])
        if error <= _DETERMINED * max(size * 2**order, abs(found)):
            return Estimate(found, error)
        return self._by_growth(order) if lower_vanish else UNKNOWN

    def _by_growth(self, order: int) -> Estimate:
        """From `|σ(x) − σ(0)| ~ |x|^α`: the coefficient is 0 if α is larger, infinite if it is smaller."""
        if len(self.changes) <= _FEWEST:
            return UNKNOWN
        exponents = np.log2(np.abs(self.changes[:-1] / self.changes[1:]))[-_FEWEST:]
        if np.ptp(exponents) > 0.2 and exponents.min() <= order + 1:
            return Estimate(math.nan, 0.0)
        ratios = self.changes / (self.side * self.widths) ** order
        last = float(ratios[-1])
        if abs(exponents[-1] - order) < 1e-2:
            return Estimate(last, 8 * abs(last - float(ratios[-3])) + 1e-9 * abs(last))
        return Estimate(0.0, 0.0) if exponents[-1] > order else Estimate(math.copysign(math.inf, last), 0.0)


def one_sided(function: Callable[[Array], Array], at_zero: float, side: int, orders: int) -> OneSided:
    """Return what the values of `function` on one side of 0 say about its coefficients up to `orders`."""
    width = 0.5 ** np.arange(1, _HALVINGS + 1)
    points = np.concatenate([_unit_nodes(), [1.0]])
    with np.errstate(all="ignore"):
        values = function(side * np.outer(width, points).ravel()).reshape(_HALVINGS, -1)
        changes = values - at_zero
        series = values[:, :_NODES] @ _transform().T
        seen = _above_noise(values, changes, series)
        noise = _noise(values, series, seen)
        expansions = _Expansions.of(series, noise, side * width, orders)
    visible = (4 * noise[seen, None] / width[seen, None] ** np.arange(orders + 1)).min(0, initial=math.inf)
    coefficients, errors = expansions.best(at_zero)
    size = float(np.abs(changes[np.isfinite(changes)]).max(initial=0.0))
    return OneSided(side, coefficients, errors, width[seen], changes[seen, -1], size, visible)


@lru_cache
def _unit_nodes() -> Array:
    return (1 + np.cos((np.arange(_NODES) + 0.5) * math.pi / _NODES)) / 2


@lru_cache
def _transform() -> Array:
    """From values at the nodes to Chebyshev coefficients."""
    index = np.arange(_NODES)
    matrix = 2 / _NODES * np.cos(np.outer(index, index + 0.5) * math.pi / _NODES)
    matrix[0] /= 2
    return matrix


@lru_cache
def _monomials(orders: int) -> Array:
    """Entry (j, k): the coefficient of s^k in the Chebyshev polynomial `T_j(2s − 1)`."""
    table = np.zeros((_NODES, _NODES + 1))
    table[0, 0], table[1, :2] = 1, (-1, 2)
    for j in range(2, _NODES):
        table[j] = 4 * np.roll(table[j - 1], 1) - 2 * table[j - 1] - table[j - 2]
    return table[:, : orders + 1]


@dataclass(frozen=True)
class _Expansions:
    """Coefficients of x^k (columns) and bounds on their errors, from each H (rows)."""

    coefficients: Array
    errors: Array

    @staticmethod
    def of(series: Array, noise: Array, width: Array, orders: int) -> _Expansions:
        table, powers = _monomials(orders), width[:, None] ** np.arange(orders + 1)
        index = np.arange(_NODES)
        kept = np.where(np.abs(series) > noise[:, None], index, 0).max(1)
        used = np.where(index <= kept[:, None], np.nan_to_num(series, posinf=0, neginf=0), 0.0)
        row = np.minimum(np.maximum(kept[:, None], np.arange(orders + 1)) + 2, _NODES - 1)
        errors = 4 * noise[:, None] * np.take_along_axis(np.cumsum(np.abs(table), 0), row, 0) / np.abs(powers)
        return _Expansions(used @ table / powers, np.where(np.isnan(errors), np.inf, errors))

    def best(self, at_zero: float) -> tuple[Array, Array]:
        """For each order the coefficient with the smallest error over all H at which the limit at 0 is σ(0).

        Where it is not, the function varies below that H; if it is not at the smallest H, it jumps at 0.
        """
        meets = np.abs(self.coefficients[:, 0] - at_zero) <= self.errors[:, 0]
        if not meets[-1]:
            return self.coefficients[-1], np.where(np.isfinite(self.errors[-1]), self.errors[-1], 0.0)
        errors = np.where(meets[:, None], self.errors, np.inf)
        best = errors.argmin(0)[None]
        return np.take_along_axis(self.coefficients, best, 0)[0], np.take_along_axis(errors, best, 0)[0]


def _noise(values: Array, series: Array, seen: slice) -> Array:
    """Bounds on the errors of the Chebyshev coefficients at each H.

    A difference of large terms, as in `cosh x − 1`, is noisier than its own size says; its noise is what the first H
    shows at which the change drowns in it.
    """
    noise = np.maximum(4 * _EPS * np.abs(values).max(1), np.abs(series[:, _LAST:]).max(1))
    noise = np.where(np.isfinite(noise), noise, np.inf)
    if seen.stop < len(noise):
        noise[seen.stop :] = np.maximum(noise[seen.stop :], noise[seen.stop])
    return noise


def _above_noise(values: Array, changes: Array, series: Array) -> slice:
    """The H in a row, the smallest there are, at which the change is well above rounding and other noise."""
    end = np.abs(changes[:, -1])
    with np.errstate(all="ignore"):
        tail = np.abs(series[:, _LAST:]).max(1) / np.abs(changes).max(1)
        seen = (end > 1e3 * _EPS * np.abs(values).max(1)) & (end > np.finfo(np.float64).tiny) & (end < math.inf)
        seen &= tail <= 1e-3 + 10 * np.nanmin(np.where(seen, tail, math.inf), initial=math.inf)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(int))).reshape(-1, 2)
    long = [(start, stop) for start, stop in edges.tolist() if stop - start > _FEWEST]
    return slice(*(long or edges.tolist() or [(0, 0)])[-1])
