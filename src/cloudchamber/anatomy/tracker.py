"""Follows a layer's output through what keeps its neurons apart to its activation, however that is written.

Modules (`nn.ReLU`), functions (`F.relu`, `x.relu_()`) and expressions (`x * tanh(x)`, `x.clamp(min=0)`, `x * (x > 0)`)
are seen alike: an operation is followed while it works entry by entry on the output of one call of a layer, with
nothing beside it that differs between samples. The last such tensor that is not linear in the output is the feature;
but squares, absolute values and exponentials that are averaged belong to a normalization. A user's own module that
cannot be followed is taken as the activation as a whole, or as a normalization if it averages.

Branches that are added before their activation (a residual block: convolution, norm, addition of the shortcut, ReLU)
share it: each is followed through the sum, as long as what is added to it was not computed from it. An activation of
the sum is named so ("relu after addition"). It counts only if the layer has no activation of its own before, and if no
layer receives the sum first: a stream to which many branches are added, and which layers read through a norm, has none.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cloudchamber.anatomy.functions import (
    ADDITIONS,
    AVERAGED,
    LINEAR,
    MIXING,
    NONLINEAR,
    NONLINEAR_IN_PAIRS,
    PRODUCTS,
    TRANSPARENT,
)
from cloudchamber.anatomy.layer_types import layer_type_of
from cloudchamber.anatomy.replay import composite_type_of

Report = Callable[[Tensor | None, str], None]
"""Takes a feature and the name of its function, or None: the last one was none after all. Stands for a layer's call."""

AFTER_ADDITION = " after addition"


class Origin(NamedTuple):
    """Which call of a layer a tensor comes from, the last nonlinear function between, and whether it is a sum."""

    call: Report
    function: str = ""
    added: bool = False


class _Followed(NamedTuple):
    """A tensor (weakly: an observation keeps nothing alive) at the version at which it was followed.

    `touched` are the calls from which it was computed in any way, without another layer between.
    """

    tensor: weakref.ref[Tensor]
    version: int
    origins: tuple[Origin, ...]
    touched: frozenset[Report]


class _Argument(NamedTuple):
    """A tensor that a function takes, with what is known about it."""

    tensor: Tensor
    origins: tuple[Origin, ...]
    touched: frozenset[Report]


@dataclass
class _Inside:
    """A user's own module while it runs: what it received, and whether it mixes entries or draws random numbers."""

    module: nn.Module
    received: _Argument
    mixes: bool = False


class ActivationTracker(TorchFunctionMode):
    """Watches every torch function during a forward pass, and reports the features of the layers' calls."""

    def __init__(self) -> None:
        super().__init__()
        self._followed: dict[int, _Followed] = {}
        self._inside: list[_Inside | None] = []
        self._with_own: set[Report] = set()  # calls whose activation came before any addition
        self._read: set[Report] = set()  # calls after which, without a layer between, another layer received something

    def forget(self) -> None:
        """Follow nothing that was seen so far any more."""
        for known in (self._followed, self._inside, self._with_own, self._read):
            known.clear()

    def layer_input(self, received: Tensor) -> None:
        """Say that a layer received this."""
        self._read |= self._argument(received).touched

    def layer_output(self, call: Report, output: Tensor) -> None:
        """Say that `output` is what a layer's call computed, and where its features are to be reported."""
        self._follow(output, (Origin(call),), frozenset({call}))

    def other_output(self, output: Tensor) -> None:
        """Say that a module computed this that is followed no further."""
        self._follow(output, (), frozenset())

    def module_hooks(self, model: nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Hook the user's own modules that could be activations as a whole; the caller removes the hooks."""
        for module in model.modules():
            if _may_be_activation(module):
                yield module.register_forward_pre_hook(self._enter_module, with_kwargs=True)
                yield module.register_forward_hook(self._leave_module)

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple = (), kwargs: Mapping | None = None
    ) -> Any:
        if not self._followed or is_in_backward():  # where checkpointed parts are computed once more
            return func(*args, **(kwargs or {}))
        # Looked up before the call: an in-place activation returns the tensor that it overwrote.
        known = [self._argument(tensor) for tensor in _tensors((*args, *(kwargs or {}).values()))]
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if name in MIXING:
            self._mixed(known)
        touched = frozenset().union(*(argument.touched for argument in known))
        if touched:
            for tensor in _tensors((result,)):
                self._continue(name, known, tensor, touched)
        return result

    def _argument(self, tensor: Tensor) -> _Argument:
        known = self._followed.get(id(tensor))
        if known is None or known.tensor() is not tensor:
            return _Argument(tensor, (), frozenset())
        same = known.version == _version(tensor)
        return _Argument(tensor, known.origins if same else (), known.touched)

    def _follow(self, tensor: Tensor, origins: tuple[Origin, ...], touched: frozenset[Report]) -> None:
        self._followed[id(tensor)] = _Followed(weakref.ref(tensor), _version(tensor), origins, touched)

    def _continue(self, name: str, known: Sequence[_Argument], result: Tensor, touched: frozenset[Report]) -> None:
        if _apart_from_samples(known):
            calls = dict.fromkeys(origin.call for argument in known for origin in argument.origins)
            found = [self._of_call(name, [o for a in known for o in a.origins if o.call == c], result) for c in calls]
            origins = tuple(origin for origin in found if origin is not None)
        else:
            origins = self._sum(known) if name in ADDITIONS else ()
        self._follow(result, origins, touched)

    def _of_call(self, name: str, origins: Sequence[Origin], result: Tensor) -> Origin | None:
        """Return how a result comes from a call from which the function's arguments come; report a feature."""
        call, added = origins[0].call, any(origin.added for origin in origins)
        before = next((origin.function for origin in origins if origin.function), "")
        pair = len(origins) > 1
        nonlinear = name in NONLINEAR or (pair and name in NONLINEAR_IN_PAIRS)
        if not nonlinear and name not in LINEAR and (before or name not in TRANSPARENT):
            return None
        if pair and name in PRODUCTS:
            name = "product" if before else "square"
        feature = nonlinear or (pair and bool(before))
        origin = Origin(call, name if feature else before, added)
        if feature and result.is_floating_point():
            self._report(origin, result, name)
        return origin

    def _sum(self, known: Sequence[_Argument]) -> tuple[Origin, ...]:
        """Return the branches that go on in a sum: those without an activation yet, of which nothing else is in it."""
        return tuple(
            Origin(origin.call, "", added=True)
            for argument in known
            for origin in argument.origins
            if not origin.function
            and not (origin.added and origin.call in self._read)
            and not any(origin.call in other.touched for other in known if other is not argument)
        )

    def _report(self, origin: Origin, tensor: Tensor, name: str) -> None:
        if not origin.added:
            self._with_own.add(origin.call)
            origin.call(tensor, name)
        elif origin.call not in self._with_own | self._read:
            origin.call(tensor, name + AFTER_ADDITION)

    def _mixed(self, known: Sequence[_Argument]) -> None:
        for origin in (origin for argument in known for origin in argument.origins):
            if origin.function in AVERAGED:
                self._with_own.discard(origin.call)
                origin.call(None, "none")
        for inside in self._inside:
            if inside is not None:
                inside.mixes = True

    def _enter_module(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        known = [self._argument(value) for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        waiting = len(known) == 1 and known[0].origins and not any(origin.function for origin in known[0].origins)
        self._inside.append(_Inside(module, known[0]) if waiting else None)

    def _leave_module(self, module: nn.Module, _: tuple, output: Any) -> None:
        inside = self._inside.pop()
        if inside is None or not isinstance(output, Tensor) or output.shape != inside.received.tensor.shape:
            return
        origins = self._argument(output).origins or self._taken_as_a_whole(inside)
        if origins:
            self._follow(output, origins, inside.received.touched)
        for origin in origins:
            if origin.function:
                self._report(origin, output, type(module).__name__.lower())

    def _taken_as_a_whole(self, inside: _Inside) -> tuple[Origin, ...]:
        """Return the origins of the output of a module that could not be followed inside."""
        if inside.mixes:
            return inside.received.origins
        if _has_parameters(inside.module):
            return ()
        return tuple(origin._replace(function="module") for origin in inside.received.origins)


def _apart_from_samples(known: Sequence[_Argument]) -> bool:
    """Whether all that differs between samples comes from the same calls."""
    calls = {frozenset(origin.call for origin in argument.origins) for argument in known if argument.origins}
    ndim = max((argument.tensor.ndim for argument in known if argument.origins), default=0)
    return len(calls) == 1 and all(
        argument.origins or argument.tensor.ndim < ndim or len(argument.tensor) == 1 for argument in known
    )


def _tensors(values: Iterable[object]) -> list[Tensor]:
    """Return the tensors among values, and in the tuples and lists among them."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += [entry for entry in value if isinstance(entry, Tensor)]
    return found


def _may_be_activation(module: nn.Module) -> bool:
    leaf = not any(True for _ in module.children())
    own = not type(module).__module__.startswith("torch.nn.")
    return leaf and own and layer_type_of(module) is None and composite_type_of(module) is None


def _has_parameters(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def is_in_backward() -> bool:
    """Whether a backward pass is under way in this thread."""
    return torch._C._current_graph_task_id() != -1


def _version(value: Tensor) -> int:
    return 0 if value.is_inference() else value._version
