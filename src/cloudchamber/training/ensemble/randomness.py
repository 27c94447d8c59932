"""Random numbers inside of a model (dropout, noise): each member draws its own, as it would if it trained alone.

`torch.func.vmap` draws for all members from one stream. So the calls that draw are noted once; before each step every
member draws with its own random state; and what was drawn is put in place of the calls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from cloudchamber._core.seeding import preserved_random_state

_log = logging.getLogger("cloudchamber")

_DROPOUTS = {
    functional.dropout,
    functional.dropout1d,
    functional.dropout2d,
    functional.dropout3d,
    torch.dropout,
    torch.feature_dropout,
}
"""x ↦ x·m with a random m."""
_ALPHA_DROPOUTS = {
    functional.alpha_dropout,
    functional.feature_alpha_dropout,
    torch.alpha_dropout,
    torch.feature_alpha_dropout,
}
"""x ↦ x·m + b with random m and b."""
_LIKE = {torch.rand_like, torch.randn_like, torch.randint_like}
"""Random numbers of the shape of x."""
_NEW = {torch.rand, torch.randn, torch.randint, torch.randperm}
"""Random numbers of a shape that is said."""
_KNOWN = _DROPOUTS | _ALPHA_DROPOUTS | _LIKE | _NEW
_INPLACE = 3
"""The place of `inplace` among the arguments of a dropout."""

Drawn = list[Tensor]
"""What a call draws: the factor of a dropout, and the shift of one that has it; or the numbers."""


@dataclass(frozen=True)
class Draw:
    """A call that draws: the function and what it was called with; a tensor that it was called on, by its likeness."""

    function: Callable[..., Tensor]
    likeness: Tensor | None
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    device: torch.device

    @classmethod
    def of(cls, function: Callable[..., Tensor], arguments: Sequence[Any], options: Mapping[str, Any]) -> Draw:
        """Note a call."""
        if function in _NEW:
            return cls(function, None, tuple(arguments), dict(options), torch.device(options.get("device") or "cpu"))
        first = _first(arguments, options)
        others = {name: value for name, value in options.items() if name != "input"}
        return cls(function, torch.empty_like(first), tuple(arguments[1:]), others, first.device)

    def drawn(self, random: torch.Generator) -> Drawn:
        """Draw once with a random state, and leave it advanced."""
        before = random.get_state()
        factor = self._called(before, torch.ones_like)
        random.set_state(_default_generator(self.device).get_state())
        if self.function not in _ALPHA_DROPOUTS:
            return [factor]
        shift = self._called(before, torch.zeros_like)
        return [factor - shift, shift]

    def put(self, arguments: Sequence[Any], options: Mapping[str, Any], drawn: Drawn) -> Tensor:
        """Return what the call returns, with numbers drawn before."""
        if self.function not in _DROPOUTS | _ALPHA_DROPOUTS:
            return drawn[0]
        first = _first(arguments, options)
        in_place = options.get("inplace", len(arguments) > _INPLACE and arguments[_INPLACE])
        scaled = first.mul_(drawn[0]) if in_place else first * drawn[0]
        return scaled if len(drawn) == 1 else scaled.add_(drawn[1])

    def _called(self, state: Tensor, filled: Callable[[Tensor], Tensor]) -> Tensor:
        _default_generator(self.device).set_state(state)
        first = () if self.likeness is None else (filled(self.likeness),)
        return self.function(*first, *self.arguments, **self.options)


def noted_draws(call: Callable[[], object], device: torch.device) -> list[Draw]:
    """Return what a call of a model draws, in its order; it is called once, and no random state is advanced."""
    noting = _Noting(device)
    with preserved_random_state([device]), noting:
        call()
    if noting.unknown:
        _log.warning(
            "%s draws random numbers of its own: members draw them from one stream, other ones than alone.",
            ", ".join(sorted(noting.unknown)),
        )
    return noting.draws


class MemberRandomness:
    """The random states of the members, for the calls that draw.

    Args:
        seeds: one per member.
        draws: the calls that draw, in their order; without them there are no states.
        device: where the model is.
    """

    def __init__(self, seeds: Sequence[int], draws: Sequence[Draw], device: torch.device) -> None:
        self._draws = list(draws)
        self._generators = {
            place.type: [torch.Generator(place).manual_seed(seed) for seed in (seeds if draws else ())]
            for place in (torch.device("cpu"), device)
        }

    def drawn(self) -> list[Drawn]:
        """Draw for all members: for each call, tensors (K, ...)."""
        return [self._of_all(draw) for draw in self._draws]

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all members but those."""
        for generators in self._generators.values():
            generators[:] = [generators[row] for row in rows.tolist() if generators]

    def putting(self, drawn: list[Drawn]) -> AbstractContextManager[object]:
        """Return the region in which calls that draw get these numbers, those of one member."""
        return _Putting(self._draws, drawn) if drawn else nullcontext()

    def _of_all(self, draw: Draw) -> Drawn:
        columns = zip(*(draw.drawn(random) for random in self._generators[draw.device.type]), strict=True)
        return [torch.stack(column) for column in columns]


def _first(arguments: Sequence[Any], options: Mapping[str, Any]) -> Tensor:
    return arguments[0] if arguments else options["input"]


def _default_generator(device: torch.device) -> torch.Generator:
    return torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator


class _Noting(TorchFunctionMode):
    """Notes the calls that draw: those that change a random state."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.draws: list[Draw] = []
        self.unknown: set[str] = set()
        self._defaults = [_default_generator(place) for place in {torch.device("cpu"), device}]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        before = self._states()
        result = func(*args, **(kwargs or {}))
        if any(not torch.equal(old, new) for old, new in zip(before, self._states(), strict=True)):
            if func in _KNOWN:
                self.draws.append(Draw.of(func, args, kwargs or {}))
            else:
                self.unknown.add(getattr(func, "__name__", repr(func)))
        return result

    def _states(self) -> list[Tensor]:
        return [default.get_state() for default in self._defaults]


class _Putting(TorchFunctionMode):
    """Puts numbers that were drawn before in place of the calls that draw, in their order."""

    def __init__(self, draws: Sequence[Draw], drawn: Sequence[Drawn]) -> None:
        super().__init__()
        self._left = list(zip(draws, drawn, strict=True))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if not self._left or func is not self._left[0][0].function:
            return func(*args, **options)
        draw, drawn = self._left.pop(0)
        return draw.put(args, options, drawn)
