"""Which channels are one: those whose functions, where they are read, differ by a factor (and a constant) alone.

Groups are led, not chained: a channel joins a leader that it is close to itself, the strongest first. The distance
of channel k from a leader j is what of F_k is left, `min_c ‖F_k − c F_j (− s)‖/‖F_k‖`, the largest over all readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cloudchamber.measures.leaders import lead_close
from cloudchamber.reduction.moments import Moments

CONSTANT = -1
UNSEEN = 1e-6
"""What is left of a channel, relative to it, that is rounding."""


@dataclass(frozen=True)
class Reading:
    """What one reader is known to read, and what it makes of it.

    Attributes:
        moments: of the channels there.
        check: the same over examples held out; what is constant is so there too.
        importance: (h,), norms of the consumer's weights for each channel.
        affine: whether a constant can go into the consumer's bias.
    """

    moments: Moments
    check: Moments
    importance: Float[Tensor, " h"]
    affine: bool


@dataclass(frozen=True)
class Distances:
    """How far channels are from each other and from constants.

    Attributes:
        pairs: (h, h), entry (j, k) is what is left of channel k after leader j is taken from it, relative.
        constant: (h,), what is left of each channel after a constant (or nothing, where none can be taken) is.
        weight: (h,), what each channel gives to its consumers, relative to what all give.
        order: (h,), strongest first.
        alike: (h, h), which channels are made alike for every input, by their weights.
    """

    pairs: Float[Tensor, "h h"]
    constant: Float[Tensor, " h"]
    weight: Float[Tensor, " h"]
    order: Int[Tensor, " h"]
    alike: Bool[Tensor, "h h"]

    @classmethod
    def of(cls, readings: Mapping[str, Reading], alike: Bool[Tensor, "h h"]) -> Distances:
        """Compare channels where all readers read them."""
        each = [_distances(reading) for reading in readings.values()]
        pairs = torch.stack([pair for pair, _, _ in each]).amax(0) if len(each) > 1 else each[0][0]
        constant = torch.stack([value for _, value, _ in each]).amax(0)
        weight = torch.stack([value for _, _, value in each]).amax(0)
        power = torch.stack([reading.moments.power for reading in readings.values()]).sum(0)
        return cls(pairs, constant, weight, power.argsort(descending=True, stable=True), alike)

    def groups(self, level: float) -> Groups:
        """Return the groups in which no channel is farther than `level` from its leader.

        A channel that gives next to nothing, less than `level` of a fair share, counts as a constant. At level 0
        those alone are together whose weights are alike too.
        """
        h = len(self.order)
        constant = (self.constant <= level) | (self.weight <= level / h)
        left = self.order[~constant[self.order]]
        if not len(left):
            left, constant = self.order[:1], constant.clone()
            constant[left] = False  # a layer keeps at least one neuron
        leaders, _ = lead_close(self._close(left, level))
        kept = left[leaders]
        nearest = torch.where(self._close(left, level)[leaders], self.pairs[kept][:, left], torch.inf).argmin(0)
        nearest[leaders] = torch.arange(len(kept))
        labels = torch.full((h,), CONSTANT)
        labels[left] = nearest
        return Groups(labels, kept).in_order()

    def _close(self, left: Tensor, level: float) -> Bool[Tensor, "m m"]:
        close = self.pairs <= level if level else (self.pairs <= UNSEEN) & self.alike
        return close[left][:, left]


@dataclass(frozen=True)
class Groups:
    """Which new channel stands for each old one.

    Attributes:
        labels: (h,), the new channel; −1 where a constant does.
        kept: (g,), the old channel that is each new one.
    """

    labels: Int[Tensor, " h"]
    kept: Int[Tensor, " g"]

    def in_order(self) -> Groups:
        """The same with the new channels in the order of the old ones."""
        order = self.kept.argsort()
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        labels = torch.where(self.labels < 0, CONSTANT, place[self.labels.clamp(min=0)])
        return Groups(labels, self.kept[order])


def _distances(reading: Reading) -> tuple[Tensor, Tensor, Tensor]:
    second, power = reading.moments.about(reading.affine), reading.moments.power
    variance = second.diagonal().clamp(min=0)
    # Entry (j, k): var_k − cov²/var_j, over E[F_k²]. What rounding leaves of a difference of equals is no distance.
    explained = second.square().div_(torch.where(variance > 0, variance, torch.inf)[:, None])
    rounding = 64 * torch.finfo(torch.float64).eps * power
    explained.neg_().add_(variance - rounding).clamp_(min=0).div_(power.clamp(min=1e-300)).sqrt_()
    pairs = explained.to(torch.float32)
    constant = torch.stack([_spread(each, reading.affine) for each in (reading.moments, reading.check)]).amax(0)
    given = reading.importance * variance.sqrt()
    return pairs, constant, given / given.norm().clamp(min=1e-300)


def _spread(moments: Moments, affine: bool) -> Tensor:
    """What is left of each channel after a constant is, relative; 1 where none can be taken, and 0 where it is zero."""
    variance = moments.power - (moments.mean * affine).square() - 64 * torch.finfo(torch.float64).eps * moments.power
    return (variance.clamp(min=0) / moments.power.clamp(min=1e-300)).sqrt()
