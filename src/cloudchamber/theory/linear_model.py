"""The exactly solvable two-layer linear network: everything about its training, at any time, in closed form.

The network is `f(x) = γ uᵀ W x` on inputs `x = a n` along one line (|n| = 1, ρ² = E a²) with targets of `y = E[a y]/ρ`,
trained by gradient flow on E(f − y)² with the rates η_u and η_w. With `w = W n`, `s = γρ√(η_u η_w)` and
`p, q = ½ (u/√η_u ± w/√η_w)` at the start, `P = ‖p‖²`, `Q = ‖q‖²`, `R = p·q`, it moves as `p(t) = √z p`, `q(t) = q/√z`.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from cloudchamber._core.errors import Unsupported, require
from cloudchamber.theory.line_motion import LineMotion
from cloudchamber.theory.line_start import (
    LineStart,
    Loss,
    as_float64,
    line_input,
    numbers,
    start_from_reduced,
    start_from_weights,
)
from cloudchamber.theory.line_weights import LineWeights, checked_weights, moving_matrix, moving_vectors

Numbers = float | Tensor
PerNetwork = Float[Tensor, "..."]
Flags = Bool[Tensor, "..."]


@dataclass(frozen=True)
class LinearModel:
    """A two-layer linear network on a line, or a batch of them, solved exactly.

    Make it with `from_weights` or, for what does not need the weights themselves, with `from_reduced`. A time may be a
    number or a tensor, 0 to infinity (`math.inf` gives the limit); results have the shape (*batch, *times), and
    (*batch, *times, ...) for vectors and matrices. All results are float64 and on the CPU.

    Attributes:
        start: the checked numbers of the start, in float64, each of the shape (*batch).
        weights: the initial weights, None if the model was made from P, Q and R.

    Source: xu2024, Theorem 1 and Proposition 1.

    >>> import math
    >>> import torch
    >>> model = LinearModel.from_weights(torch.tensor([0.5, 0.0]), 0.5 * torch.eye(2), torch.tensor([0.0, 1.0]), y=1.0)
    >>> times = torch.tensor([0.0, 1.0, math.inf])
    >>> model.output(times)
    tensor([0.0000, 0.9024, 1.0000], dtype=torch.float64)
    >>> model.layer_alignment(times)
    tensor([0.0000, 0.9637, 0.9701], dtype=torch.float64)
    """

    start: LineStart
    weights: LineWeights | None = None

    @staticmethod
    def from_weights(
        u: Tensor,
        W: Tensor,
        n: Tensor,
        *,
        y: Numbers,
        rho: Numbers = 1.0,
        gamma: Numbers = 1.0,
        rate_u: Numbers = 1.0,
        rate_w: Numbers = 1.0,
        loss: Loss = "mean_square",
    ) -> LinearModel:
        """Return the model of a network, or of a batch of networks.

        Args:
            u: (*batch, h), the second layer at the start.
            W: (*batch, h, d), the first layer at the start.
            n: (*batch, d) or (d,), the direction of the inputs, of any length but 0.
            y: the target E[a y]/ρ.
            rho: √E[a²], positive.
            gamma: output scale γ, of any sign but not 0.
            rate_u: η_u, positive; a frozen layer is the limit of a small rate such as 1e-30.
            rate_w: η_w, positive.
            loss: "mean_square" for E(f − y)², "half_mean_square" for its half.

        Raises:
            InvalidInput: if shapes do not fit, a number is NaN, infinite or not positive where it has to be, `n` is
                zero or `loss` is unknown.

        Source: xu2024, Section 2.1.
        """
        weights = checked_weights(u, W, n)
        given = line_input(gamma, rho, y, rate_u, rate_w, loss)
        start = start_from_weights(weights.u, weights.w, given)
        return LinearModel(start, weights.expand(tuple(start.P.shape)))

    @staticmethod
    def from_reduced(
        P: Numbers,
        Q: Numbers,
        R: Numbers = 0.0,
        *,
        y: Numbers,
        rho: Numbers = 1.0,
        gamma: Numbers = 1.0,
        rate_u: Numbers = 1.0,
        rate_w: Numbers = 1.0,
        loss: Loss = "mean_square",
    ) -> LinearModel:
        """Return the model of a start given by P, Q and R, each (*batch).

        Args:
            P: ‖p‖², 0 or more.
            Q: ‖q‖², 0 or more.
            R: p·q, R² ≤ PQ; 0 where ‖u‖²/η_u = ‖w‖²/η_w.
            y: the target E[a y]/ρ.
            rho: √E[a²], positive.
            gamma: output scale γ, of any sign but not 0.
            rate_u: η_u, positive.
            rate_w: η_w, positive.
            loss: "mean_square" for E(f − y)², "half_mean_square" for its half.

        Raises:
            InvalidInput: if shapes do not fit, a number is NaN, infinite or not in its range, or `loss` is unknown.

        Source: xu2024, Section 2.1.
        """
        given = line_input(gamma, rho, y, rate_u, rate_w, loss)
        return LinearModel(start_from_reduced(numbers(P, "P"), numbers(Q, "Q"), numbers(R, "R"), given))

    @property
    def s(self) -> PerNetwork:
        """`s = γρ√(η_u η_w)`, (*batch)."""
        return self.start.s

    @property
    def alpha_plus(self) -> PerNetwork:
        """`α₊ = [y/s + √((y/s)² + 4PQ)]/(2P) = z(∞)`, (*batch).

        It is 0 or infinity where the flow ends in the origin. Source: xu2024, Eq. (12).
        """
        return self.start.flow.limit()

    @property
    def alpha_minus(self) -> PerNetwork:
        """`α₋ = [y/s − √((y/s)² + 4PQ)]/(2P)`, (*batch), never positive. Source: xu2024, Eq. (12)."""
        return self.start.flow.lower_root()

    @property
    def learning_time(self) -> PerNetwork:
        """`t_c = 1/√(16 s²y² + 64 s⁴PQ)`, twice that for the halved loss, (*batch).

        Infinite where y = 0 and PQ = 0. Source: xu2024, Eq. (17).
        """
        flow = self.start.flow
        return 1 / (flow.gain * flow.spread)

    @property
    def learning_terms(self) -> tuple[PerNetwork, PerNetwork]:
        """The two terms of 1/t_c², (*batch): `16 s²y²` of feature learning and `64 s⁴PQ` of the kernel.

        A quarter of them for the halved loss. Source: xu2024, Eq. (17).
        """
        flow = self.start.flow
        return (flow.gain * flow.y) ** 2, (flow.gain * flow.twice_root) ** 2

    @property
    def alignment_grows(self) -> Flags:
        """Whether condition (24) holds, `α₊ > 1`, (*batch): the layer alignment ζ then rises from start to end.

        It is the same as f(0) < y (f(0) > y for γ < 0), at any learning rates; ζ falls if α₊ < 1, and stays where
        α₊ = 1 or u is parallel to w. The rates decide neither the sign nor the amount of the change, as
        `layer_alignment` says, only the way there and the norms. Source: xu2024, Eq. (24).
        """
        return self.start.flow.residual < 0

    @property
    def reaches_saddle(self) -> Flags:
        """Whether the flow ends in the saddle u = w = 0 instead of a solution, (*batch).

        With `y/s` for y: Q = 0 and y < 0, or P = 0 and y > 0, or P = Q = 0 and y ≠ 0. Source: xu2024, Proposition 1.
        """
        flow = self.start.flow
        return ((flow.q == 0) & (flow.y < 0)) | ((flow.p == 0) & (flow.y > 0))

    def z(self, t: Numbers) -> PerNetwork:
        """Return `z(t) = (α₊ − α₋ξ)/(1 − ξ)`, `ξ = (1 − α₊)/(1 − α₋) e^{−t/t_c}`, (*batch, *times).

        It solves `ż = −4s (f − y) z`, z(0) = 1. Source: xu2024, Eq. (8) and (39)–(48).

        Raises:
            InvalidInput: if a time is negative or NaN.
        """
        return self._motion(t).position.z

    def output(self, t: Numbers) -> PerNetwork:
        """Return `f = s (Pz − Q/z)` at x = ρn, (*batch, *times).

        Source: xu2024, Eq. (19).

        Raises:
            InvalidInput: if a time is negative or NaN.
        """
        return self._motion(t).output

    def residual(self, t: Numbers) -> PerNetwork:
        """Return `f − y`, (*batch, *times), accurate also where it has become small.

        Source: xu2024, Eq. (19).

        Raises:
            InvalidInput: if a time is negative or NaN.
        """
        return self._motion(t).residual

    def excess_loss(self, t: Numbers) -> PerNetwork:
        """Return `(f − y)²`, or its half, (*batch, *times): the loss above the least loss that any f can have.

        Source: xu2024, Eq. (4).

        Raises:
            InvalidInput: if a time is negative or NaN.
        """
        motion = self._motion(t)
        return motion.start.factor * motion.residual**2

    def kernel(self, t: Numbers) -> PerNetwork:
        """Return the neural tangent kernel at x = x' = ρn, `K = 2γ²ρ²η_uη_w (Pz + Q/z)`, (*batch, *times).

        `ḟ = −2K (f − y)`, without the 2 for the halved loss. Source: xu2024, Eq. (18).

        Raises:
            InvalidInput: if a time is negative or NaN.
        """
        return self._motion(t).kernel

    def layer_alignment(self, t: Numbers) -> PerNetwork:
        """Return `ζ = u·w/(‖u‖‖w‖) = (Pz − Q/z)/√((Pz + Q/z)² − 4R²)`, (*batch, *times).

        Since `‖u‖²‖w‖² − (u·w)²` is conserved at any rates, it is a function of f alone and ends at
        `y/√(y² + γ²ρ²(‖u‖²‖w‖² − (u·w)²))` for γ > 0. Where the flow ends in the saddle it is the limit; NaN
        where u or w is zero. Source: xu2024, Eq. (20)–(23).

        Raises:
            InvalidInput: if a time is negative or NaN.
        """
        return self._motion(t).alignment

    def norm_u(self, t: Numbers) -> PerNetwork:
        """Return `‖u‖ = √(η_u (Pz + Q/z + 2R))`, (*batch, *times).

        Source: xu2024, Eq. (25).

        Raises:
            InvalidInput: if a time is negative or NaN.
        """
        return self._motion(t).squared_norms[0].sqrt()

    def norm_w(self, t: Numbers) -> PerNetwork:
        """Return `‖w‖ = √(η_w (Pz + Q/z − 2R))`, (*batch, *times).

        Source: xu2024, Eq. (25).

        Raises:
            InvalidInput: if a time is negative or NaN.
        """
        return self._motion(t).squared_norms[1].sqrt()

    def u(self, t: Numbers) -> Float[Tensor, "... h"]:
        """Return the second layer, `u = √η_u (√z p + q/√z)`, (*batch, *times, h).

        Source: xu2024, Theorem 1, Eq. (6).

        Raises:
            InvalidInput: if a time is negative or NaN.
            Unsupported: if the model was made from P, Q and R.
        """
        return self._vectors(t)[0]

    def w(self, t: Numbers) -> Float[Tensor, "... h"]:
        """Return the first layer along the line, `w = W n = √η_w (√z p − q/√z)`, (*batch, *times, h).

        Source: xu2024, Theorem 1, Eq. (7).

        Raises:
            InvalidInput: if a time is negative or NaN.
            Unsupported: if the model was made from P, Q and R.
        """
        return self._vectors(t)[1]

    def W(self, t: Numbers) -> Float[Tensor, "... h d"]:  # noqa: N802 - the paper's name
        """Return the first layer, `W(t) = W(0) + (w(t) − w(0)) nᵀ`, (*batch, *times, h, d).

        Its part off the line is frozen. Source: xu2024, Theorem 1, Eq. (7).

        Raises:
            InvalidInput: if a time is negative or NaN.
            Unsupported: if the model was made from P, Q and R.
        """
        return moving_matrix(self._weights_along(t), self.w(t))

    def outputs(self, x: Float[Tensor, "n d"], t: Numbers) -> Float[Tensor, "... n"]:
        """Return `f(x) = γ uᵀ W x` for any inputs, on the line or off it, (*batch, *times, n).

        Off the line it moves too, as u does: `f(x) = γ u(t)ᵀ W(0) x` for x ⊥ n.

        Args:
            x: (n, d), one row per input.
            t: times.

        Raises:
            InvalidInput: if a time is negative or NaN, or `x` has another dimension than the network.
            Unsupported: if the model was made from P, Q and R.
        """
        hidden = self._rows(x) @ self.W(t).mT
        gamma = self.start.along(_times(t)).gamma[..., None]
        return gamma * (hidden @ self.u(t)[..., None])[..., 0]

    def kernel_matrix(
        self, x: Float[Tensor, "n d"], other: Float[Tensor, "k d"], t: Numbers
    ) -> Float[Tensor, "... n k"]:
        """Return the kernel `K(x, x') = γ² (η_u xᵀWᵀWx' + η_w ‖u‖² x·x')`, (*batch, *times, n, k).

        Args:
            x: (n, d), one row per input.
            other: (k, d), the inputs x'.
            t: times.

        Raises:
            InvalidInput: if a time is negative or NaN, or the inputs have another dimension than the network.
            Unsupported: if the model was made from P, Q and R.

        Source: xu2024, Eq. (18), there on the line.
        """
        first, second, W = self._rows(x), self._rows(other), self.W(t)
        start = self.start.along(_times(t))
        squared_u = self.norm_u(t)[..., None, None] ** 2
        rate_u, rate_w = start.rate_u[..., None, None], start.rate_w[..., None, None]
        hidden = (first @ W.mT) @ (second @ W.mT).mT
        return start.gamma[..., None, None] ** 2 * (rate_u * hidden + rate_w * squared_u * (first @ second.mT))

    def _motion(self, t: Numbers) -> LineMotion:
        times = _times(t)
        start = self.start.along(times)
        return LineMotion(start, start.flow.at(times))

    def _vectors(self, t: Numbers) -> tuple[Tensor, Tensor]:
        return moving_vectors(self._weights_along(t), self._motion(t))

    def _weights_along(self, t: Numbers) -> LineWeights:
        if self.weights is None:
            raise Unsupported(
                "vectors and matrices follow from the initial weights; got a model of P, Q and R alone. "
                "Remedy: make it with `LinearModel.from_weights`."
            )
        return self.weights.along(_times(t))

    def _rows(self, x: Tensor) -> Tensor:
        rows, weights = numbers(x, "x"), self._weights_along(0.0)
        fits = rows.ndim == 2 and rows.shape[1] == weights.n.shape[-1]
        require(fits, f"inputs are (n, {weights.n.shape[-1]})", tuple(rows.shape), "pass one row per input")
        return rows


def _times(t: Numbers) -> Tensor:
    times = as_float64(t)
    allowed = bool((times >= 0).all())
    require(allowed, "a time is 0 or more", times.min().item() if times.numel() else t, "use math.inf for the limit")
    return times
