"""The graph of a model, symbolically traced: whole where that is possible, else of the largest parts where it is.

A part that cannot be traced (its flow depends on values, or Python sees through a tensor) is a box: channels that go in
or come out have to stay, but what is inside its own children is traced by itself.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from cloudchamber.anatomy.layer_types import layer_type_of


@dataclass(frozen=True)
class Call:
    """What a module was called with."""

    args: tuple
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Traced:
    """The graph of one module.

    Attributes:
        name: qualified name of the module; "" for the model.
        module: the module.
        graph: its graph; modules in it are named from the module on.
        values: what each node was in one real call.
    """

    name: str
    module: nn.Module
    graph: fx.Graph
    values: dict[fx.Node, Any]

    def qualified(self, target: str) -> str:
        """Return the name in the model of a module of the graph."""
        return f"{self.name}.{target}" if self.name else target


class _Tracer(fx.Tracer):
    """Traces up to the layers, the modules of torch, and given boxes; knows where it was when it failed."""

    def __init__(self, boxes: set[nn.Module]) -> None:
        super().__init__()
        self._boxes, self.stack = boxes, list[nn.Module]()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say whether a module is a node of the graph."""
        known = layer_type_of(m) is not None or super().is_leaf_module(m, module_qualified_name)
        return m in self._boxes or (known and not isinstance(m, nn.Sequential))

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Trace a call."""
        self.stack.append(m)
        result = super().call_module(m, forward, args, kwargs)
        self.stack.pop()
        return result


def traced_parts(model: nn.Module, calls: Mapping[str, Call]) -> Iterator[Traced | tuple[str, str]]:
    """Yield the graphs of a model's parts, and (name, reason) for what could not be traced.

    Args:
        model: the model, in evaluation.
        calls: for every module that was called, by its qualified name, what it was called with first.
    """
    yield from _parts("", model, calls)


def _parts(name: str, module: nn.Module, calls: Mapping[str, Call]) -> Iterator[Traced | tuple[str, str]]:
    boxes: set[nn.Module] = set()
    traced, reason = _trace(name, module, calls[name], boxes) if name in calls else (None, "")
    if traced is not None:
        yield traced
    elif reason:
        yield name, reason
    prefix = f"{name}." if name else ""
    within = module.named_children() if traced is None else _inside(module, boxes)
    for child, inner in within:
        if traced is not None:
            yield prefix + child, "its flow cannot be traced"
            for grandchild, deeper in inner.named_children():
                yield from _parts(f"{prefix}{child}.{grandchild}", deeper, calls)
        elif any(True for _ in inner.parameters()) and layer_type_of(inner) is None:
            yield from _parts(prefix + child, inner, calls)


def _inside(module: nn.Module, boxes: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    return ((name, inner) for name, inner in module.named_modules() if inner in boxes)


def _trace(name: str, module: nn.Module, call: Call, boxes: set[nn.Module]) -> tuple[Traced | None, str]:
    """Trace a module; parts inside that cannot be traced are added to the boxes."""
    while True:
        tracer = _Tracer(boxes)
        try:
            graph = tracer.trace(module, constants_of(module, call))
        except Exception as error:  # the user's code, run with proxies, can raise anything
            if not tracer.stack or tracer.stack[-1] in boxes or isinstance(tracer.stack[-1], nn.ModuleList):
                return None, f"its flow cannot be traced ({type(error).__name__})"
            boxes.add(tracer.stack[-1])
            continue
        _prune(graph)
        try:
            return Traced(name, module, graph, values_of(module, graph, call)), ""
        except Exception as error:  # and the graph, run with the values of one part's call
            return None, f"its graph does not run ({type(error).__name__})"


def _prune(graph: fx.Graph) -> None:
    """Take out what is taken from a tuple or tensor and not used."""
    for node in reversed(graph.nodes):
        if node.op == "call_function" and node.target is operator.getitem and not node.users:
            graph.erase_node(node)


def symbolic_graph(module: nn.Module, constants: dict[str, Any]) -> fx.Graph:
    """Trace a module; raises what its code raises at proxies."""
    return _Tracer(set()).trace(module, constants)


def arguments_of(module: nn.Module, call: Call) -> dict[str, Any]:
    """Return what a module is called with, by name, defaults included."""
    bound = inspect.signature(module.forward).bind(*call.args, **call.kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def constants_of(module: nn.Module, call: Call) -> dict[str, Any]:
    """Return the arguments of a call that are no tensors but plain values."""
    plain = (bool, int, float, str, type(None))
    return {name: value for name, value in arguments_of(module, call).items() if isinstance(value, plain)}


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps what each node was: tensors as their shapes."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run a node."""
        result = super().run_node(n)
        self.values[n] = pytree.tree_map_only(Tensor, lambda each: each.shape, result)
        return result


def values_of(module: nn.Module, graph: fx.Graph, call: Call) -> dict[fx.Node, Any]:
    """Run a graph with what its module was called with; return what each node was, tensors as their shapes."""
    recorder = _Recorder(fx.GraphModule(module, graph))
    recorder.run(*inputs_of(graph, arguments_of(module, call)))
    return recorder.values


def inputs_of(graph: fx.Graph, given: dict[str, Any]) -> list[Any]:
    """Return what a graph is run with, from arguments by name; those of plain values have numbers behind theirs."""
    targets = [str(node.target).lstrip("*") for node in graph.nodes if node.op == "placeholder"]
    return [given[target if target in given else target.rsplit("_", 1)[0]] for target in targets]
