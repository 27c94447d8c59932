"""Along how many lines or directions the neurons of a layer point.

Groups are led, not chained: every member is close to its leader. (Connected components chain: 100 isotropic
neurons in 2 dimensions form one component, yet point everywhere.) In few dimensions even random neurons are
close to each other by chance, so every count is to be read beside `isotropic_groups`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from jaxtyping import Int
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Scalar, Weight
from cloudchamber.measures.leaders import lead
from cloudchamber.measures.vectors import as_matrix, inverse_lengths


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
    the memory taken grows as that of the weights, not as h².

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
    inverse = inverse_lengths(rows)
    left = _by_amplitude(inverse, norm_cut)
    labels, leaders = lead(rows[left].mul_(inverse[left, None]), threshold, signed)
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


def _by_amplitude(inverse: Tensor, norm_cut: float) -> Tensor:
    """Indices of the neurons that take part, strongest first, ties by index."""
    amplitude = torch.where(inverse > 0, 1 / inverse, 0)
    order = amplitude.argsort(descending=True, stable=True)
    ranked = amplitude[order]
    return order[(ranked > 0) & (ranked >= norm_cut * ranked[:1])]
