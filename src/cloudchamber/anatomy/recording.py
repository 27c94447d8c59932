"""A first pass: every function that the model calls is followed, and what later passes need to look at is learned."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from cloudchamber.anatomy.calls import (
    AnyCall,
    Call,
    CompositeCall,
    Seen,
    Wanted,
    first_argument,
    in_graph,
    modules_of,
    overwritten,
    reason_against,
    version_of,
)
from cloudchamber.anatomy.choice import ChosenModule
from cloudchamber.anatomy.plan import Ended, Plan, Source, learned_steps, node_kind, planned_calls
from cloudchamber.anatomy.replay import RandomState, current_random_state, output_tensors
from cloudchamber.anatomy.snapshot import STORED_FIELDS
from cloudchamber.anatomy.tracker import ActivationTracker

_RESHAPES = ("View", "UnsafeView", "ReshapeAlias", "Alias", "Clone", "Squeeze", "Unsqueeze")


class _Feature(NamedTuple):
    """A tensor, weakly, at a version."""

    tensor: weakref.ref[Tensor]
    version: int

    def is_(self, tensor: object) -> bool:
        return self.tensor() is tensor and isinstance(tensor, Tensor) and self.version == version_of(tensor)


def recorded_modules(model: nn.Module, chosen: Mapping[str, ChosenModule]) -> list[nn.Module]:
    """Return the modules of which a first pass sees the calls: those observed, and those that contain no others."""
    observed = {entry.module for entry in chosen.values()}
    return [module for module in model.modules() if module in observed or not any(True for _ in module.children())]


class Recorder:
    """Hooks for one forward pass over so many samples; `calls` and `unusable` say what they saw.

    Args:
        chosen: the modules to observe.
        samples: number of samples.
        wanted: what to keep.
        tracker: follows the functions; the model runs within it.
    """

    def __init__(
        self, chosen: Mapping[str, ChosenModule], samples: int, wanted: Wanted, tracker: ActivationTracker
    ) -> None:
        self.calls: list[AnyCall] = []
        self.unusable: dict[str, str] = {}
        self._tracker = tracker
        self._chosen, self._by_module = chosen, modules_of(chosen)
        self._samples, self._wanted = samples, wanted
        self._ended: list[Ended] = []
        self._sources: list[Source] = []
        self._features: list[_Feature | None] = []
        self._reported: dict[int, set[int]] = defaultdict(set)  # calls by the `id` of what was their feature once
        self._plain: list[Seen | None] = []  # what the feature is if no activation follows
        self._received: list[GradientEdge | None] = []
        self._states: list[RandomState] = []
        self._by_name = False

    def before_random(self, module: nn.Module, args: tuple) -> None:  # noqa: ARG002
        """Keep the random state before a composite module's call."""
        self._states.append(current_random_state(next(module.parameters()).device))

    def after(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
        """See the end of a module's call; return its output as part of a graph."""
        with torch._C.DisableTorchFunction():
            chosen, received = self._by_module.get(module), first_argument(args, kwargs)
            self._by_name = self._by_name or not args
            if chosen is None:
                self._end(module, None, received, output)
                return None
            output = in_graph(output) if self._wanted.change else output
            for tensor in output_tensors((args, kwargs)):
                self._tracker.layer_input(tensor)
            if chosen.composite is None:
                self._plain_call(chosen, received, output)
            else:
                self._composite_call(chosen, args, kwargs, output)
            return output if self._wanted.change else None

    def plan(self, modules: tuple[nn.Module, ...], *, training_mode: bool, changes: int, whole: bool = False) -> Plan:
        """Return what was learned, once the forward pass is over; `whole` if it was a call of the whole model."""
        self._link()
        return Plan(
            modules,
            self._chosen,
            training_mode,
            learned_steps(self._ended, self._sources, self._chosen),
            planned_calls(self.calls, self._sources),
            dict(self.unusable),
            self._wanted.fields & STORED_FIELDS,
            overwritten(self.calls),
            whole and not self._by_name,
            changes,
        )

    def _plain_call(self, chosen: ChosenModule, received: object, output: object) -> None:
        reason = reason_against(received, output, self._samples)
        if reason or not (isinstance(received, Tensor) and isinstance(output, Tensor)):
            self.unusable[chosen.name] = reason
            self._end(chosen.module, None, received, output)
            return
        number, look = len(self.calls), self._wanted.look
        feature = look(number, "features", output)
        call = Call(chosen, look(number, "inputs", received), look(number, "outputs", output), feature)
        self._add(call, received, output, feature, get_gradient_edge(received) if received.requires_grad else None)
        self._tracker.layer_output(partial(self._feature, number), output)

    def _composite_call(self, chosen: ChosenModule, args: tuple, kwargs: dict[str, Any], output: object) -> None:
        for tensor in output_tensors(output):
            self._tracker.other_output(tensor)
        state = self._states.pop() if self._states else None
        call = self._wanted.composite(len(self.calls), chosen, args, kwargs, output, state)
        self._add(call, first_argument(args, kwargs), output, None, None)

    def _add(
        self, call: AnyCall, received: object, output: object, plain: Seen | None, edge: GradientEdge | None
    ) -> None:
        self._end(call.chosen.module, len(self.calls), received, output)
        self._sources.append(Source(self._ended[-1]))
        self.calls.append(call)
        self._features.append(None)
        self._plain.append(plain)
        self._received.append(edge)

    def _end(self, module: nn.Module, call: int | None, received: object, output: object) -> None:
        ended = Ended(module, call, (node_kind(received), node_kind(output)))
        self._ended.append(ended)
        for source in self._sources_of(output):
            source.returned = source.returned or ended
        for source in self._sources_of(received) if call is not None else ():
            source.received = source.received or ended

    def _sources_of(self, tensor: object) -> list[Source]:
        """Return the sources of the calls whose feature this is, as far as is known."""
        found = [(self._features[number], self._sources[number]) for number in self._reported.get(id(tensor), ())]
        return [source for feature, source in found if feature is not None and feature.is_(tensor)]

    def _feature(self, number: int, tensor: Tensor | None, activation: str) -> None:
        """Note the feature of a call: what its activation returned; None = its output, there was no activation."""
        with torch._C.DisableTorchFunction():
            call, source, plain = self.calls[number], self._sources[number], self._plain[number]
            source.reported += 1
            if isinstance(call, CompositeCall) or plain is None:
                return
            if tensor is None:
                call.features, call.activation, self._features[number], source.last = plain, activation, None, 0
            elif tensor.ndim > 1 and len(tensor) == self._samples:
                call.features = self._wanted.look(number, "features", tensor)
                call.activation, source.last = activation, source.reported
                source.returned = source.received = None
                self._features[number] = _Feature(weakref.ref(tensor), version_of(tensor))
                self._reported[id(tensor)].add(number)

    def _link(self) -> None:
        """Find for every call the first layer that received its feature, perhaps in another shape."""
        features: dict[tuple[Any, int], list[AnyCall]] = defaultdict(list)
        for call in self.calls:
            if isinstance(call, Call) and call.features.edge is not None:
                features[call.features.edge.node, call.features.edge.output_nr].append(call)
        for number, edge in reversed(list(enumerate(self._received))):
            for call in _reshaped(edge, features):
                call.next = number


def _reshaped(edge: GradientEdge | None, features: Mapping[tuple[Any, int], Sequence[AnyCall]]) -> Sequence[AnyCall]:
    """Return the calls whose feature the tensor at an edge is, in this or another shape."""
    node, output = (None, 0) if edge is None else (edge.node, edge.output_nr)
    while node is not None and (node, output) not in features:
        reshapes = node.name().startswith(_RESHAPES) and bool(node.next_functions)
        node, output = node.next_functions[0] if reshapes else (None, 0)
    return () if node is None else features[node, output]
