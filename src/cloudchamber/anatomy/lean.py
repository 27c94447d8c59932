"""The leanest pass: hooks only note what they see, and what it showed is worked out when the pass is over.

It does for a planned pass whose features modules receive or return, of which nothing has to be seen at once.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cloudchamber.anatomy.calls import AnyCall, version_of
from cloudchamber.anatomy.plan import Plan, Step

FIELDS = frozenset({"features", "feature_gradients"})
"""What a lean pass shows."""


class _Note(NamedTuple):
    """What a module received and returned, where in the graph that was then, and how often it had been changed."""

    module: nn.Module
    received: Any
    returned: Any
    nodes: tuple[Any, Any]
    versions: tuple[int, int]

    def fits(self, step: Step, samples: int) -> bool:
        """Whether it is the call that the plan expects."""
        of_layer = step.call is None or (isinstance(self.received, Tensor) and self.returned.shape[0] == samples)
        return self.module is step.module and tuple(map(_kind, self.nodes)) == step.nodes and of_layer


class _Feature(NamedTuple):
    tensor: Tensor
    version: int

    @property
    def unchanged(self) -> bool:
        return version_of(self.tensor) == self.version


class Notes:
    """Notes of one forward pass that is expected to go as planned, and of the gradients that reach its features.

    Args:
        plan: what is expected.
        samples: number of samples.
    """

    def __init__(self, plan: Plan, samples: int) -> None:
        self.calls: tuple[AnyCall, ...] = ()
        self._plan, self._samples = plan, samples
        self._notes: list[_Note] = []
        self._features: dict[int, _Feature] = {}
        self._arrived: dict[int, list[_Feature]] = {}

    def note(self, module: nn.Module, args: tuple, output: Any) -> None:
        """Take the end of a module's call."""
        received = args[0] if args else None
        nodes = getattr(received, "grad_fn", None), getattr(output, "grad_fn", None)
        versions = _version(received), _version(output)
        self._notes.append(_Note(module, received, output, nodes, versions))

    @property
    def as_planned(self) -> bool:
        """Whether the pass went as planned, to its end."""
        steps, notes = self._plan.steps, self._notes
        return len(steps) == len(notes) and all(
            note.fits(step, self._samples) for step, note in zip(steps, notes, strict=True)
        )

    def close(self) -> None:
        """Find the features, by number of their calls; those that the model has overwritten meanwhile are left out."""
        for step, note in zip(self._plan.steps, self._notes, strict=True):
            found = [(number, note.received, note.versions[0]) for number in step.received]
            found += [(number, note.returned, note.versions[1]) for number in step.returned]
            for number, tensor, version in found:
                self._features[number] = _Feature(tensor, version)
        self._notes.clear()
        self._features = {number: each for number, each in self._features.items() if each.unchanged}

    def ask(self, numbers: Collection[int] | None) -> list[RemovableHandle]:
        """Ask for the gradients of these features, or of all; the pass is closed, and not differentiated yet."""
        handles: list[RemovableHandle] = []
        for number, feature in self._features.items():
            if feature.tensor.requires_grad and (numbers is None or number in numbers):
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

    @property
    def complete(self) -> bool:
        """Whether every feature that the plan knows was there, and unchanged."""
        return len(self._features) == len(self._plan.calls) and all(each.unchanged for each in self._features.values())


def _keep(arrived: list[_Feature], gradient: Tensor) -> None:
    """Hold a gradient as it is, not as an alias: torch then knows that it is not free to be reused."""
    arrived.append(_Feature(gradient, gradient._version))


def _version(value: object) -> int:
    return version_of(value) if isinstance(value, Tensor) else 0


def _kind(node: object) -> type | None:
    return None if node is None else type(node)
