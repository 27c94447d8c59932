"""Critical directions for p ≥ 3 in three and more dimensions: the real Z-eigenvectors of a symmetric tensor.

`Σ_i c_i (u·x_i)^{p−1} x_i = λ u`. The tensor is never formed: values, gradients and Hessians come from the inputs.
There is no finite method short of solving a system of polynomials, so this is a search that says how far it went:
random orientations are followed uphill (as neurons with a > 0 are carried) and, for even p, downhill; each
attractor that is reached is polished by Newton's method. Saddles are looked for by Newton's method from random
orientations and from between attractors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber.theory.critical_directions import Completeness, Lines, summarized, tangent_curvatures
from cloudchamber.theory.leading_form import LeadingForm
from cloudchamber.theory.sphere_ascent import follow_uphill, newton_critical

_SAME_START = 1e-3
_SAME = 1e-7
_MOVED = 0.1
_CONSTANT = 1e-12
_UPHILL_STEPS = 3000
_NEWTON_STEPS = 60
_WIDEST_SADDLE_SEARCH = 24
_FROM_BETWEEN = 300
_RANDOM_SADDLES = 256
_SAMPLE_SPACING = 0.05

Points = Float[Tensor, "s r"]


@dataclass(frozen=True)
class _Search:
    """Isolated attracting lines of one sign, how many starts arrived at each, and other places where some stayed."""

    directions: Tensor
    hits: Tensor
    others: Tensor
    starts: int

    @property
    def unfinished(self) -> int:
        return self.starts - int(self.hits.sum())

    @property
    def once(self) -> int:
        return int((self.hits == 1).sum())


def searched_lines(form: LeadingForm, *, starts: int, seed: int) -> tuple[Lines, Completeness] | None:
    """Return the critical lines that a search finds, and how complete they are; None if φ is constant on the sphere.

    Args:
        form: of order at least 2, in at least 2 dimensions (for p = 2 and in the plane other routes are exact).
        starts: how many random orientations are followed.
        seed: of their random numbers.
    """
    random = _random_points(starts, form, seed)
    values = form.values(random)
    if float(values.amax() - values.amin()) <= _CONSTANT * form.scale:
        return None
    ways = [form] if form.order % 2 else [form, _downhill(form)]
    found = [_attractors(way, random) for way in ways]
    attractors, hits = torch.cat([part.directions for part in found]), torch.cat([part.hits for part in found])
    others = torch.cat([*(part.others for part in found), _saddles(form, attractors, random)])
    more = _unlisted(others, attractors)
    shares = torch.cat([hits, hits.new_zeros(len(more))]).to(values) / (starts * len(ways))
    lines, euler = _lines(form, torch.cat([attractors, more]), shares)
    once, unfinished = max(part.once for part in found), max(part.unfinished for part in found)
    return lines, Completeness("search", starts, unfinished, once, most_lines(form.dimension, form.order), euler)


def most_lines(dimension: int, order: int) -> int:
    """Return the largest number of isolated critical lines that a form can have."""
    return dimension if order == 2 else ((order - 1) ** dimension - 1) // (order - 2) if order > 2 else 1


def _random_points(count: int, form: LeadingForm, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, form.dimension, generator=generator, dtype=torch.float64)
    return (points / torch.linalg.vector_norm(points, dim=1, keepdim=True)).to(form.inputs)


def _downhill(form: LeadingForm) -> LeadingForm:
    return LeadingForm(form.inputs, -form.weights, form.order)


def _attractors(form: LeadingForm, random: Tensor) -> _Search:
    """Follow all starts uphill, polish one of each group that arrived together, and count."""
    arrived = follow_uphill(form, random, _UPHILL_STEPS)
    points = arrived.points[arrived.settled]
    if not len(points):
        return _Search(points, torch.zeros(0, dtype=torch.int64), points, len(random))
    group = _same_lines(points, _SAME_START)
    leaders, counts = group.unique(return_counts=True)
    polished = newton_critical(form, points[leaders], _NEWTON_STEPS)
    near = polished.settled & (_chord(polished.points, points[leaders]) <= _MOVED)
    isolated = near & _is_top(form, polished.points)
    label = _same_lines(polished.points[isolated], _SAME)
    kept, place = label.unique(return_inverse=True)
    hits = torch.zeros(len(kept), dtype=torch.int64).index_add(0, place.cpu(), counts[isolated].cpu())
    others = polished.points[near & ~isolated]
    return _Search(polished.points[isolated][kept], hits, others, len(random))


def _is_top(form: LeadingForm, points: Tensor) -> Tensor:
    kinds = summarized(tangent_curvatures(form, points))[2]
    return torch.tensor([kind == "positive" for kind in kinds], dtype=torch.bool, device=points.device)


def _saddles(form: LeadingForm, attractors: Tensor, random: Tensor) -> Tensor:
    """Critical points of any kind that Newton's method finds from random points and from between attractors."""
    if form.dimension > _WIDEST_SADDLE_SEARCH:
        return random[:0]
    a, b = torch.triu_indices(len(attractors), len(attractors), 1)[:, :_FROM_BETWEEN]
    pairs = torch.cat([attractors[a] + attractors[b], attractors[a] - attractors[b]])
    length = torch.linalg.vector_norm(pairs, dim=1, keepdim=True)
    between = (pairs / length)[length[:, 0] > _SAME]
    arrived = newton_critical(form, torch.cat([between, random[:_RANDOM_SADDLES]]), _NEWTON_STEPS)
    return arrived.points[arrived.settled]


def _unlisted(points: Tensor, listed: Tensor) -> Tensor:
    """The points on lines that are not listed, each line once."""
    if not len(points):
        return points
    label = _same_lines(torch.cat([listed, points]), _SAME)
    return torch.cat([listed, points])[label[label >= len(listed)].unique()]


def _lines(form: LeadingForm, directions: Tensor, shares: Tensor) -> tuple[Lines, tuple[int, int] | None]:
    curvatures = tangent_curvatures(form, directions)
    ends, flat, kinds = summarized(curvatures)
    lines = Lines(directions, form.values(directions), ends, flat, kinds, shares, torch.full_like(flat, -1))
    descending = (curvatures < 0).sum(1)
    if not flat.any():
        return lines, _euler(descending, form)
    apart = _spaced(directions, flat)
    return lines.chosen(apart), None


def _spaced(directions: Tensor, flat: Tensor) -> list[int]:
    """All isolated lines, and samples of the continua that others belong to."""
    whole = (flat > 0).nonzero()[:, 0]
    samples = whole[_same_lines(directions[whole], _SAMPLE_SPACING).unique()]
    return sorted([*(flat == 0).nonzero()[:, 0].tolist(), *samples.tolist()])


def _euler(descending: Tensor, form: LeadingForm) -> tuple[int, int] | None:
    """The sum of (−1)^index over u and −u, and the Euler characteristic of the sphere."""
    even_sphere = form.dimension % 2 == 1
    if form.order % 2 and not even_sphere:
        return None
    return 2 * int((1 - 2 * (descending % 2)).sum()), 2 * even_sphere


def _same_lines(directions: Points, tolerance: float) -> Int[Tensor, " s"]:
    """For each direction the first one whose line is the same, to within an angle."""
    exact_mode = "donot_use_mm_for_euclid_dist"  # 1 − cos, and what it is computed from, cannot tell angles below 1e-8
    distances = [torch.cdist(directions, sign * directions, compute_mode=exact_mode) for sign in (1, -1)]
    close = (torch.minimum(*distances) <= tolerance).cpu().numpy()
    label = np.full(len(close), -1)
    for i, row in enumerate(close):
        if label[i] < 0:
            label[row & (label < 0)] = i
    return torch.from_numpy(label).to(directions.device)


def _chord(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vector_norm(a - b, dim=1)
