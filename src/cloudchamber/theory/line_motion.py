"""Everything that the two-layer linear network shows at some times, from z."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cloudchamber.theory.line_flow import LinePosition, product, ratio
from cloudchamber.theory.line_start import LineStart

_NEAR = 0.5


@dataclass(frozen=True)
class LineMotion:
    """A start, and how far the flow from there has come; the two broadcast."""

    start: LineStart
    position: LinePosition

    @property
    def aligned(self) -> Tensor:
        """P z = ‖p(t)‖²."""
        return product(self.start.P, self.position.z)

    @property
    def opposed(self) -> Tensor:
        """Q/z = ‖q(t)‖²."""
        return ratio(self.start.Q, self.position.z)

    @property
    def residual(self) -> Tensor:
        """f − y."""
        return self.position.remaining * (self.start.output - self.start.y)

    @property
    def output(self) -> Tensor:
        """f = s(Pz − Q/z), as a mean of f(0) and y where that is the sum of two numbers of one sign."""
        start, first, second = self.start, self.aligned, self.opposed
        blend = self.position.remaining * start.output + self.position.done * start.y
        distinct = torch.minimum(first, second) <= torch.maximum(first, second) / 2
        return torch.where((start.output * start.y < 0) & distinct, start.s * (first - second), blend)

    @property
    def kernel(self) -> Tensor:
        """K = 2 s² (Pz + Q/z)."""
        return 2 * self.start.s**2 * (self.aligned + self.opposed)

    @property
    def alignment(self) -> Tensor:
        """ζ = u·w/√((u·w)² + gram), as ‖u‖²‖w‖² − (u·w)² is conserved.

        Parallel layers keep the sign of u·w while it vanishes in the limit; where it passes through 0 there is none.
        """
        start = self.start
        now = self.output / (start.gamma * start.rho)
        length = torch.hypot(now, start.gram.sqrt())
        vanishes = ((start.P == 0) | (start.Q == 0) | (start.y == 0)) & (start.uw != 0)
        return torch.where(length > 0, now / length, torch.where(vanishes, start.uw.sign(), torch.nan))

    @property
    def squared_norms(self) -> tuple[Tensor, Tensor]:
        """‖u‖² and ‖w‖²."""
        start = self.start
        moved = self.aligned + self.opposed
        u = self._turned(start.uu, start.ww, start.ratio), start.rate_u * (moved + 2 * start.R)
        w = self._turned(start.ww, start.uu, 1 / start.ratio), start.rate_w * (moved - 2 * start.R)
        return self._nearer(*u).clamp(min=0), self._nearer(*w).clamp(min=0)

    @property
    def turn(self) -> tuple[Tensor, Tensor]:
        """The cosh and the sinh of ½ ln z, accurate where z is near 1."""
        root = 2 * self.position.z.sqrt()
        return (self.position.z + 1) / root, self.position.z_minus_one / root

    def _turned(self, own: Tensor, other: Tensor, rates: Tensor) -> Tensor:
        """‖own cosh + other √rates sinh‖²."""
        cosh, sinh = self.turn
        return own + sinh**2 * (own + rates**2 * other) + 2 * rates * self.start.uw * sinh * cosh

    def _nearer(self, near: Tensor, far: Tensor) -> Tensor:
        """Near z = 1 the change is small against the start, far from it the start does not matter."""
        return torch.where(self.near, near, far)

    @property
    def near(self) -> Tensor:
        """Whether z is near 1."""
        return self.position.z_minus_one.abs() < _NEAR
