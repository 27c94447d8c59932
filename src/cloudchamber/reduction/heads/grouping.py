"""Which heads are one: those whose scores are the same where they are computed.

The distance of two heads is the root mean square difference of their scores over pairs of a query and a key, up to
what is the same for all keys, which the softmax does not see: with Δ the difference of their `q_hᵀ k_h/√d`,

    ‖Δ‖² = tr(E[x xᵀ] Δ Cov[x'] Δᵀ).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cloudchamber.reduction.heads.blocks import ZERO, Blocks, HeadGroups, singular, stacked, unbiased
from cloudchamber.reduction.moments import Moments

ALIKE = 1e-5
"""Relative difference of the weights' products that is rounding."""


@dataclass(frozen=True)
class HeadDistances:
    """How far heads are from each other.

    Attributes:
        blocks: their weights.
        pairs: (H, H), the root mean square difference of their scores.
        alike: (H, H), which have the same scores for every input, by their weights.
        size: (H,), norms of `o_h v_h`.
        tails: (H, d), the root mean square of the scores that a head loses with r of d dimensions.
        free: whether heads may be of any width.
        rounding: relative size of what is rounding of the weights.
    """

    blocks: Blocks
    pairs: Float[Tensor, "H H"]
    alike: Bool[Tensor, "H H"]
    size: Float[Tensor, " H"]
    tails: Float[Tensor, "H d"]
    free: bool
    rounding: float

    @classmethod
    def of(cls, blocks: Blocks, queries: Moments, keys: Moments, *, free: bool, rounding: float) -> HeadDistances:
        """Compare heads on what queries and keys are made of."""
        mean = keys.second[:, -1]
        metric = (queries.second, keys.second - torch.outer(mean, mean))
        pairs = _from_products(_products(blocks, *metric))
        plain = _products(blocks, None, None)
        norms = plain.diagonal().clamp(min=0).sqrt()
        alike = _from_products(plain) <= ALIKE * torch.minimum(norms[:, None], norms[None])
        size = torch.stack([singular(o, v)[1].norm() for o, v in zip(blocks.o, blocks.v, strict=True)])
        tails = torch.stack([_tails(q, k, metric, rounding) for q, k in zip(blocks.q, blocks.k, strict=True)])
        return cls(blocks, pairs, alike, size, tails, free, rounding)

    def groups(self, level: float) -> HeadGroups:
        """Return the groups in which no head's scores are farther than `level` from those of its leader.

        Heads that add less than `level` of a fair share are left out. Where heads may be of any width, heads with one
        attention put their values side by side, if that takes fewer weights; else they join only as far as the sum of
        what they add has the rank that one head has, up to `level`.
        """
        narrow = self._groups(level, limit=self.blocks.size[2])
        if not self.free:
            return narrow
        wide = self._groups(level, limit=None)
        return wide if self._weights(wide) < self._weights(narrow) else narrow

    def key(self, groups: HeadGroups) -> bytes:
        """Return something that tells whether two groupings are the same; empty if the heads stay as they are."""
        if groups.size == self.blocks.size:
            return b""
        return groups.labels.numpy().tobytes() + repr(groups.size).encode()

    def _groups(self, level: float, limit: int | None) -> HeadGroups:
        heads = len(self.size)
        zero = self.size <= max(level / heads, self.rounding) * self.size.norm()
        order = [head for head in self.size.argsort(descending=True, stable=True).tolist() if not zero[head]]
        members: list[list[int]] = []
        for head in order or [0]:
            close = [each for each in members if self._joins(each, head, level, limit)]
            if close:
                min(close, key=lambda each: float(self.pairs[each[0], head])).append(head)
            else:
                members.append([head])
        return self._made(sorted(members), level)

    def _joins(self, members: list[int], head: int, level: float, limit: int | None) -> bool:
        close = self.pairs[members[0], head] <= level if level else self.alike[members[0], head]
        return bool(close) and (limit is None or self._rank([*members, head], level) <= limit)

    def _rank(self, members: list[int], level: float) -> int:
        """The rank of what heads add together, up to `level`."""
        s = singular(*stacked(self.blocks, members))[1]
        rest = s.square().flip(0).cumsum(0).flip(0).sqrt()
        return max(int((rest > max(level, self.rounding) * s.norm()).sum()), 1)

    def _made(self, members: list[list[int]], level: float) -> HeadGroups:
        labels = torch.full((len(self.size),), ZERO)
        for group, each in enumerate(members):
            labels[each] = group
        kept = torch.tensor([each[0] for each in members])
        _, queries, values = self.blocks.size
        if self.free:
            queries = max(int((self.tails[kept] > level).sum(1).amax()), 1)
            values = max(self._rank(each, level) for each in members)
        return HeadGroups(labels, kept, queries, values)

    def _weights(self, groups: HeadGroups) -> int:
        """How many weights heads have."""
        q, k, v, o = self.blocks.q, self.blocks.k, self.blocks.v, self.blocks.o
        heads, queries, values = groups.size
        return heads * (queries * (q.shape[2] + k.shape[2]) + values * (v.shape[2] + o.shape[1]))


def _products(blocks: Blocks, queries: Tensor | None, keys: Tensor | None) -> Float[Tensor, "H H"]:
    """tr(C G_a K G_bᵀ) of all heads a, b, for G = qᵀk/√d: sums over blocks of `(q C qᵀ) ∘ (k K kᵀ)/d`."""
    heads, width, _ = blocks.q.shape
    q, k = blocks.q.flatten(0, 1), torch.stack([unbiased(each) for each in blocks.k]).flatten(0, 1)
    left = q @ q.T if queries is None else q @ queries @ q.T
    right = k @ k.T if keys is None else k @ keys @ k.T
    return (left * right).view(heads, width, heads, width).sum((1, 3)) / width


def _from_products(products: Float[Tensor, "H H"]) -> Float[Tensor, "H H"]:
    own = products.diagonal()
    square = own[:, None] + own[None] - products - products.T
    noise = 16 * torch.finfo(torch.float64).eps * (own[:, None] + own[None])
    return (square - noise).clamp(min=0).sqrt()


def _tails(q: Tensor, k: Tensor, metric: tuple[Tensor, Tensor], rounding: float) -> Float[Tensor, " d"]:
    """The root mean square of the scores that are lost with the last d, d − 1, … 1 dimensions; 0 for rounding."""
    u, s, vh = singular(q.T, unbiased(k))
    s = torch.where(s > rounding * s.norm(), s, 0.0)
    part = torch.outer(s, s) * (u.T @ metric[0] @ u) * (vh @ metric[1] @ vh.T) / len(q)
    lost = part.flip(0, 1).cumsum(0).cumsum(1).diagonal().clamp(min=0).flip(0).sqrt()
    lost = torch.where(s > 0, lost.clamp(min=1e-300), 0.0)
    return torch.nn.functional.pad(lost, (0, len(q) - len(lost)))
