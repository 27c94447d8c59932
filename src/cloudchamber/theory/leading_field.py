"""The leading order of the direction field for small weights, and what follows from it for norms and orientations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber.theory.field_data import one_each, points_of
from cloudchamber.theory.leading_form import leading_form
from cloudchamber.theory.multiplicity import Multiplicity

Points = Float[Tensor, "m d"]
Inputs = Float[Tensor, "n d"]
Residuals = Float[Tensor, " n"]
PerPoint = Float[Tensor, " m"]


class SplitVelocity(NamedTuple):
    """How fast the norm of each neuron grows (m,), and its orientation turns (m, d), in radians per time."""

    radial: Tensor
    angular: Tensor


def leading_potential(
    points: Points,
    inputs: Inputs,
    residuals: Residuals,
    multiplicity: int | Multiplicity,
    *,
    coefficient: float | None = None,
) -> PerPoint:
    """Return the leading order of the potential, `φ(ω) = −σ^(p)(0)/p! · (1/n) Σ e_i (ω·x_i)^p`.

    `Φ(ω) = −σ(0) mean(e) + φ(ω) + O(|ω|^{p+1})`.

    Args:
        points: (m, d), ω.
        inputs: (n, d), x_i.
        residuals: (n,), e_i = f(x_i) − y_i.
        multiplicity: p, or what `multiplicity` returns for the activation.
        coefficient: `σ^(p)(0)/p!` where p is a number; 1 by default.

    Returns:
        (m,), φ in float64.

    Raises:
        InvalidInput: if shapes do not fit, there is no multiplicity, or inputs or residuals hold NaN or infinity.

    Source: zhou2022, Section 5, Eq. (7).

    >>> leading_potential(torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([-3.0]), 2)
    tensor([12.], dtype=torch.float64)
    """
    form = leading_form(inputs, residuals, multiplicity, coefficient)
    return form.values(points_of(points, form.dimension))


def leading_direction_field(
    points: Points,
    inputs: Inputs,
    residuals: Residuals,
    multiplicity: int | Multiplicity,
    *,
    coefficient: float | None = None,
) -> Points:
    """Return the leading order of the direction field, `∇φ(ω) = −σ^(p)(0)/(p−1)! · (1/n) Σ e_i x_i (ω·x_i)^{p−1}`.

    Args:
        points: (m, d), ω.
        inputs: (n, d), x_i.
        residuals: (n,), e_i = f(x_i) − y_i.
        multiplicity: p, or what `multiplicity` returns for the activation.
        coefficient: `σ^(p)(0)/p!` where p is a number; 1 by default.

    Returns:
        (m, d), in float64.

    Raises:
        InvalidInput: if shapes do not fit, there is no multiplicity, or inputs or residuals hold NaN or infinity.

    Source: zhou2022, Section 5, Eq. (7).

    >>> leading_direction_field(torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([-3.0]), 2)
    tensor([[12.]], dtype=torch.float64)
    """
    form = leading_form(inputs, residuals, multiplicity, coefficient)
    return form.gradients(points_of(points, form.dimension))


def leading_order_velocity(
    weights: Points,
    output_weights: PerPoint,
    inputs: Inputs,
    residuals: Residuals,
    multiplicity: int | Multiplicity,
    *,
    coefficient: float | None = None,
) -> Points:
    """Return the velocity of the input weights of neurons to leading order, `ẇ_j = a_j ∇φ(w_j)`.

    Args:
        weights: (m, d), w_j.
        output_weights: (m,), a_j.
        inputs: (n, d), x_i.
        residuals: (n,), e_i = f(x_i) − y_i.
        multiplicity: p, or what `multiplicity` returns for the activation.
        coefficient: `σ^(p)(0)/p!` where p is a number; 1 by default.

    Returns:
        (m, d), in float64. (Of the output weights it is `ȧ_j = φ(w_j) − σ(0) mean(e)`.)

    Raises:
        InvalidInput: if shapes do not fit, there is no multiplicity, or inputs or residuals hold NaN or infinity.

    Source: zhou2022, Section 5, Eq. (10).

    >>> w, a = torch.tensor([[2.0]]), torch.tensor([0.5])
    >>> leading_order_velocity(w, a, torch.tensor([[1.0]]), torch.tensor([-3.0]), 2)
    tensor([[6.]], dtype=torch.float64)
    """
    field = leading_direction_field(weights, inputs, residuals, multiplicity, coefficient=coefficient)
    return one_each(output_weights, len(field), "output_weights").to(field.device)[:, None] * field


def split_velocity(weights: Points, velocities: Points) -> SplitVelocity:
    """Return how fast the norm and the orientation of each neuron move: `ṙ = u·ẇ`, `u̇ = (ẇ − (ẇ·u)u)/r`.

    With w = ru. For small r the orientation moves first: `u̇` is `O(1/r)` times the velocity.

    Args:
        weights: (m, d), w.
        velocities: (m, d), ẇ.

    Returns:
        `radial` (m,), ṙ, and `angular` (m, d), u̇, in float64; NaN for a zero vector, which has no orientation.

    Raises:
        InvalidInput: if the shapes differ or are not those of a matrix.

    Source: zhou2022, Eq. (8), Eq. (34) and Eq. (35).

    >>> split_velocity(torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 4.0]])).angular
    tensor([[0., 2.]], dtype=torch.float64)
    """
    exact_weights = points_of(weights, weights.shape[-1] if weights.ndim else 0, "weights")
    moving = points_of(velocities, exact_weights.shape[1], "velocities")
    require(len(moving) == len(exact_weights), "`velocities` has a row for each neuron", len(moving), "pass as many")
    norm = torch.linalg.vector_norm(exact_weights, dim=1)
    unit = exact_weights / norm[:, None]
    radial = (unit * moving).sum(1)
    return SplitVelocity(radial, (moving - radial[:, None] * unit) / norm[:, None])


def conserved_quantity(weights: Points, output_weights: PerPoint, multiplicity: int | Multiplicity) -> PerPoint:
    """Return `‖w‖² − p a²` of each neuron, which gradient flow conserves at leading order if σ(0) = 0.

    `w·ẇ = a w·∇φ = p a φ(w)` as φ is homogeneous, and `a ȧ = a φ(w)`. So a neuron of small output weight passes through
    a = 0 rather than w = 0 where this is positive: its a can change sign, its w cannot vanish.

    Args:
        weights: (m, d), w.
        output_weights: (m,), a.
        multiplicity: p, or what `multiplicity` returns for the activation.

    Returns:
        (m,), in float64.

    Raises:
        InvalidInput: if shapes do not fit or there is no multiplicity.

    Source: zhou2022, Eq. (10) (the consequence is ours).

    >>> conserved_quantity(torch.tensor([[3.0, 4.0]]), torch.tensor([2.0]), 3)
    tensor([13.], dtype=torch.float64)
    """
    order = multiplicity.order if isinstance(multiplicity, Multiplicity) else multiplicity
    if order is None or order < 1:
        raise InvalidInput(f"there is a multiplicity of at least 1; got {order}. Remedy: use a smooth activation.")
    rows = points_of(weights, weights.shape[-1] if weights.ndim else 0, "weights")
    outputs = one_each(output_weights, len(rows), "output_weights").to(rows.device)
    return rows.square().sum(1) - order * outputs.square()
