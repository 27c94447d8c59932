"""The leanest pass: hooks only note what they see, and what it showed is worked out when the pass is over.

It does for a planned pass whose features modules receive or return, of which nothing has to be seen at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cloudchamber.anatomy.calls import AnyCall, version_of
from cloudchamber.anatomy.plan import Plan, Step

FIELDS = frozenset({"features", "feature_gradients"})
"""What a lean pass shows."""


class Removable(Protocol):
    """What was registered, and can be taken away again."""

    def remove(self) -> None:
        """Take it away."""
        ...


class HooksOfModules:
    """One forward hook of many modules; put in and taken out together it costs a fifth of a handle for each."""

    def __init__(self, modules: Iterable[nn.Module], hook: Callable[..., None]) -> None:
        self._registered = [module._forward_hooks for module in modules]
        for hooks in self._registered:
            hooks[self] = hook  # pyright: ignore - torch takes any key

    def remove(self) -> None:
        """Take the hook out of all modules."""
        for hooks in self._registered:
            hooks.pop(self, None)  # pyright: ignore


class Hook:
    """A forward hook in a module's own tables, at a third of what a handle costs.

    Args:
        hook: the hook.
        table: where the module keeps hooks of its kind.
        marked: the table of those that torch calls in another way.
    """

    def __init__(self, hook: Callable[..., None], table: Any, marked: Any) -> None:
        self._tables = table, marked
        table[self], marked[self] = hook, True

    def remove(self) -> None:
        """Take the hook out."""
        for table in self._tables:
            table.pop(self, None)


class OwnForward:
    """A forward method in the place of a module's own."""

    def __init__(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        self._own = vars(module)
        self._own["forward"] = forward

    def remove(self) -> None:
        """Give the module its own back."""
        self._own.pop("forward", None)


def call_along(chain: Iterable[Step], value: Tensor, note: Callable[..., None]) -> Tensor:
    """Call the modules of a chain one after the other, and tell of those that show something; return the output."""
    for step in chain:
        received, value = value, step.module(value)
        if step.shows:
            note(step.module, (received,), value)
    return value


class _Feature(NamedTuple):
    tensor: Tensor
    version: int

    @property
    def unchanged(self) -> bool:
        return version_of(self.tensor) == self.version


class Notes:
    """What one forward pass shows that is expected to go as planned, and the gradients that reach its features.

    Args:
        plan: what is expected.
        samples: number of samples.
    """

    def __init__(self, plan: Plan, samples: int) -> None:
        self.calls: tuple[AnyCall, ...] = ()
        self._samples, self._steps = samples, plan.steps
        self._at, self._differs = 0, False
        self._features: dict[int, _Feature] = {}
        self._arrived: dict[int, list[_Feature]] = {}

    def note(self, module: nn.Module, args: tuple, output: Any) -> None:
        """Take the end of a module's call."""
        at = self._at
        self._at = at + 1
        step = self._steps[at] if at < len(self._steps) else None
        if step is None or module is not step.module:
            self._differs = True
            return
        received = args[0] if args else None
        if step.call is not None and not (isinstance(received, Tensor) and output.shape[0] == self._samples):
            self._differs = True
        if step.received:
            self._take(step.received, received, step.nodes[0])
        if step.returned:
            self._take(step.returned, output, step.nodes[1])

    def _take(self, numbers: tuple[int, ...], tensor: Any, node: type | None) -> None:
        """Take a tensor that is the feature of these calls, unless something else made it."""
        if isinstance(tensor, Tensor) and _kind(tensor.grad_fn) is node:
            feature = _Feature(tensor, version_of(tensor))
            for number in numbers:
                self._features[number] = feature
        else:
            self._differs = True

    @property
    def as_planned(self) -> bool:
        """Whether the pass went as planned, to its end."""
        return self._at == len(self._steps) and not self._differs

    def ask(self, numbers: Collection[int] | None) -> list[RemovableHandle]:
        """Ask for the gradients of these features, or of all; the pass is over, and not differentiated yet.

        Features that the model has overwritten meanwhile are left out.
        """
        handles: list[RemovableHandle] = []
        for number, feature in self._features.items():
            if (numbers is None or number in numbers) and feature.unchanged and feature.tensor.requires_grad:
                arrived = self._arrived[number] = []
                handles.append(feature.tensor.register_hook(partial(_keep, arrived)))
        return handles

    @property
    def nbytes(self) -> int:
        """How many bytes the features take that are kept until the end; their gradients take as many."""
        return sum(feature.tensor.nbytes for feature in self._features.values())

    @property
    def arrivals(self) -> int:
        """How many backward passes went through; 0 for none."""
        return max(map(len, self._arrived.values()), default=0)

    @property
    def features(self) -> dict[int, Tensor]:
        """The features that nobody changed in place, by number of their calls."""
        return {number: feature.tensor for number, feature in self._features.items() if feature.unchanged}

    @property
    def gradients(self) -> dict[int, Tensor]:
        """The gradients of the features that arrived, and that nobody changed in place."""
        firsts = {number: arrived[0] for number, arrived in self._arrived.items() if arrived}
        return {number: first.tensor for number, first in firsts.items() if first.unchanged}


def _keep(arrived: list[_Feature], gradient: Tensor) -> None:
    """Hold a gradient as it is, not as an alias: torch then knows that it is not free to be reused."""
    arrived.append(_Feature(gradient, gradient._version))


def _kind(node: object) -> type | None:
    return None if node is None else type(node)
