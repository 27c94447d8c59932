"""When a monitor observes: every k-th step, at logarithmically spaced steps, by a rule of one's own, or on request."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

from cloudchamber._core.errors import InvalidInput

Schedule = Callable[[int], bool]
"""Whether the step after so many updates is observed."""


@dataclass(frozen=True)
class Every:
    """Observes the steps that are multiples of `interval`."""

    interval: int

    def __call__(self, step: int) -> bool:
        """Whether the step is observed."""
        return step % self.interval == 0


@dataclass(frozen=True)
class Logarithmic:
    """Observes the steps nearest to 10^(i/per_decade), i = 0, 1, 2, …"""

    per_decade: int

    def __call__(self, step: int) -> bool:
        """Whether the step is observed."""
        if step < 1:
            return step == 0
        near = round(self.per_decade * math.log10(step))
        return any(round(10 ** (i / self.per_decade)) == step for i in range(near - 1, near + 2))


@dataclass(frozen=True)
class OnRequest:
    """Observes only what is asked for: `observe(step, force=True)`."""

    def __call__(self, step: int) -> bool:
        """Whether the step is observed."""
        return step == 0


@dataclass(frozen=True)
class _Own:
    """A rule of the user's own, whose answer is checked."""

    rule: Callable[[int], object]

    def __call__(self, step: int) -> bool:
        """Whether the step is observed."""
        return bool(self.rule(step))


def logarithmic(per_decade: int = 10) -> Schedule:
    """Return the schedule of steps spaced evenly on a logarithmic axis: early phases in full, late ones sparsely.

    Observed are the steps nearest to `10^(i/per_decade)`, i = 0, 1, 2, …; the number of observations grows with the
    logarithm of the length of a run.

    Args:
        per_decade: observations per factor of ten.

    Raises:
        InvalidInput: if `per_decade` is not a positive whole number.

    >>> [step for step in range(101) if logarithmic(3)(step)]
    [0, 1, 2, 5, 10, 22, 46, 100]
    """
    return Logarithmic(positive_whole("per_decade", per_decade))


def as_schedule(name: str, value: int | Schedule | None) -> Schedule:
    """Return the schedule that an argument stands for: k = every k-th step, None = only on request, or a rule.

    Raises:
        InvalidInput: if it is none of these.
    """
    if value is None:
        return OnRequest()
    if callable(value):
        return value if isinstance(value, Every | Logarithmic | OnRequest) else _Own(value)
    return Every(positive_whole(name, value))


def sparser(schedule: Schedule) -> Schedule:
    """Return when cosine images and costly measures are taken unless the user says it: about every tenth observation.

    With a rule of the user's own that is the first, the last and every forced observation only.
    """
    if isinstance(schedule, Every):
        return Every(10 * schedule.interval)
    if isinstance(schedule, Logarithmic):
        # A divisor, so that its steps are among those of `schedule`.
        few = (d for d in range(max(schedule.per_decade // 5, 1), 0, -1) if schedule.per_decade % d == 0)
        return Logarithmic(next(few))
    return OnRequest()


def positive_whole(name: str, value: object, high: float = math.inf, low: int = 1) -> int:
    """Return a whole number in low … high.

    Raises:
        InvalidInput: if it is none.
    """
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    limits = f"of at least {low}" if high == math.inf else f"in {low} … {high}"
    if number is None or not low <= number <= high:
        raise InvalidInput(f"`{name}` is a whole number {limits}; got {value!r}. Remedy: pass one that is.")
    return number
