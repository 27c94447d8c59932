"""What the heads of an attention are made of, and the same attention with fewer heads, narrower ones, or more.

Head h adds `A_h [x, 1] v_hᵀ o_hᵀ`, A_h being the softmax of `[x, 1] q_hᵀ k_h [x', 1]ᵀ/√d`. An invertible
matrix between q_h and k_h, or between v_h and o_h, changes nothing: what counts are the products `q_hᵀ k_h` and
`o_h v_h`. Heads with the same first product are one head, whose second product is the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

ZERO = -1
"""Label of a head that adds nothing."""


@dataclass(frozen=True)
class Blocks:
    """The weights of H heads, in float64; the last column of q, k and v is the bias.

    Attributes:
        q: (H, d, e + 1), queries.
        k: (H, d, e' + 1), keys.
        v: (H, c, e" + 1), values.
        o: (H, f, c), what the output is made of.
    """

    q: Float[Tensor, "H d e"]
    k: Float[Tensor, "H d e1"]
    v: Float[Tensor, "H c e2"]
    o: Float[Tensor, "H f c"]

    @property
    def size(self) -> tuple[int, int, int]:
        """How many heads, and how wide queries and values are in each."""
        return (len(self.q), self.q.shape[1], self.v.shape[1])


@dataclass(frozen=True)
class HeadGroups:
    """Which head stands for each.

    Attributes:
        labels: (H,), the new head; −1 for those that add nothing.
        kept: (g,), the old head whose queries and keys each new one has.
        queries: width of queries and keys in a new head.
        values: width of values in a new head.
    """

    labels: Int[Tensor, " H"]
    kept: Int[Tensor, " g"]
    queries: int
    values: int

    @property
    def size(self) -> tuple[int, int, int]:
        """How many heads, and how wide queries and values are in each."""
        return (len(self.kept), self.queries, self.values)

    def members(self, group: int) -> Int[Tensor, " m"]:
        """Return the old heads that become a new one."""
        return (self.labels == group).nonzero()[:, 0]


def merged(blocks: Blocks, groups: HeadGroups) -> Blocks:
    """Return the heads that stand for the old ones: exact where the ranks allow it, else the nearest (Frobenius)."""
    pairs = [_scores(blocks, int(leader), groups.queries) for leader in groups.kept]
    sums = [_outputs(blocks, groups.members(group), groups.values) for group in range(len(groups.kept))]
    q, k = (torch.stack(each) for each in zip(*pairs, strict=True))
    v, o = (torch.stack(each) for each in zip(*sums, strict=True))
    return Blocks(q, k, v, o)


def split(blocks: Blocks, origin: Int[Tensor, " g"], shares: Float[Tensor, " g"]) -> Blocks:
    """Return copies of heads, each with a share of what the old one adds."""
    return replace(
        Blocks(*(each[origin] for each in (blocks.q, blocks.k, blocks.v, blocks.o))),
        o=blocks.o[origin] * shares[:, None, None],
    )


def with_another(blocks: Blocks) -> Blocks:
    """Return the heads and the first once more."""
    return Blocks(*(torch.cat([each, each[:1]]) for each in (blocks.q, blocks.k, blocks.v, blocks.o)))


def _scores(blocks: Blocks, head: int, width: int) -> tuple[Tensor, Tensor]:
    """Queries and keys of a head, of a given width; `/√d` is made up for."""
    q, k = blocks.q[head], blocks.k[head]
    if width == len(q):
        return q, k
    left, right = nearest(q.T, unbiased(k), width)
    return left.T * (width / len(q)) ** 0.5, right


def _outputs(blocks: Blocks, members: Sequence[int] | Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Values and outputs of heads with one attention, of a given width."""
    if len(members) == 1 and width == blocks.v.shape[1]:
        return blocks.v[members[0]], blocks.o[members[0]]
    o, v = stacked(blocks, members)
    left, right = nearest(o, v, width)
    return right, left


def stacked(blocks: Blocks, members: Sequence[int] | Tensor) -> tuple[Float[Tensor, "f m"], Float[Tensor, "m e"]]:
    """Return (o, v) of heads side by side, whose product is the sum of theirs."""
    return torch.cat([blocks.o[int(head)] for head in members], 1), torch.cat([blocks.v[int(head)] for head in members])


def unbiased(k: Float[Tensor, "d e1"]) -> Float[Tensor, "d e1"]:
    """Return keys without their bias, which adds the same to the scores of all keys."""
    return torch.cat([k[:, :-1], torch.zeros_like(k[:, -1:])], 1)


def singular(left: Float[Tensor, "f m"], right: Float[Tensor, "m e"]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the singular value decomposition of a product by that of a small matrix."""
    (a, inner_a), (b, inner_b) = torch.linalg.qr(left), torch.linalg.qr(right.T)
    u, s, vh = torch.linalg.svd(inner_a @ inner_b.T, full_matrices=False)
    return a @ u, s, vh @ b.T


def nearest(left: Float[Tensor, "f m"], right: Float[Tensor, "m e"], rank: int) -> tuple[Tensor, Tensor]:
    """Return the factors, (f, rank) and (rank, e), of the matrix of a rank that is nearest to a product.

    >>> a, b = nearest(torch.ones(3, 2).double(), torch.ones(2, 4).double(), 1)
    >>> torch.allclose(a @ b, torch.full((3, 4), 2.0).double())
    True
    """
    u, s, vh = singular(left, right)
    root, missing = s[:rank].sqrt(), max(rank - len(s), 0)
    first, second = u[:, :rank] * root, root[:, None] * vh[:rank]
    return torch.nn.functional.pad(first, (0, missing)), torch.nn.functional.pad(second, (0, 0, 0, missing))
