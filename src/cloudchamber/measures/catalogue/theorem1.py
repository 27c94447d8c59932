"""Theorem 1: how strongly each part of the next layer's weight changes this one, on average over samples.

C' is the next layer's common direction of the same observation, the learning rate 1. For layers that are applied once
per sample and whose features go to the next layer only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.types import Scalar, Vector
from cloudchamber.measures.catalogue.entries import LAYER, POSITIVE, entry
from cloudchamber.measures.registry import RARE, Field

COMPONENT_COUNT = 3
"""How many of the noise components have a place of their own in a record."""

_Strengths = Float[Tensor, "n r"]
_AnyStrengths = Float[Tensor, "n ..."]


def standard_error(strengths: Vector) -> Scalar:
    """Return the standard error of the mean; NaN for fewer than two samples."""
    return strengths.std() / len(strengths) ** 0.5 if len(strengths) > 1 else strengths.new_tensor(torch.nan)


def leading(strengths: _Strengths) -> Float[Tensor, " k"]:
    """Return the mean strengths S_1, S_2, S_3 over samples."""
    return strengths[:, :COMPONENT_COUNT].mean(0)


def largest(strengths: _Strengths) -> Scalar:
    """Return the largest of all components' mean strengths: single ones are ill-conditioned, this is less so."""
    return strengths.mean(0).amax()


def mean(strengths: _AnyStrengths) -> Scalar:
    """Return the mean over samples, and over components where there are any."""
    return strengths.mean()


def _entry(
    name: str,
    long_name: str,
    symbol: str,
    function: Callable[..., Tensor],
    strengths: Field,
    *,
    dims: tuple[str, ...] = LAYER,
) -> None:
    source, groups = "mlp2024, Theorem 1, Table 1", ("theorem1",)
    takes: dict[str, Field] = {"strengths": strengths}
    entry(name, long_name, symbol, source, POSITIVE, function, takes, dims=dims, groups=groups, at_most=RARE)


_entry(
    "primary_strength",
    "strength of the primary component of a sample's weight change, mean over samples",
    "S_primary",
    mean,
    "primary_strengths",
)
_entry(
    "primary_strength_error",
    "standard error of the mean strength of the primary component",
    "SE(S_primary)",
    standard_error,
    "primary_strengths",
)
_entry(
    "noise_strength",
    "strength of the leading noise components of a sample's weight change, mean over samples",
    "S_k",
    leading,
    "noise_strengths",
    dims=(*LAYER, "component"),
)
_entry(
    "noise_strength_max",
    "strength of the strongest noise component of a sample's weight change, mean over samples",
    "max_k S_k",
    largest,
    "noise_strengths",
)
_entry(
    "noise_strength_mean",
    "strength of a noise component of a sample's weight change, mean over components and samples",
    "E_k S_k",
    mean,
    "noise_strengths",
)
