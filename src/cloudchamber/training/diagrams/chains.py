"""The gradient flow of deep ReLU networks in closed form, for widths at which a Jacobian does not fit.

The gradient of an output with respect to a weight matrix is the outer product of the layer's output gradient and its
input, so that the Jacobian is never formed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.training.flow.driver import Wanted, integrate
from cloudchamber.training.flow.module import SQUARED, rates_of
from cloudchamber.training.flow.result import GradientFlow, assemble
from cloudchamber.training.flow.state import Linearization, Members, Method, Point, Stacked, Theta, Values
from cloudchamber.training.flow.stops import Stop, all_stops

_ELEMENTS = 2**18


@dataclass(frozen=True)
class ChainNets:
    """Deep ReLU networks of one architecture and one output, `f(x) = κ W^L σ(W^{L−1} … σ(W¹ x))`, without biases.

    Attributes:
        weights: (K, m_l, m_{l−1}) of each layer; rates and results under the names "W1", "W2", ….
        scale: (K,), κ.

    Raises:
        InvalidInput: if the arrays do not fit each other.

    Source: docs/three-layer-regime.md.

    >>> ChainNets((torch.ones(2, 5, 3), torch.ones(2, 1, 5)), torch.ones(2)).sizes
    (3, 5, 1)
    """

    weights: tuple[Tensor, ...]
    scale: Float[Tensor, " k"]

    def __post_init__(self) -> None:
        shapes = [tuple(weight.shape) for weight in self.weights]
        stacked = len(shapes) > 1 and all(len(shape) == 3 and shape[0] == len(self.scale) for shape in shapes)
        fits = stacked and all(after[2] == before[1] for before, after in pairwise(shapes)) and shapes[-1][1] == 1
        require(fits, "layers are (K, m_l, m_{l−1}), the last m_l is 1, κ is (K,)", shapes, "pass a stack of chains")

    @property
    def sizes(self) -> tuple[int, ...]:
        """m_0 … m_L: inputs, hidden widths, 1."""
        return (self.weights[0].shape[2], *(weight.shape[1] for weight in self.weights))


@dataclass(frozen=True)
class Factors(Stacked):
    """All that gradients of chains need: inputs and output gradients of all layers, side by side.

    Attributes:
        rates: cη of the layers, for a loss c/2 ‖f − y‖².
        inputs: of sizes m_0, …, m_{L−1}.
        gradients: of f, of sizes m_1, …, m_L.
        sizes: m_0 … m_L.
    """

    rates: Float[Tensor, "k l"]
    inputs: Float[Tensor, "k n i"]
    gradients: Float[Tensor, "k n o"]
    sizes: tuple[int, ...]

    def pull(self, values: Values) -> Theta:
        """Return `c D Jᵀ v`."""
        pulled = values.new_empty(len(values), sum(before * after for before, after in pairwise(self.sizes)))
        for matrix, (rate, inputs, gradients) in zip(_matrices(pulled, self.sizes), self._layers(), strict=True):
            weighted = (rate * values)[:, :, None] * gradients
            matrix.baddbmm_(weighted.mT, inputs, beta=0)
        return pulled

    def push(self, theta: Theta) -> Values:
        """Return `J b`."""
        pairs = zip(_matrices(theta, self.sizes), self._layers(), strict=True)
        parts = [(torch.bmm(inputs, matrix.mT) * gradients).sum(2) for matrix, (_, inputs, gradients) in pairs]
        return torch.stack(parts).sum(0)

    def kernel(self) -> Float[Tensor, "k n n"]:
        """Return `c J D Jᵀ`."""
        parts = [
            rate[:, :, None] * torch.bmm(gradients, gradients.mT) * torch.bmm(inputs, inputs.mT)
            for rate, inputs, gradients in self._layers()
        ]
        return torch.stack(parts).sum(0)

    def _layers(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        rates, inputs = self.rates.split(1, 1), self.inputs.split(self.sizes[:-1], 2)
        return list(zip(rates, inputs, self.gradients.split(self.sizes[1:], 2), strict=True))


@dataclass(frozen=True)
class ChainLinearization(Linearization):
    """A linearization of chains."""

    factors: Factors

    def pull(self, values: Values) -> Theta:
        """Return `c D Jᵀ v`."""
        return self.factors.pull(values)

    def push(self, theta: Theta) -> Values:
        """Return `J b`."""
        return self.factors.push(theta)


class ChainField:
    """The right-hand side for chains."""

    def __init__(
        self,
        nets: ChainNets,
        data: tuple[Tensor, Tensor],
        loss: str,
        rates: Mapping[str, float | Tensor],
        dtype: torch.dtype,
    ) -> None:
        self._sizes = nets.sizes
        self.names = [f"W{place + 1}" for place in range(len(nets.weights))]
        self.shapes = [weight.shape[1:] for weight in nets.weights]
        ends = [0, *accumulate(shape.numel() for shape in self.shapes)]
        self.segments = [slice(start, end) for start, end in pairwise(ends)]
        self.layers = [(place,) for place in range(len(self.names))]
        self.start: Theta = torch.cat([weight.flatten(1) for weight in nets.weights], 1).to(dtype)
        self._x, self._y, self._scale = data[0].to(dtype), data[1].to(dtype), nets.scale.to(dtype)
        self._factor = SQUARED[loss] / len(self._x)
        self._rates = self._factor * rates_of(rates, self.names, len(nets.scale), dtype)

    def evaluate(self, theta: Theta, members: Members) -> Point:
        """Return loss and velocity."""
        factors, residual = self._at(theta, members)
        return self._point(theta, factors, residual)

    def linearize(self, theta: Theta, members: Members) -> Point:
        """Return loss, velocity and linearization."""
        factors, residual = self._at(theta, members)
        return self._point(theta, factors, residual, ChainLinearization(residual, factors.kernel(), factors))

    def _at(self, theta: Theta, members: Members) -> tuple[Factors, Values]:
        weights, scale = _matrices(theta, self._sizes), self._scale[members]
        inputs = [self._x.expand(len(theta), -1, -1)]
        for weight in weights[:-1]:
            inputs.append(torch.bmm(inputs[-1], weight.mT).clamp_(min=0))
        outputs = scale[:, None] * torch.bmm(inputs[-1], weights[-1].mT)[:, :, 0]
        gradients = [scale[:, None, None].expand(-1, len(self._x), 1)]
        for weight, features in zip(weights[:0:-1], inputs[:0:-1], strict=True):
            gradients.insert(0, torch.bmm(gradients[0], weight) * (features > 0))
        factors = Factors(self._rates[members], torch.cat(inputs, 2), torch.cat(gradients, 2), self._sizes)
        return factors, outputs - self._y

    def _point(
        self, theta: Theta, factors: Factors, residual: Values, linear: ChainLinearization | None = None
    ) -> Point:
        return Point(theta, self._factor / 2 * residual.square().sum(1), -factors.pull(residual), linear)


def chain_flow(
    nets: ChainNets,
    data: tuple[Tensor, Tensor],
    *,
    until: Stop | Sequence[Stop],
    method: Method,
    loss: str = "half_mse",
    rates: Mapping[str, float | Tensor] | None = None,
    most_steps: int = 100_000,
    dtype: torch.dtype = torch.float64,
) -> GradientFlow:
    """Return the gradient flow of chains, as `gradient_flow` does for modules.

    Args:
        nets: the networks at the start.
        data: samples (n, m_0) and targets (n,).
        until: when to stop.
        method: how to step.
        loss: "mse" or "half_mse".
        rates: η by layer ("W1", …), one number or one per member; 1 by default.
        most_steps: a limit on accepted steps.
        dtype: of weights and samples.

    Raises:
        InvalidInput: if rates or rules do not fit.

    Source: docs/three-layer-regime.md.

    >>> from cloudchamber.training.flow.exponential import Exponential
    >>> from cloudchamber.training.flow.stops import LossRatio
    >>> nets = ChainNets((torch.ones(1, 8, 1), torch.full((1, 1, 8), 0.1)), torch.ones(1))
    >>> samples = torch.ones(1, 1), torch.ones(1)
    >>> chain_flow(nets, samples, until=LossRatio(1e-4), method=Exponential(1e-4)).stopped
    ('loss_ratio',)
    """
    field = ChainField(nets, data, loss, rates or {}, dtype)
    count, size = field.start.shape
    nothing = torch.empty(0, dtype=torch.float64)
    parts = [
        integrate(field, field.start[part], part, method, all_stops(until, most_steps), Wanted(nothing, nothing))
        for part in torch.arange(count).split(max(1, _ELEMENTS // size))
    ]
    return assemble(parts, field.start, field.names, field.segments, field.shapes)


def _matrices(theta: Theta, sizes: Sequence[int]) -> list[Tensor]:
    """The weights of each layer, (K, m_l, m_{l−1}), as views."""
    shapes = [(after, before) for before, after in pairwise(sizes)]
    parts = theta.split([after * before for after, before in shapes], 1)
    return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]
