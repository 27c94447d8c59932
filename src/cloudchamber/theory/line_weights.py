"""The weights of the two-layer linear network: the part along the line moves, the rest is frozen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.theory.line_flow import product, ratio
from cloudchamber.theory.line_motion import LineMotion
from cloudchamber.theory.line_start import common_shape, numbers


@dataclass(frozen=True)
class LineWeights:
    """The weights at the start.

    Attributes:
        u: (*batch, h), the second layer.
        W: (*batch, h, d), the first layer.
        n: (*batch, d), the unit vector along the inputs.
    """

    u: Tensor
    W: Tensor
    n: Tensor

    @property
    def w(self) -> Tensor:
        """(*batch, h), the first layer along the line, w = W n."""
        return (self.W @ self.n[..., None])[..., 0]

    def expand(self, batch: tuple[int, ...]) -> LineWeights:
        """Return the same with the given leading dimensions."""
        u, W, n = self.u, self.W, self.n
        return LineWeights(
            u.expand(batch + u.shape[-1:]), W.expand(batch + W.shape[-2:]), n.expand(batch + n.shape[-1:])
        )

    def along(self, times: Tensor) -> LineWeights:
        """Return the same with one more dimension of size 1 after the batch for each dimension of `times`."""
        batch, extra = self.u.shape[:-1], (1,) * times.ndim
        return LineWeights(
            self.u.reshape(batch + extra + self.u.shape[-1:]),
            self.W.reshape(batch + extra + self.W.shape[-2:]),
            self.n.reshape(batch + extra + self.n.shape[-1:]),
        )


def checked_weights(u: Tensor, W: Tensor, n: Tensor) -> LineWeights:
    """Return the weights in float64, with `n` of length 1 and common leading dimensions.

    Raises:
        InvalidInput: if the shapes do not fit, an entry is NaN or infinite, or `n` is zero.
    """
    u, W, n = numbers(u, "u"), numbers(W, "W"), numbers(n, "n")
    shapes = f"u {tuple(u.shape)}, W {tuple(W.shape)}, n {tuple(n.shape)}"
    fits = min(u.ndim, n.ndim) > 0 and W.ndim > 1 and W.shape[-2:] == u.shape[-1:] + n.shape[-1:]
    require(fits, "`u` is (..., h), `W` is (..., h, d) and `n` is (..., d)", shapes, "check which layer is which")
    largest = n.abs().amax(-1, keepdim=True) if n.shape[-1] else n.sum(-1, keepdim=True)
    require(bool((largest > 0).all()), "`n` is a direction", "a zero vector", "pass the direction of the inputs")
    n = n / largest
    batch = common_shape(u=u.shape[:-1], W=W.shape[:-2], n=n.shape[:-1])
    return LineWeights(u, W, n / torch.linalg.vector_norm(n, dim=-1, keepdim=True)).expand(batch)


def moving_vectors(weights: LineWeights, motion: LineMotion) -> tuple[Tensor, Tensor]:
    """Return u(t) and w(t), (*batch, *times, h); `weights` and `motion` are along the times.

    `u = √η_u (√z p + q/√z)` and `w = √η_w (√z p − q/√z)`; near z = 1 as the start, turned by a small hyperbolic angle.
    """
    u, w = weights.u, weights.w
    p, q = motion.start.modes(u, w)
    root, rates = motion.position.z.sqrt()[..., None], motion.start.ratio[..., None]
    rate_u, rate_w = motion.start.rate_u.sqrt()[..., None], motion.start.rate_w.sqrt()[..., None]
    cosh, sinh = (part[..., None] for part in motion.turn)
    near, first, second = motion.near[..., None], product(p, root), ratio(q, root)
    return (
        torch.where(near, u * cosh + w * rates * sinh, rate_u * (first + second)),
        torch.where(near, w * cosh + u / rates * sinh, rate_w * (first - second)),
    )


def moving_matrix(weights: LineWeights, w: Tensor) -> Tensor:
    """Return W(t) = W(0) + (w(t) − w(0)) nᵀ, (*batch, *times, h, d)."""
    return weights.W + (w - weights.w)[..., None] * weights.n[..., None, :]
