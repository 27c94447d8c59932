"""The multiplicity of an activation: the order of its first non-zero derivative at 0.

The values of the function decide whether it has one, from both sides of 0: autograd returns a number also where there
is no derivative (0 for ReLU, by convention) and cannot be asked. Where the two agree, autograd gives the exact digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber.theory.elementwise import Activation, Elementwise, autograd_derivative_at_zero, elementwise
from cloudchamber.theory.one_sided import Array, Estimate, OneSided, one_sided

MultiplicityKind = Literal["defined", "kink", "singular", "discontinuous", "flat", "undefined", "unknown"]

_ROUNDING = 1e-12
_LOOK_BEYOND = 3


@dataclass(frozen=True)
class Multiplicity:
    """What an activation does at 0, to leading order: `σ(x) ≈ σ(0) + coefficient · x^order`.

    Attributes:
        order: the multiplicity p, or None where there is none.
        coefficient: `σ^(p)(0) / p!`; NaN where there is none.
        value_at_zero: σ(0), which the multiplicity does not count (sigmoid and softplus have 0.5 and log 2).
        kind: "defined"; "kink" if the one-sided derivatives differ at the first order at which one is not zero;
            "singular" if one of them is infinite or does not exist; "discontinuous" at 0; "flat" if all derivatives
            vanish up to `zero_to`, as far as was asked; "undefined" if σ(0) is not a finite number; "unknown" if
            neither the values nor autograd tell the derivative after `zero_to`.
        breaks_at: the lowest order at which the derivatives from the left and from the right differ or do not exist;
            0 for a jump of σ itself; None if no such order was seen. If p is defined it is larger than p.
        left: σ^(breaks_at)(0−), the derivative from x < 0; ±inf if infinite, NaN if it does not exist or nothing
            breaks.
        right: σ^(breaks_at)(0+), from x > 0.
        zero_to: all derivatives from 1 to this order vanish.
        note: the same in words, and what is less than certain.

    >>> multiplicity(torch.tanh).order
    1
    """

    order: int | None
    coefficient: float
    value_at_zero: float
    kind: MultiplicityKind
    breaks_at: int | None = None
    left: float = math.nan
    right: float = math.nan
    zero_to: int = 0
    note: str = ""

    def __str__(self) -> str:
        return self.note


def multiplicity(activation: Activation, *, highest_order: int = 12) -> Multiplicity:
    """Return the order p of the first non-zero derivative of an activation at 0, and `σ^(p)(0)/p!`.

    `σ'(0) = … = σ^(p−1)(0) = 0 ≠ σ^(p)(0)`. Both one-sided derivatives are found from values of the function at
    `0 < |x| ≤ 1/2`; where they agree with autograd its exact number is returned, where they contradict it (a kink, a
    straight-through gradient, a wrong backward) they are believed. A coefficient below 1e-12 of the largest change of σ
    on [−1/2, 1/2] counts as zero.

    Args:
        activation: a function of tensors that acts on every entry by itself, or such a module, which is evaluated as a
            copy in float64 and evaluation mode.
        highest_order: up to which order to look, from 1 to 20; nested autograd of some functions (mish) takes twice to
            three times as long per order.

    Returns:
        The multiplicity. Functions that have none are named as what they are, with their one-sided derivatives.

    Raises:
        InvalidInput: if the activation is random or mixes entries, or `highest_order` is out of its range.
        Unsupported: if it cannot be called with a float64 vector.

    Source: zhou2022, Definition 1.

    >>> from torch.nn import functional as fn
    >>> multiplicity(lambda x: x * torch.tanh(x))
    Multiplicity(order=2, coefficient=1.0, value_at_zero=0.0, kind='defined', ...)
    >>> print(multiplicity(fn.relu))
    no multiplicity: at 0 the derivative of order 1 is 0 from the left and 1 from the right
    >>> print(multiplicity(fn.elu))
    multiplicity 1: σ(x) ≈ 0 + 1·x; at 0 the derivative of order 2 is 1 from the left and 0 from the right
    """
    require(1 <= highest_order <= 20, "`highest_order` is from 1 to 20", highest_order, "use 12")
    evaluate = elementwise(activation)
    with torch.no_grad():
        at_zero = float(evaluate(torch.zeros(1, dtype=torch.float64)))
    if not math.isfinite(at_zero):
        return Multiplicity(None, math.nan, at_zero, "undefined", note=f"no multiplicity: σ(0) is {at_zero}")
    return _Sides.of(evaluate, at_zero, highest_order).analysed()


def leading_order(multiplicity: int | Multiplicity, coefficient: float | None) -> tuple[int, float]:
    """Return p and `σ^(p)(0)/p!`, from a multiplicity that was found, or from the numbers (coefficient 1 by default).

    Raises:
        InvalidInput: if there is no such order, or the coefficient is zero or not finite, or given twice.
    """
    if isinstance(multiplicity, Multiplicity):
        require(coefficient is None, "a found multiplicity has its coefficient", coefficient, "leave `coefficient` out")
        if multiplicity.order is None:
            raise InvalidInput(f"the activation has a multiplicity; got {multiplicity.note}. Remedy: use a smooth one.")
        return multiplicity.order, multiplicity.coefficient
    factor = 1.0 if coefficient is None else coefficient
    require(multiplicity >= 1, "`multiplicity` is at least 1", multiplicity, "pass what `multiplicity` returns")
    usable = math.isfinite(factor) and factor != 0
    require(usable, "`coefficient` is σ^(p)(0)/p!, finite and not 0", factor, "pass what `multiplicity` returns")
    return multiplicity, factor


@dataclass(frozen=True)
class _Sides:
    """A function near 0, from both sides, and what autograd says of it."""

    evaluate: Elementwise
    at_zero: float
    left: OneSided
    right: OneSided
    highest: int
    doubts: list[str] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    @staticmethod
    def of(evaluate: Elementwise, at_zero: float, highest: int) -> _Sides:
        values, orders = _numpy_function(evaluate), highest + _LOOK_BEYOND
        left, right = (one_sided(values, at_zero, side, orders) for side in (-1, 1))
        return _Sides(evaluate, at_zero, left, right, highest)

    @property
    def size(self) -> float:
        return max(self.left.size, self.right.size)

    def pair(self, order: int, *, lower_vanish: bool = True) -> tuple[Estimate, Estimate]:
        left = self.left.coefficient(order, self.size, lower_vanish=lower_vanish)
        return left, self.right.coefficient(order, self.size, lower_vanish=lower_vanish)

    def analysed(self) -> Multiplicity:
        if self.size == 0:
            return self._flat(self.highest, "σ is constant near 0")
        limits = self.pair(0, lower_vanish=False)
        if not all(limit.agrees(self.at_zero) for limit in limits):
            return self._without("discontinuous", 0, *limits)
        for order in range(1, self.highest + 1):
            left, right = self.pair(order)
            if not (left.finite and right.finite):
                return self._without("singular", order, left, right)
            if _differ(left, right):
                return self._without("kink", order, left, right)
            value = self._common(order, left, right)
            if math.isnan(value):
                return self._unknown(order - 1)
            if value:
                return self._defined(order, value)
        return self._flat(self.highest, "no higher ones were looked at")

    def least(self, order: int) -> float:
        """The smallest coefficient of x^order that is not taken for rounding."""
        visible = min(float(side.visible[order]) for side in (self.left, self.right))
        return max(_ROUNDING * self.size, visible if math.isfinite(visible) else 0.0)

    def exact(self, order: int) -> float:
        """What autograd says; an order after one at which it failed is not asked for, as it would fail as well."""
        if self.failed:
            return math.nan
        value = autograd_derivative_at_zero(self.evaluate, order) / math.factorial(order)
        if math.isnan(value):
            self.failed.append(order)
        return value

    def _common(self, order: int, left: Estimate, right: Estimate) -> float:
        """The coefficient on which both sides agree: autograd's, unless they contradict it; NaN if unknown."""
        exact = self.exact(order)
        if math.isfinite(exact) and left.agrees(exact) and right.agrees(exact):
            if abs(exact) > self.least(order) and not (left.known and right.known):
                self.doubts.append("by autograd; rounding hides this order in the values")
            return exact if abs(exact) > self.least(order) else 0.0
        known = [side for side in (left, right) if side.known]
        if not known:
            return math.nan
        best = min(known, key=lambda side: side.error)
        found = _rounded(best) if abs(best.value) > best.error + self.least(order) else 0.0
        if found or math.isfinite(exact):
            said = f"autograd returns {exact:.10g}" if math.isfinite(exact) else "autograd has no derivative"
            self.doubts.append(f"from values, to {best.error:.1g}: {said} at order {order}")
        return found

    def _defined(self, order: int, value: float) -> Multiplicity:
        broken = self._break_beyond(order)
        power = "x" if order == 1 else f"x^{order}"
        note = f"multiplicity {order}: σ(x) ≈ {self.at_zero:.6g} + {value:.6g}·{power}"
        sides = (math.nan, math.nan)
        if broken is not None:
            sides = _derivatives(broken, *self.pair(broken, lower_vanish=False))
            note = f"{note}; {_one_sided_words(broken, *sides)}"
        note = "; ".join([note, *self.doubts])
        return Multiplicity(order, value, self.at_zero, "defined", broken, *sides, zero_to=order - 1, note=note)

    def _break_beyond(self, order: int) -> int | None:
        for higher in range(order + 1, order + _LOOK_BEYOND + 1):
            left, right = self.pair(higher, lower_vanish=False)
            if left.known and right.known and _differ(left, right):
                return higher
        return None

    def _without(self, kind: MultiplicityKind, order: int, left: Estimate, right: Estimate) -> Multiplicity:
        sides = _derivatives(order, left, right)
        own = [] if order else [f"σ(0) = {self.at_zero:.10g}"]
        note = "; ".join([f"no multiplicity: {_one_sided_words(order, *sides)}", *own, *self.doubts])
        return Multiplicity(None, math.nan, self.at_zero, kind, order, *sides, zero_to=max(order - 1, 0), note=note)

    def _flat(self, zero_to: int, reason: str) -> Multiplicity:
        note = f"no multiplicity: the derivatives up to order {zero_to} vanish at 0; {reason}"
        return Multiplicity(None, math.nan, self.at_zero, "flat", zero_to=zero_to, note=note)

    def _unknown(self, zero_to: int) -> Multiplicity:
        above = f" above order {zero_to}, up to which they vanish" if zero_to else ""
        note = f"no multiplicity found: neither the values nor autograd tell the derivatives at 0{above}"
        return Multiplicity(None, math.nan, self.at_zero, "unknown", zero_to=zero_to, note=note)


def _numpy_function(evaluate: Elementwise) -> Callable[[Array], Array]:
    def function(points: Array) -> Array:
        with torch.no_grad():
            return evaluate(torch.from_numpy(np.ascontiguousarray(points))).cpu().numpy()

    return function


def _differ(left: Estimate, right: Estimate) -> bool:
    known = left.known and right.known
    margin = left.error + right.error + 1e-12 * (abs(left.value) + abs(right.value))
    return known and abs(left.value - right.value) > margin


def _derivatives(order: int, left: Estimate, right: Estimate) -> tuple[float, float]:
    return math.factorial(order) * _rounded(left), math.factorial(order) * _rounded(right)


def _rounded(side: Estimate) -> float:
    """The shortest number within the error, so that the 1 of ReLU is not printed as 0.99999999999997."""
    for digits in range(16):
        short = float(f"{side.value:.{digits}g}") if digits else 0.0
        if abs(short - side.value) <= side.error:
            return short
    return side.value


def _one_sided_words(order: int, left: float, right: float) -> str:
    if order == 0:
        return f"σ jumps at 0: its limit is {left:.10g} from the left and {right:.10g} from the right"
    return f"at 0 the derivative of order {order} is {left:.10g} from the left and {right:.10g} from the right"
