"""Attention that others wrote, with the number of its heads taken out of its code.

Code such as `x.view(n, length, 3, self.heads, -1)` and `mixed.reshape(n, length, width)` says how many heads there are
and that together they are as wide as the input. Its trace says where, so a module can follow its trace, with other
numbers in these places, in the place of its own `forward`: with the same parameters, submodules, call and class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from types import MethodType
from typing import Any

from torch import Size, fx, nn

from cloudchamber.anatomy.channels.rules import function_name
from cloudchamber.anatomy.channels.tracing import Call, constants_of, inputs_of, symbolic_graph, values_of

Edit = tuple[str, int, int, int]
"""A node, which of its arguments, and `times·heads + fixed`, what that becomes."""


@dataclass(frozen=True)
class Trace:
    """How a module's forward is traced in one mode, and what is edited in the trace.

    Attributes:
        training: in which mode.
        constants: arguments that are no tensors, by name.
        edits: what depends on the number of heads.
    """

    training: bool
    constants: Mapping[str, Any]
    edits: Sequence[Edit]


class TracedForward:
    """A forward that follows a trace, of training or of evaluation.

    Args:
        module: whose forward it was.
        traces: of both modes.
        heads: how many heads there are.
        host: what the module is known as, which is kept with it.
    """

    def __init__(self, module: nn.Module, traces: Sequence[Trace], heads: int, host: Any) -> None:
        self.host = host
        self._signature = inspect.signature(type(module).forward)
        self._graphs = {trace.training: _edited(_traced(module, trace), trace.edits, heads) for trace in traces}
        self._follow = {mode: _function(module, graph) for mode, graph in self._graphs.items()}

    def __call__(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Call the module as its own forward is called."""
        given = self._signature.bind(module, *args, **kwargs)
        given.apply_defaults()
        inputs = inputs_of(self._graphs[module.training], given.arguments)
        return self._follow[module.training](module, *inputs)


def follow(module: nn.Module, traces: Sequence[Trace], heads: int, host: Any) -> None:
    """Let a module follow traces of its own forward, in place."""
    vars(module)["forward"] = MethodType(TracedForward(module, traces, heads, host), module)


def followed(module: nn.Module) -> Any:
    """Return the host that was kept with a module that follows traces; None if it does not."""
    return getattr(getattr(vars(module).get("forward"), "__func__", None), "host", None)


def traces_of(module: nn.Module, call: Call, heads: int, widths: Sequence[int]) -> tuple[Trace, ...]:
    """Return the traces of a module's forward in both modes, with what depends on the number of heads.

    Args:
        module: whose own forward it is.
        call: what it is called with.
        heads: how many heads there are.
        widths: how wide what is split into heads can be: that of all heads, and three times that.
    """
    found = []
    for training in (True, False):
        trace = Trace(training, constants_of(module, call), ())
        graph = _traced(module, trace)
        with _in_mode(module, training):
            values = values_of(module, graph, call)
        edits = tuple(edit for node in graph.nodes for edit in _edits(node, values, heads, widths))
        found.append(Trace(training, trace.constants, edits))
    return tuple(found)


def _traced(module: nn.Module, trace: Trace) -> fx.Graph:
    with _in_mode(module, trace.training):
        return symbolic_graph(module, dict(trace.constants))


@contextmanager
def _in_mode(module: nn.Module, training: bool) -> Iterator[None]:
    """Hold a module and all in it in a mode, and put every flag back."""
    flags = [(each, each.training) for each in module.modules()]
    for each, _ in flags:
        each.training = training
    try:
        yield
    finally:
        for each, flag in flags:
            each.training = flag


def _function(module: nn.Module, graph: fx.Graph) -> Callable[..., Any]:
    """What a graph computes, as a function of a module and its inputs."""
    return type(fx.GraphModule(module, graph)).forward


def _edits(node: fx.Node, values: Mapping[fx.Node, Any], heads: int, widths: Sequence[int]) -> list[Edit]:
    """What of a node's arguments depends on the number of heads."""
    name, source = function_name(node), next(iter(node.all_input_nodes), None)
    if source is None or not isinstance(values.get(source), Size):
        return []
    if name == "split" and isinstance(node.args[1], int) and node.args[1] == widths[0]:
        return [(node.name, 1, widths[0] // heads, 0)]
    if name not in ("view", "reshape") or not isinstance(values[node], Size):
        return []
    before, after = values[source], values[node]
    if before[-1] in widths and after[-1] != before[-1]:
        return [(node.name, at + 1, *rule) for at, rule in _head_split(before[-1], after, heads)]
    merged = after[-1] == widths[0] and tuple(before[-2:]) == (heads, widths[0] // heads)
    return [(node.name, len(after), widths[0] // heads, 0)] if merged else []


def _head_split(width: int, after: Size, heads: int) -> list[tuple[int, tuple[int, int]]]:
    """Which of the last dimensions are the heads, and what the others are: (place, (times, fixed))."""
    first = next((at for at in range(len(after)) if prod(after[at:]) == width), len(after))
    at = next((place for place in range(first, len(after)) if after[place] == heads), None)
    if at is None:
        return []
    return [(place, (1, 0) if place == at else (0, after[place])) for place in range(first, len(after))]


def _edited(graph: fx.Graph, edits: Sequence[Edit], heads: int) -> fx.Graph:
    """Put a number of heads into a graph, in place; return it."""
    nodes = {node.name: node for node in graph.nodes}
    for name, place, times, fixed in edits:
        if name not in nodes:
            raise LookupError(f"the trace has no {name}")
        node, value = nodes[name], times * heads + fixed
        listed = len(node.args) == 2 and isinstance(node.args[1], list | tuple)
        if listed:
            sizes = list(node.args[1])  # pyright: ignore
            sizes[place - 1] = value
            node.update_arg(1, tuple(sizes))
        else:
            node.update_arg(place, value)
    return graph
