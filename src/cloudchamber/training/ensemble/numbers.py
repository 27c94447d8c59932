"""Numbers of an optimizer: for all members, for each, or by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.training.ensemble.layout import Flat, Layout

Number = float | Tensor
"""One number for all members, or one per member: (K,)."""
Numbers = Number | Mapping[str, Number]
"""The same, or by name of a parameter or module; the name "*" stands for all parameters that are not named."""
OTHERS = "*"


@dataclass(frozen=True)
class Range:
    """What a number may be: low ≤ x < high."""

    low: float
    high: float
    words: str

    def holds(self, values: Tensor) -> bool:
        """Whether all values lie in it; NaN does not."""
        return bool(((values >= self.low) & (values < self.high)).all())


def table(name: str, numbers: Numbers, allowed: Range, flat: Flat, layout: Layout) -> Float[Tensor, "r c"]:
    """Return a number as a float64 table that goes with parameters (K, P): (1 or K, 1 or P).

    Raises:
        InvalidInput: if a number is not allowed, names no parameter or one twice, leaves one out, or is not for as many
            members.
    """
    if not isinstance(numbers, Mapping):
        return _column(name, numbers, allowed, flat)
    columns = {key: _column(name, number, allowed, flat) for key, number in numbers.items()}
    rows = max((len(column) for column in columns.values()), default=1)
    filled = torch.empty(rows, layout.size, dtype=torch.float64, device=flat.device)
    for parameter, key in _keys(name, list(numbers), layout).items():
        filled[:, layout.slices[parameter]] = columns[key]
    return filled


def some_numbers(name: str, numbers: Numbers, chosen: Int[Tensor, " k"], members: int) -> Numbers:
    """Return the numbers of some of all members.

    Raises:
        InvalidInput: if they are for another number of members.
    """
    if isinstance(numbers, Mapping):
        return {key: _some(name, number, chosen, members) for key, number in numbers.items()}
    return _some(name, numbers, chosen, members)


def _some(name: str, number: Number, chosen: Int[Tensor, " k"], members: int) -> Number:
    values = torch.as_tensor(number)
    _require_count(name, values, members)
    return values[chosen.to(values.device)] if values.ndim else number


def _require_count(name: str, values: Tensor, members: int) -> None:
    require(
        values.shape in ((), (members,)),
        f"`{name}` is one number, or one per member: {members}",
        tuple(values.shape),
        "pass a float, or a tensor with one entry per model",
    )


def _column(name: str, number: Number, allowed: Range, flat: Flat) -> Tensor:
    values = torch.as_tensor(number, dtype=torch.float64, device=flat.device)
    _require_count(name, values, len(flat))
    require(allowed.holds(values), f"`{name}` is {allowed.words}", number, "pass such a number")
    return values.reshape(-1, 1)


def _keys(name: str, keys: list[str], layout: Layout) -> dict[str, str]:
    """Which key gives the number of each parameter."""
    chosen: dict[str, str] = {}
    for key in keys:
        for parameter in layout.meant_by(key) if key != OTHERS else ():
            rule = f"`{name}` has one entry for each parameter"
            require(parameter not in chosen, rule, f"{chosen.get(parameter)!r} and {key!r} for {parameter}", "drop one")
            chosen[parameter] = key
    missing = [parameter for parameter in layout.names if parameter not in chosen]
    rule = f"`{name}` has an entry for each parameter"
    require(not missing or OTHERS in keys, rule, f"none for {missing}", f"add '{OTHERS}' for all others")
    return {parameter: chosen.get(parameter, OTHERS) for parameter in layout.names}
