"""What can be said of a merge without the examples: which neurons are copies for every input, and by how much at most
what consumes them changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cloudchamber.anatomy.channels import Space
from cloudchamber.reduction.change import Fold
from cloudchamber.reduction.grouping import Groups
from cloudchamber.reduction.weights import importance, neurons

HOMOGENEOUS = frozenset(["relu", "leaky_relu", "max_pool", "amax"])
"""σ(cz) = cσ(z) for c > 0"""
ODD = frozenset(["tanh", "softsign", "hardtanh", "sin", "atan", "tanhshrink", "softshrink", "hardshrink"])
"""σ(−z) = −σ(z)"""
SLOPES = {"relu": 1.0, "tanh": 1.0, "sigmoid": 0.25, "gelu": 1.13, "silu": 1.1, "softplus": 1.0, "softsign": 1.0}
"""Largest slopes of activations."""
CURVED: dict[str, Callable[[Tensor], Tensor]] = {"tanh": lambda z: z**3 / 3, "softsign": lambda z: z**2}
"""Bounds of |σ(z) − z| for z ≥ 0: how far from linear an activation is where its argument is small."""
ROUNDING = 1e-5


@dataclass(frozen=True)
class Copies:
    """Neurons beside their leaders, by their weights alone.

    Attributes:
        exact: (h,), whether each is its leader times the fold's factor for every input, up to rounding.
        rest: (h,), the norm of `w_k − c w_j`, biases included; infinity where the activation allows no such factor.
        length: (h,), `|c| ‖w_j‖`; how long the leader's argument can get for an input of norm 1.
        bent: (h,), whether the factor is none that the activation allows, so that it holds for small arguments alone.
    """

    exact: Bool[Tensor, " h"]
    rest: Float[Tensor, " h"]
    length: Float[Tensor, " h"]
    bent: Bool[Tensor, " h"]


def copies(model: nn.Module, space: Space, groups: Groups, fold: Fold) -> Copies:
    """Compare the weights of every neuron with those of its leader times the closed sum's factor.

    The factor may be positive for activations with σ(cz) = cσ(z), ±1 for odd ones, any for linear ones, else 1. Where
    the activation allows another factor only for small arguments, see `bent`.
    """
    rows, scalable = neurons(model, space)
    member = groups.labels >= 0
    factor = torch.where(member, fold.matrix.gather(1, groups.labels.clamp(min=0)[:, None])[:, 0], 0.0)
    leaders = rows[groups.kept[groups.labels.clamp(min=0)]]
    rest, size = (rows - factor[:, None] * leaders).norm(dim=1), rows.norm(dim=1)
    allowed = _allowed(space, factor, scalable)
    steady = ~member & (fold.shift == 0) & (size == 0)
    exact = (member & allowed & (rest <= ROUNDING * size) & (fold.shift.abs() <= ROUNDING)) | steady
    exact[groups.kept] = True
    return Copies(exact, torch.where(member, rest, inf), factor.abs() * leaders.norm(dim=1), ~allowed)


def alike(model: nn.Module, space: Space) -> Bool[Tensor, "h h"]:
    """Return which neurons are the same for every input by their weights, up to a factor that the activation allows."""
    rows, scalable = neurons(model, space)
    size = rows.norm(dim=1)
    unit = rows / size.clamp(min=1e-300)[:, None]
    cosine, ratio = unit @ unit.T, size[:, None] / size.clamp(min=1e-300)
    free = scalable and (space.functions <= HOMOGENEOUS)
    signed = scalable and (space.functions <= ODD)
    near = 1 - (cosine.abs() if signed else cosine) <= ROUNDING**2
    return near & ((ratio - 1).abs() <= ROUNDING) if not free else near


def _allowed(space: Space, factor: Tensor, scalable: bool) -> Bool[Tensor, " h"]:
    same = (factor - 1).abs() <= ROUNDING
    if not scalable:
        return same
    if not space.functions:
        return torch.ones_like(same)
    if space.functions <= HOMOGENEOUS:
        return factor > 0
    return (factor.abs() - 1).abs() <= ROUNDING if space.functions <= ODD else same


def bound_for_every_input(
    model: nn.Module, space: Space, groups: Groups, folds: dict[str, Fold], radius: float
) -> float:
    """Return the most by which what a consumer computes changes, for every input (x, 1) whose norm is at most `radius`.

    `‖ΔZ‖ ≤ Σ_k ‖a_k‖ (Lip(σ) ‖w_k − c w_j‖ R + |σ(cz) − cσ(z)|)`, the second part zero where the activation allows the
    factor, else bounded by how far σ is from linear.

    Returns:
        The bound, of the largest of the consumers; NaN where nothing is known: several layers added, a convolution,
        least squares, constants, or an activation without a known slope.
    """
    plain = len(space.makers) == 1 and len(space.functions) <= 1 and all(fold.how == "sum" for fold in folds.values())
    types = {part.layer_type for part in space.parts.values() if part.makes or part.consumes}
    function = next(iter(space.functions), "")
    slope = SLOPES.get(function, nan) if function else 1.0
    if not plain or types != {"Linear"} or slope != slope or bool((groups.labels < 0).any()):
        return nan
    bounds = []
    for key, reader in space.readers.items():
        each = _changes(copies(model, space, groups, folds[key]), folds[key], slope, function, radius)
        each[groups.kept] = 0.0
        bounds.append(float((importance(model, reader) * each).sum()))
    return max(bounds)


def _changes(found: Copies, fold: Fold, slope: float, function: str, radius: float) -> Tensor:
    """By how much at most each neuron differs from what stands for it; NaN where that is not known."""
    each = slope * found.rest * radius
    if bool(found.bent.any()):
        curved = CURVED.get(function)
        if curved is None:
            return torch.where(found.bent, nan, each)
        factor = fold.matrix.abs().sum(1).clamp(min=1e-300)
        argument = found.length * radius
        each = each + torch.where(found.bent, curved(argument) + factor * curved(argument / factor), 0.0)
    return torch.where(fold.shift != 0, nan, each)
