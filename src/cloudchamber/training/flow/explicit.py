"""Explicit steps of a gradient flow: Dormand–Prince 5(4), and Euler with the step that the kernel allows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.integrate import RK45

from cloudchamber._core.errors import require
from cloudchamber.training.flow.state import Field, Members, PerMember, Point, Theta, lengths, linear_at, relative


@dataclass(frozen=True)
class DormandPrince:
    """Dormand–Prince 5(4), with local extrapolation, for any loss.

    The step is such that the estimated error of each step is at most `tolerance` times the norm, of each parameter
    tensor. That bounds the error of one step, not of the whole flow: errors add up, and grow or shrink with the flow;
    tightening the tolerance tells. Stiffness (a late phase with fast directions that have converged) costs steps, not
    accuracy.

    Attributes:
        tolerance: of a step, relative to the norm of each parameter tensor.

    Raises:
        InvalidInput: if the tolerance is not in [1e-13, 1).

    Source: Dormand and Prince (1980), coefficients from SciPy.

    >>> DormandPrince(1e-8).tolerance
    1e-08
    """

    tolerance: float = 1e-6
    order = 4

    def __post_init__(self) -> None:
        require_tolerance(self.tolerance)

    def look(self, field: Field, theta: Theta, members: Members) -> Point:
        """Return loss and velocity."""
        return field.evaluate(theta, members)

    def advance(self, field: Field, point: Point, size: PerMember, members: Members) -> tuple[Point, PerMember]:
        """Return the point one step further, and its estimated error in units of the tolerance."""
        like, h = point.theta, size.to(point.theta)[:, None]
        slopes = like.new_empty(7, *like.shape)
        slopes[0] = point.velocity
        for stage, row in enumerate(like.new_tensor(RK45.A)[1:], start=1):
            slopes[stage] = field.evaluate(like + h * _combined(row[:stage], slopes), members).velocity
        reached = field.evaluate(like + h * _combined(like.new_tensor(RK45.B), slopes), members)
        slopes[6] = reached.velocity
        error = h * _combined(like.new_tensor(RK45.E), slopes)
        return reached, relative(error, like, reached.theta, field.segments) / self.tolerance

    def limit(self, field: Field, point: Point) -> PerMember:  # noqa: ARG002
        """No limit but the error."""
        return torch.full((len(point.theta),), torch.inf, dtype=torch.float64)


@dataclass(frozen=True)
class KernelEuler:
    """Euler steps of the size that the tangent kernel and the speed allow, for a squared loss.

    `η = min(stability / λ_max(K), change / v)`, `v = max ‖θ̇_p‖/‖θ_p‖` over layers, a bias taken together with
    its weight: plateaus near a saddle cost no more steps than steep parts. Gradient descent with a step of its own at
    each update: first order, with no estimate of its error; halve both numbers to see it.

    Attributes:
        stability: part of 1/λ_max; below 2 the linearized residual does not grow.
        change: relative change of any layer in a step.

    Raises:
        InvalidInput: if a number is out of its range.

    Source: overview2025, Section 5, in physical time.

    >>> KernelEuler(change=0.01).stability
    0.5
    """

    stability: float = 0.5
    change: float = 0.05
    order = 1

    def __post_init__(self) -> None:
        valid = 0 < self.stability < 2 and 0 < self.change < 1
        require(valid, "`stability` is in (0, 2), `change` in (0, 1)", (self.stability, self.change), "use 0.5, 0.05")

    def look(self, field: Field, theta: Theta, members: Members) -> Point:
        """Return loss, velocity and kernel."""
        return field.linearize(theta, members)

    def advance(self, field: Field, point: Point, size: PerMember, members: Members) -> tuple[Point, PerMember]:
        """Return the point one step further; its error is not estimated."""
        theta = point.theta + size.to(point.theta)[:, None] * point.velocity
        return field.linearize(theta, members), torch.zeros_like(size)

    def limit(self, field: Field, point: Point) -> PerMember:
        """Return η."""
        stiffest = torch.linalg.eigvalsh(linear_at(point).kernel.to(torch.float64))[:, -1]
        speed = _by_layer(point.velocity, field) / _by_layer(point.theta, field)
        return torch.minimum(self.stability / stiffest, self.change / speed.nan_to_num(nan=0.0, posinf=0.0).amax(1))


def _by_layer(theta: Theta, field: Field) -> torch.Tensor:
    """The norm of each layer's parameters."""
    squares = lengths(theta, field.segments).square()
    return torch.stack([squares[:, list(layer)].sum(1) for layer in field.layers], 1).sqrt()


def require_tolerance(tolerance: float) -> None:
    """Raise unless a tolerance can be met.

    Raises:
        InvalidInput: if it is not between 1e-13 and 1.
    """
    require(1e-13 <= tolerance < 1, "`tolerance` is in [1e-13, 1)", tolerance, "use 1e-6")


def _combined(coefficients: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    return torch.tensordot(coefficients, slopes[: len(coefficients)], 1)
