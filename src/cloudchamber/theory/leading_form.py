"""The leading order of the direction field near 0: a homogeneous form, and its derivatives.

`φ(w) = Σ_i c_i (w·x_i)^p` with `c_i = −σ^(p)(0)/p! · e_i/n`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.theory.field_data import samples
from cloudchamber.theory.multiplicity import Multiplicity, leading_order

_BLOCK = 2**22

Points = Float[Tensor, "m d"]


@dataclass(frozen=True)
class LeadingForm:
    """A homogeneous form of degree `order`, as a weighted sum of powers of linear functions.

    Attributes:
        inputs: (n, d), x_i.
        weights: (n,), c_i.
        order: p.

    >>> LeadingForm(torch.eye(2), torch.tensor([1.0, 2.0]), 3).values(torch.ones(1, 2))
    tensor([3.])
    """

    inputs: Float[Tensor, "n d"]
    weights: Float[Tensor, " n"]
    order: int

    @property
    def dimension(self) -> int:
        """The dimension d of the weights."""
        return self.inputs.shape[1]

    @cached_property
    def scale(self) -> float:
        """`Σ |c_i| ‖x_i‖^p`, which no value on the unit sphere exceeds."""
        return float((self.weights.abs() * torch.linalg.vector_norm(self.inputs, dim=1) ** self.order).sum())

    def values(self, points: Points) -> Float[Tensor, " m"]:
        """Return φ."""
        return self._blockwise(points, lambda z: z**self.order @ self.weights)

    def gradients(self, points: Points) -> Points:
        """Return ∇φ."""
        power = self.order - 1
        return self._blockwise(points, lambda z: self.order * (z**power * self.weights) @ self.inputs)

    def hessians(self, points: Points) -> Float[Tensor, "m d d"]:
        """Return ∇²φ."""
        factor = self.order * (self.order - 1)
        powers = (points @ self.inputs.T) ** max(self.order - 2, 0) * self.weights * factor
        return torch.stack([(self.inputs.T * row) @ self.inputs for row in powers])

    def seen_in(self, basis: Float[Tensor, "d r"]) -> LeadingForm:
        """Return the same form of the coordinates in an orthonormal basis of a subspace."""
        return LeadingForm(self.inputs @ basis, self.weights, self.order)

    def normalized(self) -> tuple[LeadingForm, float]:
        """Return the form of scale 1 that is proportional to this one, and the factor; itself if it is zero."""
        longest = float(torch.linalg.vector_norm(self.inputs, dim=1).amax())
        largest = float(self.weights.abs().amax())
        if not longest or not largest:
            return self, 1.0
        unit = LeadingForm(self.inputs / longest, self.weights / largest, self.order)
        factor = largest * longest**self.order * unit.scale
        rule = "the leading order is within the range of float64"
        require(math.isfinite(factor) and factor > 0, rule, factor, "rescale the inputs or the residuals")
        return LeadingForm(unit.inputs, unit.weights / unit.scale, self.order), factor

    def _blockwise(self, points: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        blocks = points.split(max(1, _BLOCK // len(self.inputs)))
        return torch.cat([function(block @ self.inputs.T) for block in blocks])


def leading_form(
    inputs: Float[Tensor, "n d"],
    residuals: Float[Tensor, " n"],
    multiplicity: int | Multiplicity,
    coefficient: float | None = None,
) -> LeadingForm:
    """Return φ of zhou2022, Section 5, in float64, from checked samples.

    Raises:
        InvalidInput: if the samples do not fit or are not finite, or there is no multiplicity.
    """
    rows, errors = samples(inputs, residuals)
    order, factor = leading_order(multiplicity, coefficient)
    return LeadingForm(rows, -factor / len(rows) * errors, order)
