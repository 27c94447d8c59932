"""Which mechanism changed what two consecutive layers compute: alignment, disalignment or rescaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

MechanismName = Literal["alignment", "disalignment", "rescaling", "none"]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class PairChange:
    """What the first steps did to two consecutive layers, along the directions in which they moved.

    With v the leading right singular vector of the lower layer's change, c the leading left one of the upper layer's,
    w = W v and u = W'ᵀc: the pair passes on u·w = ‖u‖‖w‖ζ.

    Attributes:
        lower: name of the lower weight.
        upper: name of the upper weight.
        alignment: ζ at the start and at the end, signed so that u·w has grown.
        size: ‖u‖‖w‖ at the start and at the end.
    """

    lower: str
    upper: str
    alignment: tuple[float, float]
    size: tuple[float, float]

    @property
    def change(self) -> float:
        """The change of u·w over ‖u‖‖w‖ at the start."""
        (before, after), (small, large) = self.alignment, self.size
        return (large * after - small * before) / small if small else float("nan")

    @property
    def by_alignment(self) -> float:
        """The part of the change of u·w that comes from ζ: `N̄ Δζ/Δ(Nζ)`, N = ‖u‖‖w‖; the rest comes from N."""
        (before, after), (small, large) = self.alignment, self.size
        whole = large * after - small * before
        return 0.5 * (small + large) * (after - before) / whole if whole else float("nan")

    @property
    def mechanism(self) -> MechanismName:
        """Alignment or disalignment if ζ makes at least half of the change, else rescaling."""
        share = self.by_alignment
        if share != share:
            return "none"
        if share < 0.5:
            return "rescaling"
        return "alignment" if abs(self.alignment[1]) >= abs(self.alignment[0]) else "disalignment"


def pair_changes(names: Sequence[str], start: Weights, end: Weights) -> tuple[PairChange, ...]:
    """Return what became of each two consecutive layers of a chain.

    Args:
        names: of the weights, from the input on.
        start: weights at the start.
        end: weights at the end.

    Source: xu2024, Eq. (20), (25) and Sections 2.2 to 2.4.
    """
    return tuple(_pair(lower, upper, start, end) for lower, upper in pairwise(names))


def strongest(pairs: Sequence[PairChange]) -> PairChange | None:
    """Return the pair that changed most."""
    known = [pair for pair in pairs if pair.change == pair.change]
    return max(known, key=lambda pair: abs(pair.change), default=None)


def _pair(lower: str, upper: str, start: Weights, end: Weights) -> PairChange:
    first, second = ({name: held[name].double() for name in (lower, upper)} for held in (start, end))
    v = torch.linalg.svd(second[lower] - first[lower], full_matrices=False).Vh[0]
    c = torch.linalg.svd(second[upper] - first[upper], full_matrices=False).U[:, 0]
    places = [(held[upper].T @ c, held[lower] @ v) for held in (first, second)]
    products = [float(u @ w) for u, w in places]
    sizes = [float(u.norm() * w.norm()) for u, w in places]
    sign = 1.0 if products[1] >= products[0] else -1.0
    zetas = [sign * product / size if size else float("nan") for product, size in zip(products, sizes, strict=True)]
    return PairChange(lower, upper, (zetas[0], zetas[1]), (sizes[0], sizes[1]))
