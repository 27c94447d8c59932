"""The tangent kernel of a model as its optimizer moves it, and the curvature of its loss by the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from cloudchamber._core.seeding import generator
from cloudchamber.measures import functional_kernel

Loss = Callable[[Tensor, Tensor], Tensor]
_SAMPLES, _DIRECTIONS, _NUMBERS = 16, 3, 10**8
"""of the kernel at most; and numbers of its Jacobian at most"""
_CURVED = 20
"""samples whose loss is differentiated twice"""


@dataclass(frozen=True)
class RateKernel:
    """`K(x, x') = Σ_θ η_θ ∂f/∂θ(x) ∂f/∂θ(x')` of some samples, along up to three directions of the outputs.

    Attributes:
        rates: η by the name of each parameter that moves.
        samples: x.
        directions: (k, q), orthonormal columns.
    """

    rates: Mapping[str, float]
    samples: Tensor
    directions: Float[Tensor, "k q"]

    @classmethod
    def of(
        cls, model: nn.Module, rates: Mapping[str, float], inputs: Tensor, outputs: Float[Tensor, "n k"]
    ) -> RateKernel:
        """Choose samples and directions: few enough for the Jacobian to fit."""
        moved = {name: rate for name, rate in rates.items() if rate > 0}
        kinds = outputs.shape[1]
        q = min(kinds, _DIRECTIONS)
        size = sum(value.numel() for name, value in model.named_parameters() if name in moved)
        samples = min(_SAMPLES, len(inputs), max(2, _NUMBERS // (q * max(size, 1))))
        drawn = torch.randn(kinds, q, generator=generator(0, "directions of outputs"))
        directions = torch.linalg.qr(drawn).Q if kinds > q else torch.eye(kinds)
        chosen = torch.linspace(0, len(inputs) - 1, samples).round().long()
        return cls(moved, inputs[chosen], directions.to(outputs))

    def __call__(self, model: nn.Module) -> Float[Tensor, "n n q q"]:
        """Return the kernel of a model as it is now, in evaluation."""
        held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        held = {name: value.detach() for name, value in held.items()}
        roots = {name: rate**0.5 for name, rate in self.rates.items()}
        units = {name: held[name] / root for name, root in roots.items()}

        def outputs(moved: dict[str, Tensor], samples: Tensor) -> Tensor:
            real = {name: root * moved[name] for name, root in roots.items()}
            return functional_call(model, {**held, **real}, (samples,)) @ self.directions

        was_training = model.training
        model.eval()
        try:
            return functional_kernel(outputs, units, self.samples, chunk_size=max(1, len(self.samples) // 2))
        finally:
            model.train(was_training)


def largest_rate(kernel: Float[Tensor, "n n q q"]) -> float:
    """Return the largest eigenvalue of K/n: how fast a gradient step moves the outputs, per curvature of the loss."""
    n, q = kernel.shape[0], kernel.shape[2]
    matrix = kernel.double().permute(0, 2, 1, 3).reshape(n * q, n * q)
    return float(torch.linalg.eigvalsh(matrix)[-1] / n) if bool(matrix.isfinite().all()) else float("nan")


def loss_curvature(loss: Loss, outputs: Float[Tensor, "n k"], targets: Tensor) -> Float[Tensor, "k k"]:
    """Return the second derivative of the loss by one sample's outputs, averaged over some samples."""
    some = [_hessian(loss, outputs[place], targets[place]) for place in range(min(len(outputs), _CURVED))]
    return torch.stack(some).mean(0)


def needed_change(loss: Loss, outputs: Float[Tensor, "n k"], targets: Tensor, most: float) -> Float[Tensor, "n k"]:
    """Return Newton's step of each sample's outputs, at most so long: what they still have to change by."""
    steps = []
    for output, target in zip(outputs, targets, strict=True):
        with torch.enable_grad():
            free = output.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(_single(loss, target)(free), free)
        steps.append(-torch.linalg.pinv(_hessian(loss, output, target).double()) @ slope.double())
    found = torch.stack(steps)
    longest = found.norm(dim=1, keepdim=True)
    return (found * (most / longest).clamp(max=1.0)).to(outputs)


def _hessian(loss: Loss, output: Float[Tensor, " k"], target: Tensor) -> Float[Tensor, "k k"]:
    return jacrev(jacrev(_single(loss, target)))(output.detach()).detach()


def _single(loss: Loss, target: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda output: loss(output[None], target[None]).sum()
