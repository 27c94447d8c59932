"""Critical directions of a form whose inputs do not span the space of the weights (p ≥ 3).

With u = cos α v + sin α n, v in the span and n unseen by every input, `φ(u) = cos^p α φ(v)`: v moves by φ on the span
alone, and α towards the side on which φ is larger. So a critical direction v of the span keeps its kind only if φ(v)
has the sign for it, and the unseen directions, where φ and its first derivatives vanish, form a critical subspace.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cloudchamber.theory.critical_directions import DirectionKind, Lines
from cloudchamber.theory.leading_form import LeadingForm

_ZERO = 1e-12


def constant_lines(form: LeadingForm) -> Lines | None:
    """Return the span of a form that is constant on its unit sphere as one critical subspace; None if φ = 0."""
    axes = torch.eye(form.dimension, dtype=torch.float64, device=form.inputs.device)
    values = form.values(axes)
    if float(values.abs().amax()) <= _ZERO * form.scale:
        return None
    kinds: tuple[DirectionKind, ...] = ("both",) * len(axes)
    none, shares = torch.zeros(len(axes), dtype=torch.int64, device=axes.device), values.new_full((len(axes),), 0.5)
    return Lines(axes, values, torch.zeros_like(axes[:, :2]), none + len(axes) - 1, kinds, shares / len(axes), none)


def lifted(lines: Lines, order: int, seen: Tensor, unseen: Tensor) -> Lines:
    """Return the lines of a form on a span as lines of the whole space, and the subspace of unseen directions.

    Args:
        lines: in coordinates of the span.
        order: p, at least 3.
        seen: (d, r), an orthonormal basis of the span as columns.
        unseen: (d, d − r), one of the rest, with at least one column.
    """
    outward = -order * lines.potentials
    tolerance = _ZERO * float(lines.potentials.abs().amax())
    sides = [(value > tolerance) - (value < -tolerance) for value in outward.tolist()]
    kinds: tuple[DirectionKind, ...] = tuple(_kind(kind, side) for kind, side in zip(lines.kinds, sides, strict=True))
    both = torch.cat([lines.curvatures, outward[:, None]], 1)
    curvatures = torch.stack([both.nan_to_num(nan=torch.inf).amin(1), both.nan_to_num(nan=-torch.inf).amax(1)], 1)
    flat = lines.flat + torch.tensor([unseen.shape[1] * (not side) for side in sides]).to(lines.flat)
    basins = torch.where(torch.tensor([_attracts(kind) for kind in kinds]).to(flat.device), lines.basins, 0.0)
    inside = Lines(lines.directions @ seen.T, lines.potentials, curvatures, flat, kinds, basins, lines.subspaces)
    return inside.beside(_unseen_subspace(lines, inside, order, unseen))


def _kind(kind: DirectionKind, side: int) -> DirectionKind:
    """The kind when curvatures of a sign are added: 1 away from the span, −1 towards it, 0 unknown."""
    kept: DirectionKind = "positive" if side < 0 else "negative"
    if kind == "saddle":
        return kind
    if side == 0 or kind == "degenerate":
        return "degenerate"
    return kept if kind in (kept, "both") else "saddle"


def _attracts(kind: DirectionKind) -> bool:
    return kind in ("positive", "negative", "both")


def _unseen_subspace(before: Lines, after: Lines, order: int, unseen: Tensor) -> Lines:
    count = unseen.shape[1]
    new = torch.full((count,), int(before.subspaces.amax()) + 1, dtype=torch.int64, device=unseen.device)
    share = max(_left_over(before, after, order, kind) for kind in ("positive", "negative")) / (2 * count)
    flat = torch.full_like(new, len(unseen) - 1)
    zeros = unseen.new_zeros(count)
    kinds = (_unseen_kind(before, order),) * count
    curvatures = unseen.new_zeros(count, 2)
    return Lines(unseen.T.contiguous(), zeros, curvatures, flat, kinds, zeros + share, new)


def _unseen_kind(lines: Lines, order: int) -> DirectionKind:
    """Where φ has one sign on the span, 0 is its maximum or its minimum."""
    if order % 2 or float(lines.potentials.amax()) * float(lines.potentials.amin()) < 0:
        return "degenerate"
    return "positive" if float(lines.potentials.amax()) <= 0 else "negative"


def _left_over(before: Lines, after: Lines, order: int, kind: DirectionKind) -> float:
    """The share of orientations, of neurons of a sign, that no direction of the span attracts any more."""
    return _total(before, order, kind) - _total(after, order, kind)


def _total(lines: Lines, order: int, kind: DirectionKind) -> float:
    both = lines.beside(lines.reversed(order))
    counted = torch.tensor([found in (kind, "both") for found in both.kinds], device=both.basins.device)
    return float(both.basins[counted].sum())
