"""What the two-layer linear network's flow depends on: the numbers of its start, checked and in float64."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber.theory.line_flow import LineFlow

Loss = Literal["mean_square", "half_mean_square"]
LOSS_FACTORS: dict[str, float] = {"mean_square": 1.0, "half_mean_square": 0.5}

_CAUCHY_SLACK = 1e-12
_PARALLEL = 1e-15


@dataclass(frozen=True)
class LineInput:
    """The numbers that do not come from the weights; all broadcast against each other.

    Attributes:
        gamma: output scale γ, not 0.
        rho: length ρ = √E[a²] of the inputs, positive.
        y: target y = E[a y]/ρ.
        rate_u: η_u, positive.
        rate_w: η_w, positive.
        factor: 1 for the loss E(f − y)², ½ for its half.
    """

    gamma: Tensor
    rho: Tensor
    y: Tensor
    rate_u: Tensor
    rate_w: Tensor
    factor: Tensor

    @property
    def s(self) -> Tensor:
        """s = γρ√(η_u η_w)."""
        return self.gamma * self.rho * self.rate_u.sqrt() * self.rate_w.sqrt()

    @property
    def ratio(self) -> Tensor:
        """√(η_u/η_w)."""
        return self.rate_u.sqrt() / self.rate_w.sqrt()

    def modes(self, u: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return p and q = ½ (u/√η_u ± w/√η_w), (*batch, h)."""
        scaled_u, scaled_w = u / self.rate_u.sqrt()[..., None], w / self.rate_w.sqrt()[..., None]
        return (scaled_u + scaled_w) / 2, (scaled_u - scaled_w) / 2


@dataclass(frozen=True)
class LineStart(LineInput):
    """A start: the numbers above with the products of the initial weights.

    Attributes:
        P: ‖p‖².
        Q: ‖q‖².
        R: p·q.
        uu: ‖u‖².
        ww: ‖w‖².
        uw: u·w.
        gram: ‖u‖²‖w‖² − (u·w)², which the flow conserves.
    """

    P: Tensor
    Q: Tensor
    R: Tensor
    uu: Tensor
    ww: Tensor
    uw: Tensor
    gram: Tensor

    @property
    def output(self) -> Tensor:
        """f(0) = γρ u·w = s(P − Q)."""
        return self.gamma * self.rho * self.uw

    @property
    def flow(self) -> LineFlow:
        """The flow of z from here."""
        size, sign = self.s.abs(), self.s.sign()
        residual = sign * (self.output - self.y)
        return LineFlow(size * self.P, size * self.Q, sign * self.y, residual, 4 * self.factor * size)

    def along(self, times: Tensor) -> LineStart:
        """Return the same with one more dimension of size 1 at the end for each dimension of `times`."""
        extra = (1,) * times.ndim
        return replace(self, **{f.name: getattr(self, f.name).reshape(self.P.shape + extra) for f in fields(self)})


def line_input(
    gamma: float | Tensor,
    rho: float | Tensor,
    y: float | Tensor,
    rate_u: float | Tensor,
    rate_w: float | Tensor,
    loss: Loss,
) -> LineInput:
    """Check the numbers that do not come from the weights and bring them to float64.

    Raises:
        InvalidInput: if one is not finite, `gamma` is 0, `rho` or a rate is not positive, or `loss` is unknown.
    """
    require(loss in LOSS_FACTORS, f"`loss` is one of {list(LOSS_FACTORS)}", repr(loss), "choose one of them")
    scale = numbers(gamma, "gamma")
    require(bool((scale != 0).all()), "`gamma` is not 0", "0", "drop the networks whose output is always 0")
    lengths, rates = positive(rho, "rho"), (positive(rate_u, "rate_u"), positive(rate_w, "rate_w"))
    return LineInput(scale, lengths, numbers(y, "y"), *rates, torch.tensor(LOSS_FACTORS[loss], dtype=torch.float64))


def start_from_weights(u: Tensor, w: Tensor, given: LineInput) -> LineStart:
    """Return the start of second-layer weights `u` and first-layer weights along the line `w`, both (*batch, h)."""
    p, q = given.modes(u, w)
    uu, ww, uw = u.square().sum(-1), w.square().sum(-1), (u * w).sum(-1)
    P, Q, R = p.square().sum(-1), q.square().sum(-1), (p * q).sum(-1)
    return _start(given, P, Q, R, uu, ww, uw, torch.where((P > 0) & (Q > 0), _gram(u, w), 0.0))


def start_from_reduced(P: Tensor, Q: Tensor, R: Tensor, given: LineInput) -> LineStart:
    """Return the start of given P, Q and R.

    Raises:
        InvalidInput: if P or Q is negative, or R² exceeds PQ.
    """
    for name, square in (("P", P), ("Q", Q)):
        require(bool((square >= 0).all()), f"`{name}` is 0 or more: it is a squared length", square.min(), "check it")
    largest = P.sqrt() * Q.sqrt()
    fits = bool((R.abs() <= largest * (1 + _CAUCHY_SLACK)).all())
    require(fits, "`R` is p·q, so that R² ≤ PQ", f"R = {R.tolist()}", "compute P, Q and R from the same weights")
    uu, ww = given.rate_u * (P + Q + 2 * R), given.rate_w * (P + Q - 2 * R)
    rates = given.rate_u * given.rate_w
    gram = 4 * rates * (largest - R) * (largest + R)
    return _start(given, P, Q, R, uu.clamp(min=0), ww.clamp(min=0), rates.sqrt() * (P - Q), gram.clamp(min=0))


def numbers(value: float | Tensor, name: str) -> Tensor:
    """Return finite numbers as a float64 tensor on the CPU: they are few, and not every device has float64.

    Raises:
        InvalidInput: if one is NaN or infinite, or they are no real numbers.
    """
    real = isinstance(value, int | float) or (isinstance(value, Tensor) and not value.is_complex())
    require(real, f"`{name}` holds real numbers", type(value).__name__, "pass a number or a tensor")
    tensor = as_float64(value)
    require(bool(tensor.isfinite().all()), f"`{name}` is finite", _first_bad(tensor), "check what it was computed from")
    return tensor


def as_float64(value: float | Tensor) -> Tensor:
    """Return a number or numbers as a float64 tensor on the CPU."""
    if isinstance(value, Tensor):
        return value.to("cpu", torch.float64)
    return torch.tensor(value, dtype=torch.float64)


def positive(value: float | Tensor, name: str) -> Tensor:
    """Return positive finite numbers as a float64 tensor.

    Raises:
        InvalidInput: if one is not.
    """
    tensor = numbers(value, name)
    smallest = tensor.min().item() if tensor.numel() else 1.0
    require(smallest > 0, f"`{name}` is positive", smallest, "use a small number, such as 1e-30, for almost 0")
    return tensor


def common_shape(**shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that all leading dimensions broadcast to.

    Raises:
        InvalidInput: if there is none.
    """
    try:
        return tuple(torch.broadcast_shapes(*shapes.values()))
    except RuntimeError as error:
        received = {name: tuple(shape) for name, shape in shapes.items()}
        raise InvalidInput(
            f"the leading dimensions of all arguments broadcast; got {received}. Remedy: give each one value, or one "
            "per network."
        ) from error


def _gram(u: Tensor, w: Tensor) -> Tensor:
    """Return ‖u‖²‖w‖² − (u·w)² without cancellation, 0 where u and w are parallel up to rounding."""
    uu, ww = u.square().sum(-1), w.square().sum(-1)
    across = w - torch.where(uu > 0, (u * w).sum(-1) / uu, 0.0)[..., None] * u
    height = across.square().sum(-1)
    return torch.where(height > (_PARALLEL**2) * ww, uu * height, 0.0)


def _start(given: LineInput, *products: Tensor) -> LineStart:
    numbers_by_name = {f.name: getattr(given, f.name) for f in fields(given)}
    names = [f.name for f in fields(LineStart) if f.name not in numbers_by_name]
    named = numbers_by_name | dict(zip(names, products, strict=True))
    shape = common_shape(**{name: tensor.shape for name, tensor in named.items()})
    return LineStart(**{name: tensor.expand(shape) for name, tensor in named.items()})


def _first_bad(tensor: Tensor) -> object:
    return next(iter(tensor[~tensor.isfinite()].tolist()), None)
