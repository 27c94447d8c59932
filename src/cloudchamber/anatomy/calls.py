"""The calls of the observed layers in one forward pass, as hooks see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree
from torch.utils.hooks import RemovableHandle

from cloudchamber.anatomy.choice import ChosenModule
from cloudchamber.anatomy.replay import RandomState, output_tensors, random_state_needed

_NEEDS_EDGE = {
    "inputs": frozenset[str](),
    "outputs": frozenset({"output_gradients", "gates", "per_output_gradients"}),
    "features": frozenset({"feature_gradients", "gates"}),
}


def version_of(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place."""
    return 0 if tensor.is_inference() else tensor._version


class Seen(NamedTuple):
    """A tensor as a hook saw it: its value if it is wanted, and where its gradient can be asked for.

    Attributes:
        value: the tensor, detached, or a copy.
        original: returns the tensor, which tells whether it was overwritten; None where that is known before.
        version: of the tensor when it was seen.
        edge: where in the graph it is.
    """

    value: Tensor | None
    original: Callable[[], Tensor | None]
    version: int
    edge: GradientEdge | None

    @property
    def overwritten(self) -> bool:
        """Whether an in-place operation changed the tensor since."""
        original = self.original()
        return original is not None and version_of(original) != self.version


def _same(tensor: Tensor | None) -> Tensor | None:
    return tensor


NOTHING = Seen(None, partial(_same, None), 0, None)


@dataclass(slots=True)
class Call:
    """One call of one layer, with its activation and the number of the call that received its feature."""

    chosen: ChosenModule
    inputs: Seen
    outputs: Seen
    features: Seen
    activation: str = "none"
    next: int | None = None

    @property
    def seen(self) -> dict[str, Seen]:
        """What was seen, by field."""
        return {"inputs": self.inputs, "outputs": self.outputs, "features": self.features}


@dataclass(slots=True)
class CompositeCall:
    """One call of a module that fuses several layers: all that its replay needs.

    `seen` are the tensors that it received and returned, `edges` where the gradients of the latter can be asked for.
    """

    chosen: ChosenModule
    args: tuple
    kwargs: dict[str, Any]
    outputs: Any
    random_state: RandomState | None
    seen: list[Seen]
    edges: tuple[GradientEdge | None, ...]
    activation: str = "none"
    next: int | None = None


AnyCall = Call | CompositeCall


@dataclass(frozen=True)
class Wanted:
    """What a pass keeps of the tensors that it sees.

    Attributes:
        fields: fields of `LayerSnapshot`.
        copied: numbers of calls with the fields that are copied when seen, because the model overwrites them later;
            None = all.
        everywhere: whether places in the graph are noted even if no wanted field needs them.
        change: whether what layers return is put into a graph where it is in none.
        watch: told the number of the call, the field, the tensor and what is kept of it.
        watched: the fields of which it is told.
    """

    fields: frozenset[str]
    copied: frozenset[tuple[int, str]] | None = frozenset()
    everywhere: bool = False
    change: bool = True
    watch: Callable[[int, str, Tensor, Seen], None] | None = None
    watched: frozenset[str] = frozenset({"inputs", "outputs", "features"})

    @cached_property
    def names(self) -> frozenset[str]:
        """Of what anything is kept or told: inputs, outputs, features."""
        return self._kept | (self.watched if self.watch is not None else frozenset())

    @cached_property
    def _kept(self) -> frozenset[str]:
        return frozenset(name for name in _NEEDS_EDGE if self.copied is None or name in self._edged | self.fields)

    @cached_property
    def _edged(self) -> frozenset[str]:
        return frozenset(
            name for name, needing in _NEEDS_EDGE.items() if self.everywhere or not needing.isdisjoint(self.fields)
        )

    def look(self, number: int, name: str, tensor: Tensor) -> Seen:
        """Return what is kept of one tensor of one call."""
        seen = self._seen(number, name, tensor) if name in self._kept else NOTHING
        if self.watch is not None and name in self.watched:
            self.watch(number, name, tensor, seen)
        return seen

    def _seen(self, number: int, name: str, tensor: Tensor) -> Seen:
        edge = get_gradient_edge(tensor) if name in self._edged and tensor.requires_grad else None
        if name not in self.fields:
            return Seen(None, NOTHING.original, 0, edge)
        value = tensor.detach()
        copy = self.copied is None or (number, name) in self.copied
        original = partial(_same, value if self.copied is None or not copy else None)
        return Seen(value.clone() if copy else value, original, version_of(value), edge)

    def composite(
        self,
        number: int,
        chosen: ChosenModule,
        args: tuple,
        kwargs: dict[str, Any],
        outputs: object,
        state: RandomState | None,
    ) -> CompositeCall:
        """Return what is kept of the call of a composite module."""
        seen = [Seen(each, partial(_same, each), version_of(each), None) for each in output_tensors((args, kwargs))]
        edges: list[GradientEdge | None] = []
        for at, tensor in enumerate(output_tensors(outputs)):
            seen.append(Seen(tensor, partial(_same, tensor), version_of(tensor), None))
            edges.append(get_gradient_edge(tensor) if tensor.requires_grad else None)
            if self.watch is not None:
                self.watch(number, str(at), tensor, seen[-1])
        return CompositeCall(chosen, args, kwargs, outputs, state, seen, tuple(edges))


def overwritten(calls: Sequence[AnyCall]) -> frozenset[tuple[int, str]]:
    """Return where the model changed in place what was seen: numbers of calls with fields."""
    return frozenset(
        (number, name)
        for number, call in enumerate(calls)
        if isinstance(call, Call)
        for name, seen in call.seen.items()
        if seen.overwritten
    )


def call_suffixes(calls: Sequence[AnyCall]) -> list[str]:
    """Return what the names of a call's layers end with: `#1`, `#2`, ... where a module was called more than once."""
    return list(numbered_suffixes(call.chosen.name for call in calls))


def numbered_suffixes(names: Iterable[str]) -> Iterable[str]:
    """Yield "" for a name that is there once, else `#1`, `#2`, ..."""
    names = list(names)
    total, so_far = Counter(names), Counter()
    for name in names:
        so_far[name] += 1
        yield f"#{so_far[name]}" if total[name] > 1 else ""


def first_argument(args: tuple, kwargs: Mapping[str, Any]) -> object:
    """Return what a module received first."""
    return args[0] if args else next(iter(kwargs.values()), None)


def in_graph(value: Any) -> Any:
    """Return what a module returned as part of a graph, so that its gradient exists also where all before is frozen."""
    if not torch.is_grad_enabled():
        return value
    if isinstance(value, Tensor):
        return _tensor_in_graph(value)
    return pytree.tree_map(_leaf_in_graph, value)


def _leaf_in_graph(leaf: object) -> object:
    if isinstance(leaf, PackedSequence):
        return leaf._replace(data=_tensor_in_graph(leaf.data))
    return _tensor_in_graph(leaf) if isinstance(leaf, Tensor) else leaf


def _tensor_in_graph(tensor: Tensor) -> Tensor:
    if tensor.requires_grad or not tensor.is_floating_point():
        return tensor
    # Copied: the model may go on in place, which a leaf does not allow.
    return tensor.detach().requires_grad_().clone()


def reason_against(received: object, output: object, samples: int) -> str:
    """Return why a call of a plain layer cannot be observed, or ""."""
    if not isinstance(received, Tensor) or not isinstance(output, Tensor):
        return "its call does not take and return a plain tensor"
    if not output.is_floating_point():
        return f"its output is of type {output.dtype}, not of real numbers"
    if output.ndim < 2 or len(output) != samples:
        shape = tuple(output.shape)
        return f"its output has shape {shape}, whose first dimension is not the probe's {samples} samples"
    return ""


def hooks(
    modules: Iterable[nn.Module],
    chosen: Mapping[nn.Module, ChosenModule],
    after: Callable[..., Any],
    before_random: Callable[..., None],
) -> Iterator[RemovableHandle]:
    """Hook modules: after their calls, and before those that draw random numbers that a replay needs."""
    for module in modules:
        entry = chosen.get(module)
        if entry is not None and entry.composite is not None and random_state_needed(module):
            yield module.register_forward_pre_hook(before_random)
        yield module.register_forward_hook(after, with_kwargs=True)


def modules_of(chosen: Mapping[str, ChosenModule]) -> dict[nn.Module, ChosenModule]:
    """Return the chosen modules by themselves."""
    return {entry.module: entry for entry in chosen.values()}
