"""How close trained neurons are to the directions that are predicted to attract them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cloudchamber.theory.condensed_directions import CondensedDirections
from cloudchamber.theory.field_data import one_each, points_of


@dataclass(frozen=True)
class AttractorMatches:
    """The attractor next to each neuron, among those for the current sign of its output weight.

    Attributes:
        degrees: (m,), the angle to it, from 0 to 180; NaN where a neuron has no orientation (zero, NaN or infinite), no
            sign (a = 0 or NaN), or no attractor is known for its sign.
        index: (m,), which row of `directions` it is; −1 where `degrees` is NaN. Of a subspace the row that is closest.

    >>> from cloudchamber.theory import condensed_directions
    >>> found = condensed_directions(torch.eye(2), torch.tensor([-2.0, 0.0]), 1)
    >>> match_attractors(torch.tensor([[1.0, 1.0]]), torch.tensor([-1.0]), found)
    AttractorMatches(degrees=tensor([135.], dtype=torch.float64), index=tensor([1]))
    """

    degrees: Float[Tensor, " m"]
    index: Int[Tensor, " m"]

    def share_within(self, degrees: float, among: Bool[Tensor, " m"] | None = None) -> float:
        """Return the share of neurons (all, or those `among`) within an angle of their attractor.

        Neurons without a match count as not within; NaN if there is no neuron.
        """
        chosen = self.degrees if among is None else self.degrees[among]
        return float((chosen <= degrees).double().mean()) if len(chosen) else torch.nan


def match_attractors(
    weights: Float[Tensor, "m d"],
    output_weights: Float[Tensor, " m"],
    directions: CondensedDirections,
    *,
    growing: bool = False,
) -> AttractorMatches:
    """Return the angle from each neuron to the nearest direction that attracts the current sign of its output weight.

    The current sign, because a small output weight can change sign on the way (`conserved_quantity`). Directions of a
    critical subspace attract as a whole: the angle is that to the subspace. Saddles and degenerate directions are no
    attractors; with p > 1 neurons move in them for long, and are far from every attractor.

    Args:
        weights: (m, d), w, with the bias as a last entry if the directions have it.
        output_weights: (m,), a; in a deeper layer what `effective_residuals` returns.
        directions: the prediction for the inputs and residuals of these neurons.
        growing: whether to count only attractors at which neurons grow.

    Returns:
        Angles in degrees, and which directions they are to.

    Raises:
        InvalidInput: if the shapes do not fit.

    Source: zhou2022, Section 5.

    >>> from cloudchamber.theory import condensed_directions
    >>> found = condensed_directions(torch.eye(2), torch.tensor([-2.0, 0.0]), 1)
    >>> match_attractors(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.ones(2), found).degrees
    tensor([0., nan], dtype=torch.float64)
    """
    rows = points_of(weights, directions.directions.shape[1], "weights").to(directions.directions.device)
    outputs = one_each(output_weights, len(rows), "output_weights").to(rows.device)
    units = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    degrees, index = rows.new_full((len(rows),), torch.nan), torch.full((len(rows),), -1, device=rows.device)
    for sign in (1, -1):
        chosen = (outputs * sign > 0) & units.isfinite().all(1)
        candidates = directions.attracts(sign, growing=growing).nonzero()[:, 0]
        if len(candidates) and bool(chosen.any()):
            angles = _angles(units[chosen], directions, candidates)
            degrees[chosen], nearest = torch.rad2deg(angles).min(1)
            index[chosen] = candidates[nearest]
    return AttractorMatches(degrees, index)


def _angles(units: Tensor, directions: CondensedDirections, candidates: Tensor) -> Tensor:
    """Angles from neurons to candidates: to the whole subspace for a row whose direction is the closest of it."""
    axes, subspaces = directions.directions[candidates], directions.subspaces[candidates]
    angles = _angle_between(units, axes)
    for number in subspaces[subspaces >= 0].unique().tolist():
        members = (subspaces == number).nonzero()[:, 0]
        basis = axes[members[::2]]
        part = units @ basis.T
        away = torch.linalg.vector_norm(units - part @ basis, dim=1)
        angle = torch.atan2(away, torch.linalg.vector_norm(part, dim=1))
        best = angles[:, members].argmin(1)
        angles[:, members] = torch.inf
        angles[torch.arange(len(units), device=units.device), members[best]] = angle
    return angles


def _angle_between(units: Tensor, axes: Tensor) -> Tensor:
    """`2 atan2(‖u − v‖, ‖u + v‖)`, exact also where the cosine is ±1 to rounding."""
    differences = torch.cdist(units, axes, compute_mode="donot_use_mm_for_euclid_dist")
    sums = torch.cdist(units, -axes, compute_mode="donot_use_mm_for_euclid_dist")
    return 2 * torch.atan2(differences, sums)
