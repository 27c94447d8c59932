"""How an entry of the catalogue is written, and the dimensions and ranges that many quantities share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from cloudchamber._core.registry import Quantity
from cloudchamber.measures.registry import Field, Measure, add

LAYER = ("step", "layer")

COSINE = (-1.0, 1.0)
FRACTION = (0.0, 1.0)
POSITIVE = (0.0, math.inf)
REAL = (-math.inf, math.inf)


def entry(
    name: str,
    long_name: str,
    symbol: str,
    source: str,
    bounds: tuple[float, float],
    function: Callable[..., Tensor],
    takes: Mapping[str, Field],
    *,
    dims: tuple[str, ...] = LAYER,
    unit: str = "1",
    **options: Any,
) -> Measure:
    """Register a measure, its quantity's source given as "paper, section"; `options` are those of `Measure`."""
    paper, _, section = source.partition(", ")
    quantity = Quantity(name, long_name, symbol, dims, unit, bounds, paper, section)
    return add(Measure(quantity, function, takes, **options))
