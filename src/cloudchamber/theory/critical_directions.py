"""What routes to critical directions share: kinds, curvatures on the sphere, and the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber.theory.leading_form import LeadingForm

DirectionKind = Literal["positive", "negative", "both", "saddle", "degenerate"]
Route = Literal["gradient", "eigenvectors", "roots", "search"]

_FLAT = 1e-8
_OPPOSITE: dict[DirectionKind, DirectionKind] = {
    "positive": "negative",
    "negative": "positive",
    "both": "both",
    "saddle": "saddle",
    "degenerate": "degenerate",
}


@dataclass(frozen=True)
class Completeness:
    """How complete a list of critical directions is.

    Attributes:
        route: how it was made: "gradient" (p = 1), "eigenvectors" (p = 2), "roots" (inputs that span a plane or a
            line), all of which find every direction; or "search", which does not promise to.
        starts: random orientations from which the field was followed to each attractor, per sign of the output weight.
        unfinished: those of them that had not arrived at an isolated attractor.
        once: attracting lines that a single start arrived at.
        most_lines: no form of this order and span has more isolated critical lines: p in the plane, and
            `((p−1)^r − 1)/(p − 2)` in r dimensions (Cartwright and Sturmfels 2013), of which the real ones are a part.
        euler: the sum of (−1)^(number of descending curvatures) over all listed directions, and what it is for a
            complete list, 2 or 0 (Poincaré and Hopf). None where it is trivial or a direction is degenerate. If the
            two differ the list lacks something, most likely saddles; if they agree it need not be complete.
    """

    route: Route
    starts: int = 0
    unfinished: int = 0
    once: int = 0
    most_lines: int = 1
    euler: tuple[int, int] | None = None

    @property
    def exhaustive(self) -> bool:
        """Whether the list is complete by construction."""
        return self.route != "search"

    @property
    def missed_share(self) -> float:
        """The estimated share of random orientations whose attractor is not listed (Good and Turing): `once/starts`."""
        return self.once / self.starts if self.starts else 0.0

    @property
    def detected_share(self) -> float:
        """An attractor to which this share of random orientations belongs is listed with a probability of 95 %."""
        return 1 - 0.05 ** (1 / self.starts) if self.starts else 0.0

    def __str__(self) -> str:
        if self.exhaustive:
            return f"complete ({self.route})"
        words = f"search from {self.starts} random orientations per sign: {self.unfinished} did not arrive, "
        words += f"{self.once} attracting lines were met once; a fresh one would lead to an unlisted attractor "
        words += (
            f"with an estimated chance of {self.missed_share:.2g}; an attractor of {100 * self.detected_share:.2g} % "
        )
        words += f"of all orientations is listed with 95 %; at most {self.most_lines} critical lines can exist"
        if self.euler is not None:
            agree = "the Euler characteristic agrees" if self.euler[0] == self.euler[1] else "saddles are missing"
            words += f"; {agree} ({self.euler[0]} of {self.euler[1]})"
        return words


@dataclass(frozen=True)
class Lines:
    """Critical lines of a form on the unit sphere, one direction u of each; what −u is follows from the order.

    Attributes:
        directions: (k, d), u.
        potentials: (k,), φ(u).
        curvatures: (k, 2), the lowest and the highest curvature of φ on the sphere at u; NaN if there is none (d = 1).
        flat: (k,), how many curvatures vanish.
        kinds: what u attracts.
        basins: (k,), the share of random orientations of neurons, of the sign that u attracts, that end at u.
        subspaces: (k,), a number shared by orthonormal directions all of whose span is critical; −1 for isolated ones.
    """

    directions: Float[Tensor, "k d"]
    potentials: Float[Tensor, " k"]
    curvatures: Float[Tensor, "k 2"]
    flat: Int[Tensor, " k"]
    kinds: tuple[DirectionKind, ...]
    basins: Float[Tensor, " k"]
    subspaces: Int[Tensor, " k"]

    @staticmethod
    def none(dimension: int, like: Tensor) -> Lines:
        """No lines."""
        empty, whole = like.new_zeros(0), torch.zeros(0, dtype=torch.int64, device=like.device)
        return Lines(like.new_zeros(0, dimension), empty, like.new_zeros(0, 2), whole, (), empty, whole)

    def chosen(self, index: Sequence[int]) -> Lines:
        """Return some of the lines, in a given order."""
        rows = torch.tensor(index, dtype=torch.int64, device=self.directions.device)
        parts = (self.directions, self.potentials, self.curvatures, self.flat, self.basins, self.subspaces)
        directions, potentials, curvatures, flat, basins, subspaces = (part[rows] for part in parts)
        kinds: tuple[DirectionKind, ...] = tuple(self.kinds[i] for i in index)
        return Lines(directions, potentials, curvatures, flat, kinds, basins, subspaces)

    def beside(self, others: Lines) -> Lines:
        """Return these lines and others."""
        return Lines(
            torch.cat([self.directions, others.directions]),
            torch.cat([self.potentials, others.potentials]),
            torch.cat([self.curvatures, others.curvatures]),
            torch.cat([self.flat, others.flat]),
            self.kinds + others.kinds,
            torch.cat([self.basins, others.basins]),
            torch.cat([self.subspaces, others.subspaces]),
        )

    def reversed(self, order: int) -> Lines:
        """Return −u of each line: `φ(−u) = (−1)^p φ(u)`, so an odd order swaps the signs that it attracts."""
        if order % 2 == 0:
            same = (self.potentials, self.curvatures, self.flat, self.kinds, self.basins, self.subspaces)
            return Lines(-self.directions, *same)
        kinds: tuple[DirectionKind, ...] = tuple(_OPPOSITE[kind] for kind in self.kinds)
        curvatures = -self.curvatures.flip(1)
        return Lines(-self.directions, -self.potentials, curvatures, self.flat, kinds, self.basins, self.subspaces)

    def oriented(self, order: int) -> Lines:
        """Return the lines by the direction in which φ ≥ 0 (odd order), or whose largest entry is positive."""
        if not len(self.kinds):
            return self
        size = self.directions.abs()
        first = (size >= (1 - 1e-6) * size.amax(1, keepdim=True)).to(torch.uint8).argmax(1)
        negative = self.directions.gather(1, first[:, None])[:, 0] < 0
        if order % 2:
            negative = (self.potentials < 0) | ((self.potentials == 0) & negative)
        flips, back = negative.tolist(), self.reversed(order)
        both = self.beside(back)
        return both.chosen([i + len(flips) * flip for i, flip in enumerate(flips)])


def tangent_curvatures(form: LeadingForm, directions: Float[Tensor, "k d"]) -> Float[Tensor, "k e"]:
    """Return the eigenvalues of the Hessian of φ on the sphere, `Pᵀ(∇²φ − pφ)P` with P its d − 1 tangents, rising."""
    count, dimension = directions.shape
    whole = torch.eye(dimension, dtype=directions.dtype, device=directions.device).expand(count, -1, -1)
    frames = torch.linalg.qr(torch.cat([directions[:, :, None], whole], 2)).Q[:, :, 1:]
    hessians = frames.mT @ form.hessians(directions) @ frames
    radial = form.order * form.values(directions)
    return torch.linalg.eigvalsh(hessians) - radial[:, None]


def summarized(
    curvatures: Float[Tensor, "k e"],
) -> tuple[Float[Tensor, "k 2"], Int[Tensor, " k"], tuple[DirectionKind, ...]]:
    """Return the lowest and highest curvature, how many vanish, and the kinds that follow, in units of the form."""
    if not curvatures.shape[1]:
        ends = curvatures.new_full((len(curvatures), 2), torch.nan)
        both: tuple[DirectionKind, ...] = ("both",) * len(curvatures)
        return ends, torch.zeros(len(curvatures), dtype=torch.int64, device=ends.device), both
    ends = torch.stack([curvatures.amin(1), curvatures.amax(1)], 1)
    tolerance = _FLAT * float(curvatures.abs().amax()) if len(curvatures) else 0.0
    flat = (curvatures.abs() <= tolerance).sum(1)
    return ends, flat, tuple(kind_of(low, high, tolerance) for low, high in ends.tolist())


def kind_of(low: float, high: float, tolerance: float) -> DirectionKind:
    """Return what a critical direction attracts, by its extreme curvatures."""
    if low < -tolerance and high > tolerance:
        return "saddle"
    if high < -tolerance:
        return "positive"
    return "negative" if low > tolerance else "degenerate"
