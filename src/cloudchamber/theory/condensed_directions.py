"""The directions on which neurons condense at initial training: the critical directions of the leading order.

Near 0, `ẇ = a ∇φ(w)` with `φ(w) = −σ^(p)(0)/p! · (1/n) Σ e_i (w·x_i)^p`. The orientation u = w/‖w‖ of a neuron with
a > 0 climbs φ on the unit sphere, with a < 0 it descends; it rests at the critical directions, `∇φ(u) = pφ(u) u`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.theory.angular_roots import plane_lines
from cloudchamber.theory.critical_directions import Completeness, DirectionKind, Lines, Route
from cloudchamber.theory.leading_form import LeadingForm, leading_form
from cloudchamber.theory.low_orders import eigenvector_lines, gradient_line, input_line
from cloudchamber.theory.multiplicity import Multiplicity
from cloudchamber.theory.unseen_directions import constant_lines, lifted
from cloudchamber.theory.z_eigenvectors import searched_lines

_RANK = 1e-12
_SHOWN = 12
_SHOWN_ENTRIES = 6
_RANKS: dict[DirectionKind, int] = {"positive": 0, "both": 0, "negative": 1, "saddle": 2, "degenerate": 3}


@dataclass(frozen=True)
class CondensedDirections:
    """All critical directions that were found, in pairs u, −u: rows 2i and 2i + 1 are line i.

    `φ(−u) = (−1)^p φ(u)`: for even p both directions of a line attract the same sign of a; for odd p u attracts one
    sign and −u the other. Lines that attract come first, those with a > 0 (for odd p: with φ ≥ 0) at their first
    row before others, then saddles; each by falling |φ|.

    Attributes:
        directions: (k, d), unit vectors u.
        kinds: what each attracts: "positive" (a > 0; a local maximum of φ), "negative" (a < 0; a minimum), "both"
            (d = 1, where neurons cannot turn), "saddle" (neither), "degenerate" (the second order does not decide:
            part of a continuum, or attracting from one side only).
        potentials: (k,), φ(u). A neuron of unit length along u with a = 1 grows at the rate `ṙ = pφ(u)`. One with
            `a φ(u) < 0` shrinks while its a moves towards 0 and past it, and then leaves u: not every attractor of
            orientations is one on which grown neurons are found.
        curvatures: (k, 2), the lowest and the highest curvature of φ on the sphere at u. Close to u, where
            a = r = 1, the orientation moves away at these rates, and approaches where they are negative. NaN if d = 1.
        flat: (k,), how many of the d − 1 curvatures vanish: 0 for an isolated direction.
        basins: (k,), the share of random orientations, of neurons of the sign that u attracts, that end at u; measured
            where the route is "search" (times `starts` it is how many arrived), otherwise exact.
        subspaces: (k,), a number shared by orthonormal directions that span a subspace all of whose directions are
            critical and of the same kind; −1 for directions that are in none.
        constant: φ is constant on the sphere (zero if p is odd): every direction is critical, and none is listed.
        completeness: how complete the list is.
        multiplicity: p.

    >>> found = condensed_directions(torch.eye(2), torch.tensor([-2.0, 0.0]), 1)
    >>> found.directions.tolist(), found.kinds
    ([[1.0, 0.0], [-1.0, -0.0]], ('positive', 'negative'))
    """

    directions: Float[Tensor, "k d"]
    kinds: tuple[DirectionKind, ...]
    potentials: Float[Tensor, " k"]
    curvatures: Float[Tensor, "k 2"]
    flat: Int[Tensor, " k"]
    basins: Float[Tensor, " k"]
    subspaces: Int[Tensor, " k"]
    constant: bool
    completeness: Completeness
    multiplicity: int

    def attracts(self, sign: int, *, growing: bool = False) -> Bool[Tensor, " k"]:
        """Return which directions attract neurons whose output weight has a sign, 1 or −1.

        With `growing` only those at which such neurons grow, `sign · φ(u) > 0`.
        """
        wanted = {"both", "positive" if sign > 0 else "negative"}
        chosen = torch.tensor([kind in wanted for kind in self.kinds], dtype=torch.bool, device=self.directions.device)
        return chosen & (sign * self.potentials > 0) if growing else chosen

    def attractors(self, sign: int, *, growing: bool = False) -> Float[Tensor, "m d"]:
        """Return the directions that attract neurons whose output weight has a sign, 1 or −1."""
        return self.directions[self.attracts(sign, growing=growing)]

    def attracting_lines(self, *, growing: bool = False) -> int:
        """Return on how many lines neurons of either sign condense; a subspace counts by its dimension."""
        either = self.attracts(1, growing=growing) | self.attracts(-1, growing=growing)
        return int(either.reshape(-1, 2).any(1).sum())

    @property
    def turning_exponents(self) -> Float[Tensor, " k"]:
        """How fast neurons turn compared with how they grow, ν: near u their angle to it falls as `‖w‖^−ν`.

        `ν = |κ|/(p|φ(u)|)` with κ the curvature closest to 0. For p = 1 it is 1. Where it is small a neuron can run
        away before it has turned: to come from a small angle θ_0 to θ it grows by `(θ_0/θ)^{1/ν}`. NaN for directions
        that do not attract growing neurons, or not as isolated ones.
        """
        slowest = torch.where(self.potentials > 0, self.curvatures[:, 1], self.curvatures[:, 0])
        grown = (self.attracts(1, growing=True) | self.attracts(-1, growing=True)) & (self.flat == 0)
        return torch.where(grown, -slowest / (self.multiplicity * self.potentials), torch.nan)

    def __str__(self) -> str:
        if self.constant:
            return f"multiplicity {self.multiplicity}: φ is constant on the sphere, every direction is critical"
        head = f"multiplicity {self.multiplicity}: {self.attracting_lines()} attracting lines"
        rows = [f"  {kind:<10} φ = {value:+.4g}  {_listed(u)}" for kind, value, u in self._rows()]
        return "\n".join([head, *rows[:_SHOWN], *(["  …"] if len(rows) > _SHOWN else []), str(self.completeness)])

    def _rows(self) -> list[tuple[DirectionKind, float, list[float]]]:
        return list(zip(self.kinds, self.potentials.tolist(), self.directions.tolist(), strict=True))


def condensed_directions(
    inputs: Float[Tensor, "n d"],
    residuals: Float[Tensor, " n"],
    multiplicity: int | Multiplicity,
    *,
    coefficient: float | None = None,
    starts: int = 500,
    seed: int = 0,
) -> CondensedDirections:
    """Return the directions on which neurons condense at initial training, with what they attract.

    The critical directions of `φ(u) = −σ^(p)(0)/p! · (1/n) Σ e_i (u·x_i)^p` on the unit sphere. p = 1: the line of
    `Σ e_i x_i`. p = 2: the eigenvectors of `Σ e_i x_i x_iᵀ`. Inputs that span a plane (one-dimensional data with a
    bias) and any p: the roots of a polynomial. p ≥ 3 in more dimensions: a search for the Z-eigenvectors of
    `Σ e_i x_i^{⊗p}`, which reports how complete it is. For p ≥ 3 directions that no input sees (φ = 0) are critical
    as a subspace.

    In a deeper layer pass its inputs `x^[k−1]` and what `effective_residuals` returns, or for one neuron j the
    gradients of the loss of each sample in its feature, with which a = 1.

    Args:
        inputs: (n, d), x_i, with a last entry 1 where neurons have a bias.
        residuals: (n,), e_i = f(x_i) − y_i; −y_i for a tiny network.
        multiplicity: p, or what `multiplicity` returns for the activation.
        coefficient: `σ^(p)(0)/p!` where p is a number; 1 by default. Its sign decides what attracts which neurons.
        starts: random orientations that a search follows for each sign.
        seed: of a search.

    Returns:
        The directions, in float64.

    Raises:
        InvalidInput: if shapes do not fit, there is no multiplicity, inputs or residuals hold NaN or infinity, or
            `starts` is less than 1.

    Source: zhou2022, Section 5; for p ≥ 3 in d dimensions the paper has no result.

    >>> x = torch.linspace(-1, 1, 5)
    >>> inputs = torch.stack([x, torch.ones(5)], 1)
    >>> print(condensed_directions(inputs, -x, 2))
    multiplicity 2: 2 attracting lines
      positive   φ = +0.5  [0.7071, 0.7071]
      positive   φ = +0.5  [-0.7071, -0.7071]
      negative   φ = -0.5  [0.7071, -0.7071]
      negative   φ = -0.5  [-0.7071, 0.7071]
    complete (eigenvectors)
    """
    require(starts >= 1, "`starts` is at least 1", starts, "use 500")
    form, factor = leading_form(inputs, residuals, multiplicity, coefficient).normalized()
    found = _routed(form, starts, seed)
    if found is None:
        return _assembled(Lines.none(form.dimension, form.inputs), Completeness("gradient"), form.order, 1.0, True)
    lines, completeness = found
    return _assembled(lines, completeness, form.order, factor, False)


def _routed(form: LeadingForm, starts: int, seed: int) -> tuple[Lines, Completeness] | None:
    """Choose how to find the critical lines; None if φ is constant."""
    if form.order == 1:
        return _complete(gradient_line(form), "gradient", 1)
    if form.order == 2:
        return _complete(eigenvector_lines(form), "eigenvectors", form.dimension)
    seen, unseen = _span(form)
    reduced = form.seen_in(seen)
    rank = reduced.dimension
    if not rank:
        return None
    if rank <= 2:
        found = _complete(plane_lines(reduced) if rank == 2 else input_line(reduced), "roots", form.order)
    else:
        found = searched_lines(reduced, starts=starts, seed=seed)
    if not unseen.shape[1]:
        return found
    found = found or _complete(constant_lines(reduced), "gradient", 1)
    return None if found is None else (lifted(found[0], form.order, seen, unseen), found[1])


def _complete(lines: Lines | None, route: Route, most: int) -> tuple[Lines, Completeness] | None:
    return None if lines is None else (lines, Completeness(route, most_lines=most))


def _span(form: LeadingForm) -> tuple[Tensor, Tensor]:
    """Orthonormal bases, as columns, of what the inputs that count span, and of what they do not see."""
    counted = form.inputs * form.weights.abs()[:, None] ** (1 / form.order)
    _, strengths, axes = torch.linalg.svd(torch.linalg.qr(counted, mode="r").R, full_matrices=True)
    rank = int((strengths > _RANK * strengths.amax(keepdim=True)).sum())
    if rank == form.dimension:  # the given axes, so that a form of full rank is not turned
        axes = torch.eye(rank, dtype=axes.dtype, device=axes.device)
    return axes[:rank].T, axes[rank:].T


def _assembled(
    lines: Lines, completeness: Completeness, order: int, factor: float, constant: bool
) -> CondensedDirections:
    """Order the lines, put −u after each u, and return to the units of the data."""
    upright = lines.oriented(order)
    index = sorted(
        range(len(upright.kinds)), key=lambda i: (_RANKS[upright.kinds[i]], -float(upright.potentials[i].abs()))
    )
    first = upright.chosen(index)
    count = len(index)
    pairs = first.beside(first.reversed(order)).chosen([i + count * turned for i in range(count) for turned in (0, 1)])
    return CondensedDirections(
        pairs.directions,
        pairs.kinds,
        pairs.potentials * factor,
        pairs.curvatures * factor,
        pairs.flat,
        pairs.basins,
        pairs.subspaces,
        constant,
        completeness,
        order,
    )


def _listed(direction: list[float]) -> str:
    shown = ", ".join(f"{entry:.4g}" for entry in direction[:_SHOWN_ENTRIES])
    return f"[{shown}, …]" if len(direction) > _SHOWN_ENTRIES else f"[{shown}]"
