"""Critical points of a loss: how close a point is to one, and the way to the nearest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, jacrev

from cloudchamber._core.errors import require

Loss = Callable[[Tensor], Tensor]
Parameters = Float[Tensor, " P"]

_DAMPINGS = tuple(10.0**power for power in range(-2, 13, 2))


@dataclass(frozen=True)
class CriticalPoint:
    """A point at which the search for a critical point ended.

    Attributes:
        theta: (P,), its parameters.
        loss: the loss there.
        gradient_norm: ‖∇R‖ there.
        steps: how many steps led to it.
        converged: whether the gradient norm is within the tolerance.
    """

    theta: Parameters
    loss: float
    gradient_norm: float
    steps: int
    converged: bool


def gradient_norm(loss: Loss, theta: Parameters) -> float:
    """Return `‖∇R(θ)‖`, in float64.

    Args:
        loss: R, of parameters (P,), one number.
        theta: (P,), θ.

    Raises:
        InvalidInput: if `theta` is not a floating-point vector.

    >>> gradient_norm(lambda theta: theta.square().sum(), torch.tensor([3.0, 4.0]))
    10.0
    """
    return float(torch.linalg.vector_norm(grad(loss)(exact(theta))))


def polish(loss: Loss, theta: Parameters, *, tolerance: float = 1e-12, steps: int = 200) -> CriticalPoint:
    """Return the critical point that damped Newton steps lead to: a minimum, a saddle or a maximum.

    `δ = −(H² + μ)⁻¹ H ∇R` with `μ ∝ ‖∇R‖²`: descends ‖∇R‖², not R, so that it stays near a saddle; exact in the limit
    even where H is singular, as it is at every embedded critical point.

    Args:
        loss: R, of parameters (P,), one number, twice differentiable.
        theta: (P,), where to start; close to a critical point if that one is wanted.
        tolerance: of the gradient norm.
        steps: at most so many; each takes the eigenvectors of a P × P matrix.

    Returns:
        Where it ended, converged or not: it may end where ‖∇R‖ has a local minimum, or run to infinity.

    Raises:
        InvalidInput: if `theta` is not a floating-point vector, or `steps` is negative.

    Source: Levenberg–Marquardt on the gradient.

    >>> polish(lambda theta: theta[0] ** 2 - theta[1].cos(), torch.tensor([1.0, 3.0])).theta.round(decimals=6)
    tensor([0.0000, 3.1416], dtype=torch.float64)
    """
    require(steps >= 0, "`steps` is not negative", steps, "use 200")
    point, slope, curvature = exact(theta), grad(loss), jacrev(grad(loss))
    gradient = slope(point)
    taken = 0
    while taken < steps and not float(gradient.norm()) <= tolerance:
        values, vectors = torch.linalg.eigh(_symmetric(curvature(point)))
        found = _better(slope, point, gradient, values, vectors)
        if found is None:
            break
        point, gradient = found
        taken += 1
    size = float(gradient.norm())
    return CriticalPoint(point, float(loss(point)), size, taken, size <= tolerance)


def exact(theta: Tensor) -> Parameters:
    """Return a parameter vector in float64, apart from any graph.

    Raises:
        InvalidInput: if it is not a floating-point vector.
    """
    fits = theta.ndim == 1 and theta.is_floating_point() and len(theta) > 0
    require(fits, "`theta` is a vector of floating-point numbers", (theta.dtype, tuple(theta.shape)), "flatten it")
    return theta.detach().to(torch.float64)


def _symmetric(matrix: Tensor) -> Tensor:
    finite = torch.nan_to_num(matrix, nan=0.0, posinf=0.0, neginf=0.0)
    return (finite + finite.T) / 2


def _better(
    slope: Callable[[Tensor], Tensor], point: Tensor, gradient: Tensor, values: Tensor, vectors: Tensor
) -> tuple[Tensor, Tensor] | None:
    """The first trial step, from bold to timid, that makes the gradient smaller."""
    along, size = vectors.T @ gradient, gradient.norm()
    for damping in (0.0, *_DAMPINGS):
        mu = damping * size**2
        inverse = values / (values.square() + mu)
        inverse = torch.where(values.abs() > 1e-13 * values.abs().max(), inverse, 0.0)
        trial = point - vectors @ (inverse * along)
        there = slope(trial)
        if there.norm() < size:
            return trial, there
    return None
