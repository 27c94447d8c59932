"""Along how many lines or directions the neurons of a layer point.

Groups are led, not chained: every member is close to its leader. (Connected components chain: 100 isotropic
neurons in 2 dimensions form one component, yet point everywhere.) In few dimensions even random neurons are
close to each other by chance, so every count is to be read beside `isotropic_groups`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Scalar, Weight
from cloudchamber.measures.vectors import as_matrix, directions, lengths

_BLOCK = 512
_CHUNK = 8192
_BOUND_FROM = 256
_ROUNDING = 1e-5

Near = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class OrientationGroups:
    """Groups of neurons that point along the same line (or, signed, in the same direction).

    Attributes:
        labels: (h,), the group of each neuron, −1 for those left out; groups are numbered by falling
            amplitude of their leaders.
        leaders: (g,), the neuron that leads each group: its strongest.
        sizes: (g,), how many neurons each group has, the leader included.

    >>> orientation_groups(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])).leaders
    tensor([1, 0])
    """

    labels: Int[Tensor, " h"]
    leaders: Int[Tensor, " g"]
    sizes: Int[Tensor, " g"]

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return len(self.leaders)


def orientation_groups(
    weight: Weight, *, threshold: float = 0.9, signed: bool = False, norm_cut: float = 0.0
) -> OrientationGroups:
    """Group the neurons of a layer by the orientation of their input weights.

    The strongest neuron leads a group, which every neuron with `|cos| > threshold` to it joins; the strongest
    neuron left leads the next one; and so on. So a neuron belongs to the strongest leader that it is close
    to, leaders are not close to each other, and of equally strong neurons the first leads. Exact, in blocks:
    memory grows as h + d, not as h².

    Args:
        weight: (h, d), a row of input weights per neuron, with its bias as a last entry where it has one.
        threshold: in [0, 1); cosines above it are close.
        signed: False counts lines (w and −w are together), True counts directions (they are apart).
        norm_cut: neurons whose norm is less than this fraction of the largest finite norm are left out.

    Returns:
        The groups, on the device of `weight`. Zero neurons and those that hold NaN or infinity are left out.

    Raises:
        InvalidInput: if `weight` is not a floating-point matrix with at least one column, or an option is out
            of its range.

    Source: zhou2022, Section 4 (condensed orientations; Appendix A.7 discards weak neurons).

    >>> weight = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.1], [0.0, 3.0], [0.0, 0.0]])
    >>> orientation_groups(weight).labels
    tensor([ 1,  0,  1,  0, -1])
    >>> orientation_groups(weight, signed=True).n_groups
    3
    """
    rows = as_matrix(weight, "weight").detach()
    require(0 <= threshold < 1, "`threshold` is a cosine in [0, 1)", threshold, "use 0.9")
    require(0 <= norm_cut <= 1, "`norm_cut` is a fraction in [0, 1]", norm_cut, "use 0 to keep every neuron")
    left = _by_amplitude(rows, norm_cut)
    near = partial(_near, threshold=threshold, signed=signed)
    labels, leaders = _lead(_unit_rows(rows, left), near, threshold)
    groups = torch.full((len(rows),), -1, device=rows.device)
    groups[left] = labels
    return OrientationGroups(groups, left[leaders], torch.bincount(labels, minlength=len(leaders)))


@lru_cache(maxsize=1024)
def isotropic_groups(
    h: int, d: int, *, threshold: float = 0.9, signed: bool = False, draws: int = 3, seed: int = 0
) -> float:
    """Return the mean number of groups of h independent Gaussian vectors in d dimensions.

    The null beside which a count of groups is read: fewer groups than this is condensation. It is drawn,
    never approximated, and remembered for as long as the program runs.

    Args:
        h: number of neurons.
        d: number of inputs of a neuron, plus one if it has a bias.
        threshold: as in `orientation_groups`.
        signed: as in `orientation_groups`.
        draws: over how many draws the mean is taken.
        seed: of the draws; the global random state is neither used nor changed.

    Raises:
        InvalidInput: if h is negative, or d or `draws` is less than 1.

    >>> isotropic_groups(100, 50)  # in many dimensions no two are close
    100.0
    >>> isotropic_groups(100, 1), isotropic_groups(100, 1, signed=True)
    (1.0, 2.0)
    """
    require(h >= 0 and d >= 1 and draws >= 1, "h ≥ 0, d ≥ 1 and draws ≥ 1", (h, d, draws), "pass sizes of a layer")
    generator = torch.Generator().manual_seed(seed)
    count = partial(orientation_groups, threshold=threshold, signed=signed)
    weights = (torch.randn(h, d, generator=generator, dtype=torch.float32) for _ in range(draws))
    return sum(count(weight).n_groups for weight in weights) / draws


def effective_width(weight: Weight, *, threshold: float = 0.9, signed: bool = False, norm_cut: float = 0.0) -> Scalar:
    """Return the number of orientation groups: how many neurons the layer would need if groups were neurons.

    Args:
        weight: (h, d), a row of input weights per neuron, with its bias as a last entry where it has one.
        threshold: as in `orientation_groups`.
        signed: as in `orientation_groups`.
        norm_cut: as in `orientation_groups`.

    Returns:
        A whole number between 0 (all weights zero) and h, as float64 for float64 weights and float32
        otherwise. NaN if any weight is NaN or infinite.

    Raises:
        InvalidInput: as `orientation_groups`.

    Source: zhou2022, Section 4; overview2025, Section 2 (aligned neurons are effective as one).

    >>> effective_width(torch.tensor([[1.0, 0.0], [-2.0, 0.1], [0.0, 1.0]]))
    tensor(2.)
    """
    rows = as_matrix(weight, "weight")
    groups = orientation_groups(rows, threshold=threshold, signed=signed, norm_cut=norm_cut).n_groups
    return rows.new_tensor(groups if rows.isfinite().all() else torch.nan)


def _by_amplitude(rows: Tensor, norm_cut: float) -> Tensor:
    """Indices of the neurons that take part, strongest first, ties by index."""
    amplitude = torch.cat([lengths(part) for part in rows.split(_CHUNK)])
    amplitude = torch.where(amplitude.isfinite(), amplitude, 0)
    order = amplitude.argsort(descending=True, stable=True)
    ranked = amplitude[order]
    return order[(ranked > 0) & (ranked >= norm_cut * ranked[:1])]


def _unit_rows(rows: Tensor, chosen: Tensor) -> Tensor:
    """The chosen rows divided by their lengths, in chunks: beside the result nothing of its size is held."""
    unit = rows[chosen]
    for part in unit.split(_CHUNK):
        part.copy_(directions(part)[0])
    return unit


def _near(a: Tensor, b: Tensor, *, threshold: float, signed: bool) -> Tensor:
    cosine = a @ b.T
    return (cosine if signed else cosine.abs_()) > threshold


def _lead(unit: Tensor, near: Near, threshold: float) -> tuple[Tensor, Tensor]:
    """Group of each unit row, and the leaders: a block of candidates at a time, without who has joined."""
    labels = torch.full((len(unit),), -1, device=unit.device)
    left, leaders = torch.arange(len(unit), device=unit.device), [labels[:0]]
    while len(left):
        block, joined = _lead_block(near(unit[:_BLOCK], unit[:_BLOCK]))
        found = sum(len(part) for part in leaders)
        labels[left[:_BLOCK]] = found + joined
        leaders.append(left[block])
        head, unit, left = unit[block], unit[_BLOCK:], left[_BLOCK:]
        joined = _joined(head, unit, near, threshold)
        labels[left] = torch.where(joined < 0, joined, found + joined)
        if (joined >= 0).any():
            unit, left = unit[joined < 0], left[joined < 0]
    return labels, torch.cat(leaders)


def _lead_block(near: Tensor) -> tuple[Tensor, Tensor]:
    """Within a block: the positions that lead, and for every position which of them it follows."""
    close = near.cpu().numpy()
    np.fill_diagonal(close, True)
    free, leaders = np.ones(len(close), dtype=bool), []
    for position in range(len(close)):
        if free[position]:
            leaders.append(position)
            free &= ~close[position]
    follows = close[leaders].argmax(0)
    return torch.tensor(leaders, device=near.device), torch.from_numpy(follows).to(near.device)


def _joined(head: Tensor, rest: Tensor, near: Near, threshold: float) -> Tensor:
    """For every row of `rest` the first leader that it is near to, −1 for none."""
    return torch.cat([_first_near(head, part, near, threshold) for part in rest.split(_CHUNK)])


def _first_near(head: Tensor, rest: Tensor, near: Near, threshold: float) -> Tensor:
    first = torch.full((len(rest),), -1, device=rest.device)
    candidates = _candidates(head, rest, threshold)
    close = near(head, rest[candidates])
    hit = close.any(0)
    first[candidates[hit]] = close[:, hit].to(torch.uint8).argmax(0)
    return first


def _candidates(head: Tensor, rest: Tensor, threshold: float) -> Tensor:
    """Rows that may be near a leader, by their first columns: the others add at most the product of lengths."""
    d = head.shape[1]
    columns = _bounding_columns(head, threshold) if d >= _BOUND_FROM else d
    if columns > d // 2:
        return torch.arange(len(rest), device=rest.device)
    bound = (head[:, :columns] @ rest[:, :columns].T).abs_()
    bound.addr_(lengths(head[:, columns:]), lengths(rest[:, columns:]))
    return (bound.amax(0) > threshold - _ROUNDING).nonzero()[:, 0]


def _bounding_columns(head: Tensor, threshold: float) -> int:
    """How many columns hold enough of the leaders for the bound to exclude rows that are not close."""
    energy = head.square().mean(0).cumsum(0)
    return 1 + int((energy < 1.15 - threshold).sum())
