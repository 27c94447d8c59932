"""The verdict on a claim: whether it holds for the numbers that were measured, and why we say so."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from cloudchamber._core.errors import DamagedFile
from cloudchamber.claims.claim import Claim

Outcome = Literal["holds", "holds not", "not decidable", "not run"]


@dataclass(frozen=True)
class Verdict:
    """What was measured of a claim, and what follows.

    Attributes:
        claim: the claim's name.
        fingerprint: of the claim as it was when it was checked.
        outcome: whether it holds.
        reason: why, in words.
        values: what was measured, a number per seed.
        paper: the paper's own numbers.
    """

    claim: str
    fingerprint: str
    outcome: Outcome
    reason: str
    values: tuple[float, ...] = ()
    paper: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON, in which NaN and infinities are words."""
        return {**asdict(self), "values": [_written(value) for value in self.values], "paper": list(self.paper)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Verdict:
        """Read what `to_json` wrote.

        Raises:
            DamagedFile: if it is no verdict.
        """
        try:
            values = tuple(float(value) for value in stored["values"])
            verdict = cls(**{**stored, "values": values, "paper": tuple(stored["paper"])})
        except (TypeError, KeyError, ValueError) as error:
            raise DamagedFile(
                f"a stored verdict has the fields of a verdict; got: {error}. Remedy: run again."
            ) from error
        if verdict.outcome not in get_args(Outcome):
            raise DamagedFile(f"an outcome is one of {get_args(Outcome)}; got {verdict.outcome!r}. Remedy: run again.")
        return verdict


def check(claim: Claim, values: Sequence[float] | None, *, why: str = "") -> Verdict:
    """Return the verdict on a claim.

    *Every seed*: one number outside the bounds is enough for "holds not". *Most seeds*: what more than half of them
    show. *Mean of seeds*: not decidable where a bound lies within one standard error of the mean. For all three:
    not decidable with fewer seeds than the claim takes, or where a number is NaN and could change the answer.

    Args:
        claim: what was claimed.
        values: a number per seed; NaN = could not be measured; None or no number = not run.
        why: the reason for NaN, or for not having run.

    >>> claim = Claim("ratio", "tenfold", "S_primary / S_1", "the paper's words", "mlp2024, Table 1", 10.0)
    >>> check(claim, [12.0, 15.0, 9.0]).outcome, check(claim, [12.0]).outcome, check(claim, None).outcome
    ('holds not', 'not decidable', 'not run')
    """
    if not values:
        return _verdict(claim, "not run", why or "no run", ())
    measured = tuple(float(value) for value in values)
    outcome, reason = _WAYS[claim.over](claim, measured)
    if why and len(_known(measured)) < len(measured):
        reason = f"{reason} ({why})"
    return _verdict(claim, outcome, reason, measured)


def _verdict(claim: Claim, outcome: Outcome, reason: str, values: tuple[float, ...]) -> Verdict:
    return Verdict(claim.name, claim.fingerprint, outcome, reason, values, claim.paper)


def _every(claim: Claim, values: Sequence[float]) -> tuple[Outcome, str]:
    known = _known(values)
    outside = sum(not claim.allows(value) for value in known)
    if outside:
        return "holds not", f"{outside} of {_seeds(len(values))} outside"
    if len(known) < max(claim.seeds, len(values)):
        return "not decidable", f"{_seeds(len(known))} of {max(claim.seeds, len(values))} measured"
    return "holds", f"all of {_seeds(len(values))} within"


def _most(claim: Claim, values: Sequence[float]) -> tuple[Outcome, str]:
    needed = max(claim.seeds, len(values)) // 2 + 1
    known = _known(values)
    within = sum(claim.allows(value) for value in known)
    if within >= needed:
        return "holds", f"{within} of {_seeds(len(values))} within"
    if len(known) - within >= needed:
        return "holds not", f"{len(known) - within} of {_seeds(len(values))} outside"
    return "not decidable", f"{_seeds(len(known))} of {max(claim.seeds, len(values))} measured, {within} within"


def _mean(claim: Claim, values: Sequence[float]) -> tuple[Outcome, str]:
    known = _known(values)
    if len(known) < max(claim.seeds, len(values)):
        return "not decidable", f"{_seeds(len(known))} of {max(claim.seeds, len(values))} measured"
    mean = sum(known) / len(known)
    error = statistics.stdev(known) / math.sqrt(len(known)) if len(known) > 1 and math.isfinite(mean) else 0.0
    words = f"mean {mean:.4g} ± {error:.2g} over {_seeds(len(known))}"
    if any(abs(mean - bound) < error for bound in claim.interval):
        return "not decidable", f"{words}: the bound is nearer than that"
    return ("holds" if claim.allows(mean) else "holds not"), words


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


_WAYS = {"every seed": _every, "most seeds": _most, "mean of seeds": _mean}


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


def _written(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
