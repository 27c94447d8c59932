"""What the consumers of a space make of its new channels: the closed sum and least squares, and the better of both."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber.reduction.change import Fold
from cloudchamber.reduction.grouping import UNSEEN, Groups, Reading
from cloudchamber.reduction.moments import Moments

ROUNDING = 1e-13
"""A change of the square of what a consumer computes, relative, that is rounding."""
RIDGE = 1e-9
"""of least squares, times the mean power of the channels kept"""


def closed_sum(reading: Reading, groups: Groups) -> Fold:
    """Return the fold in which every channel is known from its leader alone.

    `F_k ≈ c F_j + s` with the best c and s over the examples, so that the consumer's weight of j becomes the sum
    `Σ_k c_k a_k`: for ReLU neurons along one direction `Σ_k a_k ‖w_k‖/‖w_j‖`.

    Source: overview2025, Section 7.3.
    """
    h, member = len(groups.labels), groups.labels >= 0
    leader, mean = groups.kept[groups.labels.clamp(min=0)], reading.moments.mean
    factor, rest = _line(reading.moments, leader, affine=False)
    shifted, less = _line(reading.moments, leader, affine=True)
    # A constant only where it helps: copies have none, and what is left of them is rounding.
    shifts = member & (less < 0.5 * rest) & (rest > UNSEEN * reading.moments.power.sqrt()) & reading.affine
    factor = torch.where(shifts, shifted, factor)
    factor[groups.kept] = 1.0
    matrix = torch.zeros(h, len(groups.kept), dtype=torch.float64)
    matrix[member, groups.labels[member]] = factor[member]
    shift = torch.where(shifts, mean - factor * mean[leader], torch.where(member, 0.0, mean * reading.affine))
    shift[groups.kept] = 0.0
    return Fold(matrix, shift)


def _line(moments: Moments, leader: Tensor, *, affine: bool) -> tuple[Tensor, Tensor]:
    """The factor by which each channel's leader is closest to it, and the root mean square of what is left."""
    mean, power = moments.mean * affine, moments.power - (moments.mean * affine).square()
    across = moments.second[torch.arange(len(leader)), leader] - mean * mean[leader]
    of_leader = power[leader]
    factor = torch.where(of_leader > 0, across / of_leader.clamp(min=1e-300), 0.0)
    return factor, (power - factor * across).clamp(min=0).sqrt()


def least_squares(reading: Reading, groups: Groups) -> Fold:
    """Return the fold in which every channel is known from all that are kept: `min_{M, s} E‖F − M F_kept − s‖²`.

    It minimizes the change of a consumer's `a·F` whatever a is; rows of channels that are kept are left as they are.
    """
    mean, kept = reading.moments.mean, groups.kept
    across = reading.moments.second[kept][:, :-1]
    if reading.affine:
        across = across - torch.outer(mean[kept], mean)
    gram = across[:, kept].clone()
    gram.diagonal().add_(RIDGE * gram.diagonal().mean().clamp(min=1e-300))
    factor, failed = torch.linalg.cholesky_ex(gram)
    matrix = torch.cholesky_solve(across, factor).T.contiguous() if not failed else across.T * torch.nan
    matrix[kept] = torch.eye(len(kept), dtype=torch.float64)
    shift = mean - matrix @ mean[kept] if reading.affine else torch.zeros_like(mean)
    shift[kept] = 0.0
    return Fold(matrix, shift, "least squares")


def change_of(moments: Moments, groups: Groups, fold: Fold, consumer: Float[Tensor, "h _"]) -> float:
    """Return `E‖aᵀ(F − M F_kept − s)‖²`, the mean square change of what a consumer with weights a computes."""
    wanted, change = _wanted(groups, fold)
    rest = torch.cat([consumer, consumer.new_zeros(1, consumer.shape[1])])
    rest.index_add_(0, wanted, change.T @ consumer, alpha=-1)
    return float((rest * (moments.second @ rest)).sum().clamp(min=0))


def _wanted(groups: Groups, fold: Fold) -> tuple[Tensor, Tensor]:
    """The entries of the moments that a fold takes (what is kept, and 1), and (M, s)."""
    last = torch.tensor([len(groups.labels)])
    return torch.cat([groups.kept, last]), torch.cat([fold.matrix, fold.shift[:, None]], 1)


def left(moments: Moments, groups: Groups, fold: Fold) -> Float[Tensor, " h"]:
    """Return the root mean square of what the fold leaves of each channel."""
    wanted, change = _wanted(groups, fold)
    across = moments.second[:-1][:, wanted]
    inner = change @ moments.second[wanted][:, wanted]
    square = moments.power - 2 * (across * change).sum(1) + (inner * change).sum(1)
    return square.clamp(min=0).sqrt()


def better(reading: Reading, groups: Groups, consumer: Float[Tensor, "h _"]) -> Fold:
    """Return the closed sum or least squares: whichever changes the consumer less on examples that were held out."""
    plain, check = closed_sum(reading, groups), reading.check
    error = change_of(check, groups, plain, consumer)
    if error <= ROUNDING * float((consumer * (check.second[:-1, :-1] @ consumer)).sum()):
        return plain
    fitted = least_squares(reading, groups)
    return fitted if change_of(check, groups, fitted, consumer) < 0.99 * error else plain
