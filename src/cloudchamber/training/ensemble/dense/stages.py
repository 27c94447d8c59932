"""The parts of a dense chain beside its elementwise functions."""

from __future__ import annotations

from dataclasses import dataclass

from cloudchamber.training.ensemble.dense.activations import Elementwise


class NotAChain(Exception):
    """A module is no dense chain; the message says why."""


@dataclass(frozen=True)
class Affine:
    """A linear layer: `z = W h + b`.

    Attributes:
        weight: its name in the layout.
        bias: its name, if there is one.
        fan_in: columns of the weight.
        fan_out: rows of the weight.
    """

    weight: str
    bias: str | None
    fan_in: int
    fan_out: int


@dataclass(frozen=True)
class Flatten:
    """Makes every sample one vector."""


@dataclass(frozen=True)
class MemberScale:
    """Multiplies by a number of each member's own.

    Attributes:
        name: that of the buffer.
    """

    name: str


Computed = Affine | Elementwise | MemberScale
Stage = Computed | Flatten
