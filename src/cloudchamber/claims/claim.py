"""A claim: one number of which a paper says something, and the bounds within which we say that it holds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from cloudchamber._core.errors import DamagedFile, require

Over = Literal["every seed", "most seeds", "mean of seeds"]


@dataclass(frozen=True)
class Claim:
    """What a paper says about a number, and what counts as holding; written before the run that checks it.

    A claim holds where the number lies in the closed interval `[at_least, at_most]`; None leaves an end open.

    Attributes:
        name: its name within the exhibit.
        statement: what the paper says, in words.
        quantity: the number that is measured, in words, with its unit.
        basis: where the bounds come from: the paper's words or numbers, or that they are ours.
        source: where the paper says it: "mlp2024, Table 1".
        at_least: the lower bound.
        at_most: the upper bound.
        paper: the paper's own numbers for the quantity; empty where it gives none.
        over: whether the bounds hold for the number of every seed, of most seeds, or for their mean.
        seeds: how many seeds it takes to say that it holds.

    Raises:
        InvalidInput: if there is no bound, they exclude everything, or there are no seeds.

    >>> claim = Claim("ratio", "more than tenfold", "S_primary / S_1", "the paper's words", "mlp2024, Table 1", 10.0)
    >>> claim.bounds, claim == Claim.from_json(claim.to_json())
    ('at least 10', True)
    """

    name: str
    statement: str
    quantity: str
    basis: str
    source: str
    at_least: float | None = None
    at_most: float | None = None
    paper: tuple[float, ...] = ()
    over: Over = "every seed"
    seeds: int = 3

    def __post_init__(self) -> None:
        low, high = self.interval
        require(low != -math.inf or high != math.inf, "a claim has a bound", self.name, "give at_least or at_most")
        require(low <= high, "a claim's bounds leave room", f"{low} and {high}", "swap them")
        require(self.over in get_args(Over), f"`over` is one of {get_args(Over)}", self.over, "choose one")
        require(self.seeds >= 1, "a claim takes a seed or more", self.seeds, "name how many")

    @property
    def interval(self) -> tuple[float, float]:
        """The bounds as numbers."""
        return (
            -math.inf if self.at_least is None else self.at_least,
            math.inf if self.at_most is None else self.at_most,
        )

    @property
    def bounds(self) -> str:
        """The bounds in words."""
        low, high = self.at_least, self.at_most
        if low is not None and high is not None:
            return f"{low:g} to {high:g}"
        return f"at least {low:g}" if low is not None else f"at most {high:g}"

    @property
    def fingerprint(self) -> str:
        """A hash of everything that the claim says; a claim that was changed has another one."""
        text = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def allows(self, value: float) -> bool:
        """Return whether a number lies within the bounds; NaN does not."""
        low, high = self.interval
        return low <= value <= high

    def to_json(self) -> dict[str, Any]:
        """Return the claim as JSON."""
        return {**asdict(self), "paper": list(self.paper)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Claim:
        """Read what `to_json` wrote.

        Raises:
            DamagedFile: if it is no claim.
        """
        try:
            return cls(**{**stored, "paper": tuple(stored["paper"])})
        except (TypeError, KeyError, ValueError) as error:
            raise DamagedFile(f"a stored claim has the fields of a claim; got: {error}. Remedy: run again.") from error
