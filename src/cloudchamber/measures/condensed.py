"""How many orientations the neurons of a layer have condensed on: groups that are more than a few stray neurons."""

from __future__ import annotations

from dataclasses import dataclass

from cloudchamber._core.errors import require
from cloudchamber._core.types import Weight
from cloudchamber.measures.orientation import orientation_groups


@dataclass(frozen=True)
class CondensedOrientations:
    """A count of orientations.

    Attributes:
        count: groups that hold at least the least share of the neurons that were counted.
        covered: the share of those neurons that the groups hold; NaN if no neuron was counted.
        counted: neurons that the norm cut left in.
    """

    count: int
    covered: float
    counted: int


def condensed_orientations(
    weight: Weight,
    *,
    threshold: float = 0.95,
    signed: bool = False,
    norm_cut: float = 0.0,
    least_share: float = 0.1,
) -> CondensedOrientations:
    """Count the lines (or, signed, the directions) on which the neurons of a layer have condensed.

    `#{g : |g| ≥ least_share · Σ|g|}` over the groups g of `orientation_groups`: the strongest neuron leads a group,
    which every neuron with |cos| > threshold to it joins, and so on. Every parameter changes the number: a higher
    threshold splits lines, a lower least share counts stray neurons as lines, a norm cut leaves out neurons that have
    not grown. So a count is to be read with its sensitivity to the three and beside that of random neurons.

    Args:
        weight: (h, d), a row of input weights per neuron, with its bias as a last entry where it has one.
        threshold: in [0, 1); cosines above it are close. 0.95 is 18°.
        signed: False counts lines (w and −w are together), True counts directions (they are apart).
        norm_cut: neurons whose norm is less than this fraction of the largest are left out.
        least_share: of the neurons left in, that a group needs to be counted; in [0, 1].

    Raises:
        InvalidInput: as `orientation_groups`, or if the share is out of its range.

    Source: zhou2022, Section 4 (lines are told by eye there; Appendix A.7 discards weak neurons).

    >>> import torch
    >>> weight = torch.tensor([[2.0, 0.0], [-1.0, 0.1], [3.0, 0.0], [0.0, 0.1]])
    >>> condensed_orientations(weight, least_share=0.5)
    CondensedOrientations(count=1, covered=0.75, counted=4)
    """
    require(0 <= least_share <= 1, "`least_share` is a fraction in [0, 1]", least_share, "use 0.1")
    sizes = orientation_groups(weight, threshold=threshold, signed=signed, norm_cut=norm_cut).sizes
    counted = int(sizes.sum())
    large = sizes[sizes >= least_share * counted]
    return CondensedOrientations(len(large), float(large.sum()) / counted if counted else float("nan"), counted)
