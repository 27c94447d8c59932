"""The gradient flow of two-layer networks in closed form: for widths and numbers of networks that modules cannot do.

Inside, θ of a member is a, then Wᵀ row by row, so that neurons are the fast axis of all arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber.training.flow.module import SQUARED, LossFunction, rates_of
from cloudchamber.training.flow.state import Linearization, Members, Point, Stacked, Theta, Values


def _relu(z: Tensor) -> tuple[Tensor, Tensor]:
    value = z.clamp(min=0)
    return value, value.clamp(max=1).ceil_()  # 1 where z > 0, five times as fast as the comparison


def _tanh(z: Tensor) -> tuple[Tensor, Tensor]:
    value = torch.tanh(z)
    return value, 1 - value.square()


def _xtanh(z: Tensor) -> tuple[Tensor, Tensor]:
    value = torch.tanh(z)
    return z * value, value + z * (1 - value.square())


def _x2tanh(z: Tensor) -> tuple[Tensor, Tensor]:
    value = torch.tanh(z)
    return z * z * value, z * (2 * value + z * (1 - value.square()))


def _sigmoid(z: Tensor) -> tuple[Tensor, Tensor]:
    value = torch.sigmoid(z)
    return value, value * (1 - value)


def _identity(z: Tensor) -> tuple[Tensor, Tensor]:
    return z, torch.ones_like(z)


_WITH_SLOPE: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "relu": _relu,
    "tanh": _tanh,
    "xtanh": _xtanh,
    "x2tanh": _x2tanh,
    "sigmoid": _sigmoid,
    "identity": _identity,
}


@dataclass(frozen=True)
class TwoLayerNets:
    """Two-layer networks of one width, `f(x) = κ Σ_j a_j σ(w_j·x)`; a bias is an entry of w, with x augmented by 1.

    Attributes:
        a: (K, m), output weights; rate and result under the name "a".
        w: (K, m, d), input weights; "w".
        scale: κ, one number or (K,).
        activation: "relu", "tanh", "xtanh", "x2tanh", "sigmoid" or "identity".

    Raises:
        InvalidInput: if the arrays do not fit each other, or the activation is not known.

    Source: overview2025, Eq. (3), κ = 1/α there.

    >>> TwoLayerNets(torch.ones(3, 8), torch.ones(3, 8, 2), scale=0.1).a.shape
    torch.Size([3, 8])
    """

    a: Float[Tensor, "k m"]
    w: Float[Tensor, "k m d"]
    scale: float | Float[Tensor, " k"] = 1.0
    activation: str = "relu"

    def __post_init__(self) -> None:
        fits = self.a.ndim == 2 and self.w.ndim == 3 and self.w.shape[:2] == self.a.shape and self.w.numel() > 0
        require(fits, "a is (K, m) and w (K, m, d)", (tuple(self.a.shape), tuple(self.w.shape)), "pass a stack")
        require(
            self.activation in _WITH_SLOPE,
            f"the activation is one of {sorted(_WITH_SLOPE)}",
            self.activation,
            "pass modules for others",
        )
        shape = torch.as_tensor(self.scale).shape
        require(shape in ((), self.a.shape[:1]), "`scale` is one number, or one per member", tuple(shape), "pass one")


@dataclass(frozen=True)
class Neurons(Stacked):
    """All that gradients of two-layer networks need: features `σ(w·x)`, gates `a σ'(w·x)`, and for each member factors.

    Attributes:
        factors: κ, cκη_a and cκη_w, for a loss c/2 ‖f − y‖² and rates η.
    """

    features: Float[Tensor, "k n m"]
    gates: Float[Tensor, "k n m"]
    x: Float[Tensor, "k n d"]
    factors: Float[Tensor, "k 3"]

    def pull(self, values: Values) -> Theta:
        """Return `c D Jᵀ v`."""
        output = self.factors[:, 1:2] * torch.bmm(values[:, None], self.features)[:, 0]
        inputs = torch.bmm((self.factors[:, 2:, None] * values[:, :, None] * self.x).mT, self.gates)
        return torch.cat([output, inputs.flatten(1)], 1)

    def push(self, theta: Theta) -> Values:
        """Return `J b`."""
        m = self.features.shape[2]
        moved = torch.bmm(theta[:, None, :m], self.features.mT)[:, 0]
        directions = theta[:, m:].reshape(len(theta), self.x.shape[2], m)
        return self.factors[:, :1] * (moved + (torch.bmm(self.gates, directions.mT) * self.x).sum(2))

    def kernel(self) -> Float[Tensor, "k n n"]:
        """Return `c J D Jᵀ`."""
        scale, rate_a, rate_w = (self.factors[:, place, None, None] for place in range(3))
        from_a = torch.bmm(self.features, self.features.mT)
        from_w = torch.bmm(self.gates, self.gates.mT) * torch.bmm(self.x, self.x.mT)
        return scale * (rate_a * from_a + rate_w * from_w)


@dataclass(frozen=True)
class TwoLayerLinearization(Linearization):
    """A linearization of two-layer networks."""

    neurons: Neurons

    def pull(self, values: Values) -> Theta:
        """Return `c D Jᵀ v`."""
        return self.neurons.pull(values)

    def push(self, theta: Theta) -> Values:
        """Return `J b`."""
        return self.neurons.push(theta)


class TwoLayerField:
    """The right-hand side for two-layer networks."""

    names = ("a", "w")
    layers = ((0,), (1,))

    def __init__(
        self,
        nets: TwoLayerNets,
        data: tuple[Tensor, Tensor],
        loss: str | LossFunction,
        rates: Mapping[str, float | Tensor],
        dtype: torch.dtype,
    ) -> None:
        if not isinstance(loss, str):
            raise InvalidInput("two-layer nets flow under 'mse' or 'half_mse'; got a function. Remedy: pass modules.")
        count, self._m, self._d = nets.w.shape
        self._x, self._y = data[0].cpu().to(dtype), data[1].cpu().to(dtype).reshape(-1)
        require(
            self._x.ndim == 2 and self._x.shape[1] == self._d,
            f"samples are (n, {self._d})",
            tuple(self._x.shape),
            "append a column of ones to x if w holds a bias",
        )
        require(
            data[1].numel() == len(self._x),
            f"there is one target for each of {len(self._x)} samples",
            tuple(data[1].shape),
            "pass (n,) or (n, 1)",
        )
        self.start: Theta = torch.cat([nets.a, nets.w.mT.flatten(1)], 1).detach().cpu().to(dtype)
        self.segments = [slice(0, self._m), slice(self._m, self._m * (1 + self._d))]
        self._activation = _WITH_SLOPE[nets.activation]
        self._factor = SQUARED[loss] / len(self._x)
        scale = torch.as_tensor(nets.scale, dtype=dtype).reshape(-1, 1).expand(count, 1)
        table = rates_of(rates, self.names, count, dtype)
        self._factors = torch.cat([scale, self._factor * scale * table], 1)

    @property
    def shapes(self) -> list[torch.Size]:
        """The shapes inside; `outside` turns W to its usual one."""
        return [torch.Size([self._m]), torch.Size([self._d, self._m])]

    def evaluate(self, theta: Theta, members: Members) -> Point:
        """Return loss and velocity."""
        neurons, residual = self._at(theta, members)
        return self._point(theta, neurons, residual)

    def linearize(self, theta: Theta, members: Members) -> Point:
        """Return loss, velocity and linearization."""
        neurons, residual = self._at(theta, members)
        return self._point(theta, neurons, residual, TwoLayerLinearization(residual, neurons.kernel(), neurons))

    def _at(self, theta: Theta, members: Members) -> tuple[Neurons, Values]:
        a, w = theta[:, : self._m], theta[:, self._m :].reshape(len(theta), self._d, self._m)
        factors = self._factors[members]
        features, gates = self._activation(self._x @ w)
        outputs = factors[:, :1] * torch.bmm(a[:, None], features.mT)[:, 0]
        gates *= a[:, None]
        return Neurons(features, gates, self._x.expand(len(theta), -1, -1), factors), outputs - self._y

    def _point(
        self, theta: Theta, neurons: Neurons, residual: Values, linear: TwoLayerLinearization | None = None
    ) -> Point:
        return Point(theta, self._factor / 2 * residual.square().sum(1), -neurons.pull(residual), linear)
