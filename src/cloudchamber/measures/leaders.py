"""Leaders and their followers among unit vectors, without the n × n matrix of cosines.

In order, every vector that is in no group yet leads a new one, which all vectors close to it join that are in none.
Done in blocks of candidates: within a block by loop, against all others by one matrix product, after which those that
joined drop out. Before that product, its first columns alone exclude most vectors that are not close, exactly:
`|u·v| ≤ |u_first·v_first| + ‖u_beyond‖ ‖v_beyond‖`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber.measures.vectors import product

_BLOCK = 512
_CHUNK = 2048
_FEWEST_COLUMNS = 64
_MARGIN = 0.15
_ROUNDING = 1e-5


@dataclass(frozen=True)
class _Rows:
    """Unit vectors, their places among all, and a bound on their lengths beyond the first columns."""

    place: Tensor
    unit: Tensor
    beyond: Tensor

    def __getitem__(self, chosen: Tensor | slice) -> _Rows:
        return _Rows(self.place[chosen], self.unit[chosen], self.beyond[chosen])

    def __len__(self) -> int:
        return len(self.place)


@dataclass(frozen=True)
class _Closeness:
    """When two unit vectors are close; `columns` is how many a first look takes, 0 if that is not worth it."""

    threshold: float
    signed: bool
    columns: int

    def near(self, a: Tensor, b: Tensor) -> Tensor:
        """Which pairs are close."""
        cosine = product(a, b.T)
        return (cosine if self.signed else cosine.abs_()) > self.threshold

    def likely(self, head: _Rows, rest: _Rows) -> Tensor | slice:
        """The rows of `rest` that may be close to one of `head`."""
        if not self.columns:
            return slice(None)
        first = product(head.unit[:, : self.columns], rest.unit[:, : self.columns].T).abs_().amax(0)
        return (first + head.beyond.amax() * rest.beyond > self.threshold - _ROUNDING).nonzero()[:, 0]

    def joined(self, head: _Rows, rest: _Rows) -> Tensor:
        """For every row of `rest` the first of `head` that it is close to, −1 for none."""
        likely = self.likely(head, rest)
        close = self.near(head.unit, rest.unit[likely])
        hit = close.any(0)
        followed = torch.full((close.shape[1],), -1, device=close.device)
        followed[hit] = close[:, hit].to(torch.uint8).argmax(0)
        joined = torch.full_like(rest.place, -1)
        joined[likely] = followed
        return joined


def lead(unit: Float[Tensor, "n d"], threshold: float, signed: bool) -> tuple[Int[Tensor, " n"], Int[Tensor, " g"]]:
    """Return the group of each vector and the places of the groups' leaders; earlier vectors lead first.

    >>> lead(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), 0.9, signed=False)
    (tensor([0, 1, 0]), tensor([0, 1]))
    """
    closeness = _Closeness(threshold, signed, _first_columns(unit, threshold))
    rows = _all_rows(unit, closeness.columns)
    groups, leaders = torch.full_like(rows.place, -1), rows.place[:0]
    while len(rows):
        block, rows = rows[:_BLOCK], rows[_BLOCK:]
        chosen, followed = lead_close(closeness.near(block.unit, block.unit))
        groups[block.place] = len(leaders) + followed
        joined = [closeness.joined(block[chosen], part) for part in _chunks(rows)]
        rows = _settle(rows, torch.cat(joined), groups, len(leaders)) if joined else rows
        leaders = torch.cat([leaders, block.place[chosen]])
    return groups, leaders


def _settle(rows: _Rows, joined: Tensor, groups: Tensor, before: int) -> _Rows:
    """Write down who joined which group; return the rows that are still in none."""
    found = joined >= 0
    groups[rows.place[found]] = before + joined[found]
    return rows[~found] if found.any() else rows


def _chunks(rows: _Rows) -> list[_Rows]:
    return [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]


def lead_close(near: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positions that lead, and for every position which leader it follows: the first that it is close to.

    Args:
        near: (n, n) booleans, entry (i, j) whether j is close to i; earlier positions lead first.

    >>> lead_close(torch.tensor([[True, True, False], [True, True, True], [False, True, True]]))
    (tensor([0, 2]), tensor([0, 0, 1]))
    """
    close = near.cpu().numpy()
    np.fill_diagonal(close, True)
    free, leaders = np.ones(len(close), dtype=bool), []
    for position in range(len(close)):
        if free[position]:
            leaders.append(position)
            free &= ~close[position]
    followed = close[leaders].argmax(0)
    return torch.tensor(leaders, device=near.device), torch.from_numpy(followed).to(near.device)


def _first_columns(unit: Tensor, threshold: float) -> int:
    """How many columns exclude vectors that are not close; 0 if that takes too many of them."""
    energy = unit[:_BLOCK].square().mean(0).cumsum(0)
    columns = max(_FEWEST_COLUMNS, int((energy < 1 - threshold + _MARGIN).sum()))
    return columns if len(unit) > _BLOCK and columns <= unit.shape[1] // 3 else 0


def _all_rows(unit: Tensor, columns: int) -> _Rows:
    seen = torch.linalg.vector_norm(unit[:, :columns], dim=1)
    beyond = (1 + _ROUNDING - seen * seen).clamp(min=0).sqrt()
    return _Rows(torch.arange(len(unit), device=unit.device), unit, beyond)
