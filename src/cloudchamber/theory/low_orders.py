"""Critical directions in closed form: p = 1, p = 2, and inputs on one line."""

from __future__ import annotations

import torch
from torch import Tensor

from cloudchamber.theory.critical_directions import DirectionKind, Lines
from cloudchamber.theory.leading_form import LeadingForm

_ZERO = 1e-13
_EQUAL = 1e-10


def gradient_line(form: LeadingForm) -> Lines | None:
    """Return the one line of p = 1, `u = ∇φ/‖∇φ‖`; None if φ = 0.

    Every neuron with a > 0 ends at u, also where d = 1: it passes through w = 0, where ∇φ does not vanish.
    """
    slope = form.weights @ form.inputs
    size = torch.linalg.vector_norm(slope)
    if size <= _ZERO * form.scale:
        return None
    curvature = -size if form.dimension > 1 else size.new_tensor(torch.nan)
    return _single((slope / size)[None], size, curvature, "positive", 1.0)


def input_line(form: LeadingForm) -> Lines | None:
    """Return the two directions of a form of one variable as a line; None if φ = 0.

    A neuron with p ≥ 2 cannot pass through w = 0 and stays on its side.
    """
    direction = form.inputs.new_ones(1, 1)
    value = form.values(direction)[0]
    if value.abs() <= _ZERO * form.scale:
        return None
    return _single(direction, value, value.new_tensor(torch.nan), "both", 0.5)


def eigenvector_lines(form: LeadingForm) -> Lines | None:
    """Return the eigenvectors of `A = −σ''(0)/2 · (1/n) Σ e_i x_i x_iᵀ` (p = 2); None if φ is constant.

    a > 0 goes to the largest eigenvalue of A, a < 0 to the smallest; eigenvalues that agree to 1e-10 of the largest in
    size share a subspace, all of which is critical, and attracts as a whole.
    """
    matrix = (form.inputs.T * form.weights) @ form.inputs
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    close = _EQUAL * values.abs().amax()
    if values.abs().amax() <= _ZERO * form.scale or (len(values) > 1 and values[-1] - values[0] <= close):
        return None
    group = torch.cat([values.new_zeros(1), (values.diff() > close).cumsum(0)]).to(torch.int64)
    sizes = torch.bincount(group)[group]
    kinds = _eigen_kinds(group)
    basins = torch.where((group == 0) | (group == group[-1]), 0.5 / sizes, 0.0).to(values)
    subspaces = torch.where(sizes > 1, group, -1)
    return Lines(vectors.T.contiguous(), values, _eigen_curvatures(values), sizes - 1, kinds, basins, subspaces)


def _eigen_kinds(group: Tensor) -> tuple[DirectionKind, ...]:
    if len(group) == 1:
        return ("both",)
    ends: dict[int, DirectionKind] = {0: "negative", int(group[-1]): "positive"}
    return tuple(ends.get(number, "saddle") for number in group.tolist())


def _eigen_curvatures(values: Tensor) -> Tensor:
    """2(λ_j − λ_i) over all j ≠ i: the lowest and the highest."""
    if len(values) == 1:
        return values.new_full((1, 2), torch.nan)
    low, high = values[0].repeat(len(values)), values[-1].repeat(len(values))
    low[0], high[-1] = values[1], values[-2]
    return 2 * (torch.stack([low, high], 1) - values[:, None])


def _single(direction: Tensor, potential: Tensor, curvature: Tensor, kind: DirectionKind, basin: float) -> Lines:
    none = torch.zeros(1, dtype=torch.int64, device=direction.device)
    both = curvature.expand(1, 2).contiguous()
    return Lines(direction, potential[None], both, none, (kind,), potential.new_full((1,), basin), none - 1)
