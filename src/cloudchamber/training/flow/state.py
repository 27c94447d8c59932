"""What a gradient flow holds while it runs, for all members of a stack at once, and what its parts promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Theta = Float[Tensor, "k p"]
PerMember = Float[Tensor, " k"]
Values = Float[Tensor, "k v"]
Members = Int[Tensor, " k"]
_S = TypeVar("_S", bound="Stacked")


@dataclass(frozen=True)
class Stacked:
    """Tensors with the members as their first axis."""

    def take(self: _S, chosen: Tensor) -> _S:
        """Return the chosen members only."""
        return replace(
            self,
            **{name: value[chosen] for name, value in self._tensors().items()},
            **{name: value.take(chosen) for name, value in self._parts().items()},
        )

    def merge(self: _S, changed: Bool[Tensor, " k"], other: _S) -> _S:
        """Return the changed members from `other`, the rest from here."""
        if bool(changed.all()):
            return other
        tensors = {
            name: torch.where(_like(changed, value), getattr(other, name), value)
            for name, value in self._tensors().items()
        }
        parts = {name: value.merge(changed, getattr(other, name)) for name, value in self._parts().items()}
        return replace(self, **tensors, **parts)

    def _tensors(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def _parts(self) -> dict[str, Stacked]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Stacked)}


def _like(mask: Tensor, value: Tensor) -> Tensor:
    return mask.reshape(-1, *[1] * (value.ndim - 1))


@dataclass(frozen=True)
class Linearization(Stacked):
    """A model with a squared loss, linearized: with J = ∂f/∂θ, rates D and `R = c/2 ‖f − y‖²`.

    Attributes:
        residual: e = f − y, all outputs of all samples.
        kernel: `K = c J D Jᵀ`: residuals follow `ė = −K e` as long as J stays.
    """

    residual: Values
    kernel: Float[Tensor, "k v v"]

    def pull(self, values: Values) -> Theta:
        """Return `c D Jᵀ v`; the velocity is that of −e."""
        raise NotImplementedError

    def push(self, theta: Theta) -> Values:
        """Return `J b`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Point(Stacked):
    """Where members are, and where they head.

    Attributes:
        theta: parameters.
        loss: R.
        velocity: θ̇ = −D ∇R.
        linear: the linearization there, for the methods that use one.
    """

    theta: Theta
    loss: PerMember
    velocity: Theta
    linear: Linearization | None = None


def linear_at(point: Point) -> Linearization:
    """Return the linearization that a method has put into its points."""
    if point.linear is None:
        raise TypeError("the point was evaluated, not linearized")
    return point.linear


@runtime_checkable
class Field(Protocol):
    """The right-hand side of a gradient flow, for a stack of models."""

    @property
    def segments(self) -> Sequence[slice]:
        """Where each parameter tensor lies in θ."""
        ...

    @property
    def layers(self) -> Sequence[Sequence[int]]:
        """Which parameter tensors form a layer: a bias goes with its weight."""
        ...

    def evaluate(self, theta: Theta, members: Members) -> Point:
        """Return loss and velocity."""
        ...

    def linearize(self, theta: Theta, members: Members) -> Point:
        """Return loss, velocity and linearization."""
        ...


@runtime_checkable
class Method(Protocol):
    """A way to take one step of a gradient flow.

    Attributes:
        order: the local error of a step is of this order plus one; what the step's size is controlled by.
    """

    order: int

    def look(self, field: Field, theta: Theta, members: Members) -> Point:
        """Return what the method needs to know of a point."""
        ...

    def advance(self, field: Field, point: Point, size: PerMember, members: Members) -> tuple[Point, PerMember]:
        """Return the point one step further, and its estimated error in units of what is tolerated."""
        ...

    def limit(self, field: Field, point: Point) -> PerMember:
        """Return the largest step that may be tried."""
        ...


def lengths(theta: Theta, segments: Sequence[slice]) -> Float[Tensor, "k s"]:
    """Return the norm of each parameter tensor of each member, in float64."""
    norms = [torch.linalg.vector_norm(theta[:, segment], dim=1) for segment in segments]
    return torch.stack(norms, 1).to(torch.float64)


def relative(change: Theta, before: Theta, after: Theta, segments: Sequence[slice]) -> PerMember:
    """Return the largest, over parameter tensors, of `‖change‖ / max(‖before‖, ‖after‖)`; 0/0 is 0."""
    size = torch.maximum(lengths(before, segments), lengths(after, segments))
    moved = lengths(change, segments)
    return torch.where(moved == 0, 0.0, moved / size).amax(1)
