"""What the networks of a regime diagram are trained on, in float64, with a last input of 1 for the bias."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from cloudchamber.data import Dataset, DigitsConfig, ImagesConfig, load_data

SampleSet = Literal["line", "mnist", "digits"]
INPUTS: Mapping[SampleSet, int] = MappingProxyType({"line": 2, "mnist": 785, "digits": 65})
"""with the last one that is 1"""
DRAW = 0
"""seed of the subset of MNIST: all networks see the same samples"""


@cache
def samples(name: SampleSet, count: int) -> tuple[Tensor, Tensor]:
    """Return inputs (n, d) and targets (n,) of order 1, as the diagram's coordinates suppose.

    "line": x even in [−½, ½] and y = x² (Luo et al., 2021; there n = 4). "mnist": images of digits, scaled to
    a mean squared length of 1, and 1 for even digits, −1 for odd ones; the paper's own target could not be recovered.
    "digits": the same of the small images that need no files.

    Args:
        name: of the set.
        count: how many samples.

    Raises:
        FileAccess: if MNIST is nowhere.

    >>> samples("line", 4)[1]
    tensor([0.2500, 0.0278, 0.0278, 0.2500], dtype=torch.float64)
    """
    if name == "line":
        return _line(count)
    if name == "digits":
        return _parity(load_data(DigitsConfig(), DRAW), count)
    return _parity(load_data(ImagesConfig(name="mnist", normalization="scaled", samples=count), DRAW), count)


def _line(count: int) -> tuple[Tensor, Tensor]:
    x = torch.linspace(-0.5, 0.5, count, dtype=torch.float64)
    return _with_one(x[:, None]), x.square()


def _parity(found: Dataset, count: int) -> tuple[Tensor, Tensor]:
    pixels = found.inputs[:count].to(torch.float64).flatten(1)
    length = pixels.square().sum(1).mean().sqrt()
    return _with_one(pixels / length), 1.0 - 2.0 * (found.targets[:count] % 2).to(torch.float64)


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
