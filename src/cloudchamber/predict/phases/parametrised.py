"""The phase of a network as it is parametrised: by initialization, output scale and learning rates at its width."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cloudchamber.predict.phases.kernels import Loss, loss_curvature, needed_change
from cloudchamber.theory import LinearModel
from cloudchamber.training.ensemble.dense.activations import TANHS, Elementwise
from cloudchamber.training.ensemble.dense.chain import DenseChain, dense_chain
from cloudchamber.training.ensemble.dense.stages import Affine

PhaseName = Literal["kernel", "learning", "frozen", "unstable", "cannot tell"]

KERNEL_DRIFT = 0.1
"""A kernel that moves by less than this part of itself, while the network learns, counts as one that stays."""
UNSTABLE_SPEED = 2.0
"""Gradient descent overshoots more each time where rate times curvature is above this."""
MOST_CHANGE = 3.0
"""What outputs have to change by is at most this: a cross entropy is never done."""


@dataclass(frozen=True)
class LineStart:
    """A network with one hidden layer as the linear network on the line along which it first learns.

    Attributes:
        model: u = Uᵀc, w = W v, with v and c the directions of inputs and outputs along which most is to be learned.
        width: of the hidden layer.
        gain: mean slope of the activation, part of γ.
    """

    model: LinearModel
    width: int
    gain: float

    @property
    def drift(self) -> float:
        """`K(∞)/K(0) − 1`: `√(1 + (y² − f(0)²)/(s(P + Q))²) − 1`."""
        ratio = self.model.kernel(math.inf) / self.model.kernel(0.0)
        return float(ratio) - 1

    @property
    def learning_time(self) -> float:
        """t_c in updates."""
        return float(self.model.learning_time)

    @property
    def terms(self) -> tuple[float, float]:
        """The two terms of 1/t_c²: feature learning, kernel."""
        learning, kernel = self.model.learning_terms
        return float(learning), float(kernel)

    @property
    def alignment(self) -> tuple[float, float]:
        """ζ at the start and in the end."""
        return float(self.model.layer_alignment(0.0)), float(self.model.layer_alignment(math.inf))


@dataclass(frozen=True)
class Parametrised:
    """The phase before any step.

    Attributes:
        name: "unstable" if a step overshoots, "frozen" if the planned steps are fewer than the learning time, else
            "kernel" or "learning" by the kernel's change that theory says; "cannot tell" of networks that have not one
            hidden layer.
        speed: learning rate times the largest curvature along the kernel; 2 is the limit of stable steps; NaN for
            optimizers that divide by the gradient's size.
        learning_time: in updates.
        line: the network as theory sees it; None if it has not one hidden layer, or another optimizer than SGD.
    """

    name: PhaseName
    speed: float
    learning_time: float
    line: LineStart | None


def parametrised(line: LineStart | None, speed: float, steps: int) -> Parametrised:
    """Return the phase as parametrised, for so many planned steps."""
    time = 1 / speed if line is None else line.learning_time
    name: PhaseName = "cannot tell" if line is None else "kernel" if abs(line.drift) < KERNEL_DRIFT else "learning"
    if speed > UNSTABLE_SPEED:
        name = "unstable"
    elif time > steps:
        name = "frozen"
    return Parametrised(name, speed, time, line)


def line_start(
    model: nn.Module, rates: Mapping[str, float], probe: tuple[Tensor, Tensor], loss: Loss
) -> LineStart | None:
    """Return a network with one hidden layer as theory sees it; None for others, and where nothing is to be learned."""
    chain = dense_chain(model)
    if not isinstance(chain, DenseChain) or len(chain.affine) != 2:
        return None
    lower, upper = chain.affine
    weights = dict(model.named_parameters())
    W, U = (weights[stage.weight].detach().double() for stage in (lower, upper))
    rate_w, rate_u = (rates.get(stage.weight, 0.0) for stage in (lower, upper))
    with torch.no_grad():
        outputs = model(probe[0])
    change = needed_change(loss, outputs, probe[1], MOST_CHANGE).double()
    v, c, place, target = _line(probe[0].flatten(1).double(), change, outputs.double())
    rho = float(place.square().mean().sqrt())
    curvature = float(c @ loss_curvature(loss, outputs, probe[1]).double() @ c)
    if not min(rho, rate_w, rate_u, curvature) > 0:
        return None
    gain = _gain(chain, dict(model.named_buffers()), weights, probe[0])
    exact = LinearModel.from_weights(
        U.T @ c,
        W,
        v,
        y=float((place * target).mean()) / rho,
        rho=rho,
        gamma=gain * _output_scale(chain, dict(model.named_buffers())),
        rate_u=rate_u * curvature,
        rate_w=rate_w * curvature,
        loss="half_mean_square",
    )
    return LineStart(exact, len(W), gain)


def _line(
    inputs: Float[Tensor, "n d"], change: Float[Tensor, "n k"], outputs: Float[Tensor, "n k"]
) -> tuple[Float[Tensor, " d"], Float[Tensor, " k"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the directions v of inputs and c of outputs along which most is to be learned, and both along them.

    They are the leading singular directions of `E (x − x̄)(δ − δ̄)ᵀ`, δ what outputs have to change by: what all samples
    have in common does not tell them apart. Of samples that are all alike it is their own line.
    """
    alike = len(inputs) == 1 or bool((inputs == inputs[0]).all())
    x, delta, f = (part if alike else part - part.mean(0) for part in (inputs, change, outputs))
    U, _, Vh = torch.linalg.svd(x.T @ delta / len(x), full_matrices=False)
    v, c = U[:, 0], Vh[0]
    return v, c, x @ v, (f + delta) @ c


def _output_scale(chain: DenseChain, buffers: Mapping[str, Tensor]) -> float:
    return math.prod(float(buffers[name]) for name in chain.fixed)


@torch.no_grad()
def _gain(chain: DenseChain, buffers: Mapping[str, Tensor], weights: Mapping[str, Tensor], inputs: Tensor) -> float:
    """Return the mean slope of the functions between both layers, over neurons and samples."""
    hidden, gain = inputs.flatten(1).T[None], torch.ones(1, 1, 1)
    for stage in chain.stages:
        if isinstance(stage, Affine):
            if stage is chain.affine[1]:
                break
            bias = 0.0 if stage.bias is None else weights[stage.bias][:, None]
            hidden = weights[stage.weight] @ hidden + bias
            gain = torch.ones_like(hidden)
        elif isinstance(stage, Elementwise):
            value, kept = stage.value(hidden, TANHS["exact"])
            gain, hidden = stage.pull(gain.expand_as(value).contiguous(), *kept), value
        else:
            hidden = buffers[stage.name] * hidden
    return float(gain.double().mean())
