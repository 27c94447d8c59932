"""The one scalar z(t) by which the two-layer linear network moves, in forms without cancellation.

`ż = −4κ|s| (p z² − y z − q)`, z(0) = 1, with p = |s|P ≥ 0 and q = |s|Q ≥ 0 in units of the output, y the target (its
sign turned if s < 0) and κ = 1 for the loss E(f − y)², ½ for its half. The output is f = p z − q/z.

With `δ = √(y² + 4pq)`, `c = |y|/δ`, `k = 1 − c`, `E = e^{−t/t_c}` and `g = (1 − E)/δ` the solution is z = n/d with

    n = n₁ + 2qg,  d = d₁ + 2pg,  {n₁, d₁} = {1 + c + kE, k + (1 + c)E}, the larger one in n if y ≥ 0,

sums of positive terms. The residual has the factor `f − y = ω (f(0) − y)`, `ω = 4E/(nd)`, and
`1 − ω = 2pg/d + 2qg/n` is a sum of positive terms too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_NO_DECAY = 1e-100
"""Elapsed times below this are treated as 0: 1 − E is the elapsed time itself there, and could underflow."""


@dataclass(frozen=True)
class LinePosition:
    """How far the flow has come at some times.

    Attributes:
        z: the scalar itself, from 0 to infinity.
        z_minus_one: z − 1, accurate where z is near 1.
        remaining: ω = (f − y)/(f(0) − y).
        done: 1 − ω, accurate where little has been learned.
    """

    z: Tensor
    z_minus_one: Tensor
    remaining: Tensor
    done: Tensor


@dataclass(frozen=True)
class LineFlow:
    """The flow of z.

    Attributes:
        p: |s|P.
        q: |s|Q.
        y: the target, with the sign of s.
        residual: p − q − y, given apart because the difference p − q may be known better than p and q.
        gain: 4κ|s|.
    """

    p: Tensor
    q: Tensor
    y: Tensor
    residual: Tensor
    gain: Tensor

    @property
    def twice_root(self) -> Tensor:
        """2√(pq), without overflow."""
        return 2 * self.p.sqrt() * self.q.sqrt()

    @property
    def spread(self) -> Tensor:
        """δ = √(y² + 4pq) = |s|P (α₊ − α₋)."""
        return torch.hypot(self.y, self.twice_root)

    def limit(self) -> Tensor:
        """Return α₊ = z(∞), which is 0 or infinity where the flow ends at the saddle."""
        larger = self.y.abs() + self.spread
        up, down = ratio(larger, 2 * self.p), ratio(2 * self.q, larger)
        # For y = 0 and pq = 0 the flow ż ∝ −(p z² − q) is algebraic in time.
        algebraic = torch.where(self.q > 0, torch.inf, torch.where(self.p > 0, 0.0, 1.0))
        return torch.where(larger > 0, torch.where(self.y >= 0, up, down), algebraic.to(up))

    def lower_root(self) -> Tensor:
        """Return α₋ ≤ 0, the root that the flow never meets; −infinity where p = 0 and y < 0."""
        larger = self.y.abs() + self.spread
        up, down = ratio(-2 * self.q, larger), ratio(-larger, 2 * self.p)
        return torch.where(larger > 0, torch.where(self.y >= 0, up, down), -self.limit())

    def at(self, times: Tensor) -> LinePosition:
        """Return the position at `times`, which broadcast against the coefficients and may be infinite."""
        c, k = self._shares()
        decay, progress = self._clock(times)
        larger, smaller = 1 + c + k * decay, k + (1 + c) * decay
        rising = self.y >= 0
        n1, d1 = torch.where(rising, larger, smaller), torch.where(rising, smaller, larger)
        n2, d2 = product(2 * self.q, progress), product(2 * self.p, progress)
        n, d = n1 + n2, d1 + d2
        z = ratio(n, d)
        shift = -2 * product(self.residual, progress) / d
        near = (z - 1).abs() < 0.5
        return LinePosition(z, torch.where(near, shift, z - 1), _remaining(decay, n, d), _part(d2, d1) + _part(n2, n1))

    def _shares(self) -> tuple[Tensor, Tensor]:
        c = ratio(self.y.abs(), self.spread)
        k = ratio(self.twice_root, self.spread) ** 2 / (1 + c)
        return c, torch.where(self.spread > 0, k, 1.0)

    def _clock(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return E = e^{−t/t_c} and g = (1 − E)/δ, which is `gain · t` while nothing has decayed."""
        elapsed = product(self.gain * self.spread, times)
        progress = -torch.expm1(-elapsed) / self.spread
        return torch.exp(-elapsed), torch.where(elapsed < _NO_DECAY, product(self.gain, times), progress)


def _remaining(decay: Tensor, n: Tensor, d: Tensor) -> Tensor:
    """Return 4E/(nd); where n or d has vanished it was exactly 2E on the way there."""
    smaller, larger = torch.minimum(n, d), torch.maximum(n, d)
    return 4 * torch.where(smaller > 0, decay / smaller, 0.5) / larger


def _part(part: Tensor, rest: Tensor) -> Tensor:
    """Return part/(part + rest), 1 where part is infinite and 0 where both are 0."""
    total = part + rest
    return torch.where(part.isinf(), 1.0, part / torch.where(total > 0, total, 1.0))


def product(factor: Tensor, other: Tensor) -> Tensor:
    """Return the product, 0 where `factor` is 0 and `other` infinite."""
    return torch.where(factor == 0, 0.0, factor * other)


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient, 0 where both are 0."""
    return torch.where(numerator == 0, 0.0, numerator / denominator)
