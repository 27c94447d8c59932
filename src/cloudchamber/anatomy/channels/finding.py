"""Find the spaces of a model: run it once to see what is called, trace it, follow the channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Size, fx, nn
from torch.nn.utils.parametrize import is_parametrized

from cloudchamber.anatomy.capture import Forward
from cloudchamber.anatomy.channels import modules as rules
from cloudchamber.anatomy.channels.part import Axis, Part, Space
from cloudchamber.anatomy.channels.rules import Functions, Value, function_name
from cloudchamber.anatomy.channels.spaces import Sizes, Spaces, Tracked
from cloudchamber.anatomy.channels.tracing import Call, Traced, traced_parts


@dataclass(frozen=True)
class Channels:
    """The channels of a model.

    Attributes:
        spaces: those of its layers, pinned ones included, in the order of the model.
        untraced: parts whose flow could not be followed and layers without an entry, with the reasons.
    """

    spaces: tuple[Space, ...]
    untraced: tuple[tuple[str, str], ...]


def find_channels(model: nn.Module, inputs: Any, forward: Forward) -> Channels:
    """Find who makes and who consumes the neurons of each layer.

    Args:
        model: in evaluation; it is run once, without gradients.
        inputs: one call's.
        forward: how the model is called.

    >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> found = find_channels(model, torch.zeros(4, 3), nn.Module.__call__)
    >>> [(space.name, space.size, space.pinned) for space in found.spaces]
    [('0', 8, ''), ('2', 2, "what it computes is the model's output")]
    """
    seen = Calls(model)
    with torch.no_grad(), plain_transformers(), seen.hooked():
        forward(model, inputs)
        parts = list(traced_parts(model, seen.first))
    spaces, called = Spaces(), Counter[str]()
    for part in parts:
        if isinstance(part, Traced):
            _Walk(spaces, model, part, called, seen.count[part.name]).run()
    _inner_chains(spaces, model, seen.count, called)
    _pin_what_is_not_plain(spaces, model, seen.count, called)
    untraced = tuple(part for part in parts if not isinstance(part, Traced))
    return Channels(
        tuple(spaces.found(list(dict(model.named_modules())))), untraced + _not_made(model, count=seen.count)
    )


@contextmanager
def plain_transformers() -> Iterator[None]:
    """Let torch's transformers call their layers, whose hooks its fast path would pass over."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class Calls:
    """What each module was called with first, and how often."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.first: dict[str, Call] = {}
        self.count: Counter[str] = Counter()
        self._open = True

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Look on."""
        handles = [
            module.register_forward_pre_hook(self._hook(name), with_kwargs=True)
            for name, module in self._model.named_modules()
        ]
        top = self._model.register_forward_hook(self._close)
        try:
            yield
        finally:
            for handle in (*handles, top):
                handle.remove()

    def _close(self, *_: Any) -> None:
        self._open = False  # what is called while tracing is no call of the model

    def _hook(self, name: str) -> Any:
        def see(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            if self._open:
                self.count[name] += 1
                self.first.setdefault(name, Call(args, kwargs))

        return see


class _Walk:
    """Follows channels through one graph, and counts how often it calls each module."""

    def __init__(self, spaces: Spaces, model: nn.Module, traced: Traced, called: Counter[str], times: int) -> None:
        self._spaces, self._traced, self._called, self._times = spaces, traced, called, times
        self._modules = dict(model.named_modules())
        self._functions = Functions(spaces, traced.values)
        self._known: dict[fx.Node, Value] = {}

    def run(self) -> None:
        for node in self._traced.graph.nodes:
            given = {each: self._known.get(each) for each in node.all_input_nodes}
            self._known[node] = self._node(node, given)

    def _node(self, node: fx.Node, given: dict[fx.Node, Value]) -> Value:
        if node.op == "call_module":
            return self._module(node, given)
        if node.op in ("call_function", "call_method"):
            return self._functions.apply(node, function_name(node), given)
        if node.op == "output":
            what = "the model's output" if not self._traced.name else f"what {self._traced.name} returns"
            self._pin(given, f"what it computes is {what}")
        if node.op == "get_attr":
            self._spaces.taken_apart.add(self._traced.qualified(str(node.target).rpartition(".")[0]))
        return None

    def _module(self, node: fx.Node, given: dict[fx.Node, Value]) -> Value:
        name = self._traced.qualified(str(node.target))
        module = self._modules[name]
        self._called[name] += self._times
        source = next(iter(node.all_input_nodes), None)
        value = given.get(source) if source is not None else None
        if any(held is not None for at, held in given.items() if at is not source):
            self._pin(given, f"what it computes goes into {name} beside something else")
            value = None
        made = rules.making(name, module)
        if isinstance(value, Tracked) and source is not None:
            passed = self._into(name, module, value, self._traced.values[source])
            if made is None:
                return passed
        elif value is not None:
            self._pin(given, f"what it computes goes into {name}, which is not known")
        return None if made is None else self._made(node, name, module, made)

    def _into(self, name: str, module: nn.Module, value: Tracked, shape: Size) -> Value:
        """Note what a module does with channels; return them where they pass."""
        ndim = len(shape)
        if isinstance(module, nn.Flatten):
            return _flattened(module, value, shape)
        read = rules.reading(name, module, value.axis, ndim)
        if not isinstance(read, str):
            self._spaces.reads(value, *read)
            return None
        passed = rules.passing(name, module, value.axis, ndim)
        if isinstance(passed, str):
            known = isinstance(module, rules.LINEAR_LIKE) and not rules.is_depthwise(module)
            self._spaces.pin(value.cell, read if known else passed)
            return None
        self._spaces.passes(value, passed)
        if isinstance(module, rules.NONLINEAR):
            value.cell.root().space.functions.add(_activation_name(module))
        return value

    def _made(self, node: fx.Node, name: str, module: nn.Module, made: tuple[Part, int, Axis]) -> Value:
        part, size, axis = made
        shape = self._traced.values[node]
        recurrent = type(module) in rules.RECURRENT
        ndim = len(shape[0] if recurrent else shape)
        value = self._spaces.makes(part, size, Axis(axis.dim % ndim))
        if not recurrent:
            return value
        reader = rules.own_reader(name)
        value.cell.root().space.readers[reader.key] = reader
        value.cell.root().space.functions.add("tanh of a state")
        if len(node.all_input_nodes) > 1:
            self._spaces.pin(value.cell, f"{name} is given its first state")
        if isinstance(module, nn.LSTM) and _cell_is_used(node):
            self._spaces.pin(value.cell, f"the cell of {name} is used")
        state = Tracked(value.cell, Axis(len(shape[1] if isinstance(shape[1], Size) else shape[1][0]) - 1))
        return (value, (state, None) if isinstance(module, nn.LSTM) else state)

    def _pin(self, given: dict[fx.Node, Value], reason: str) -> None:
        for value in given.values():
            for each in value if isinstance(value, tuple) and not isinstance(value, Tracked | Sizes) else (value,):
                if isinstance(each, Tracked | Sizes):
                    self._spaces.pin(each.cell, reason)


def _not_made(model: nn.Module, count: Counter[str]) -> tuple[tuple[str, str], ...]:
    """Layers that were called but have no entry that says which weights are those of a neuron."""
    recurrent = [
        (name, module) for name, module in model.named_modules() if type(module) in rules.RECURRENT and count[name]
    ]
    return tuple(
        (name, rules.recurrent_obstacle(module)) for name, module in recurrent if rules.recurrent_obstacle(module)
    )


def _flattened(module: nn.Flatten, value: Tracked, shape: Size) -> Tracked:
    ndim = len(shape)
    first, last = module.start_dim % ndim, module.end_dim % ndim
    dim, outer, inner = value.axis.dim, value.axis.outer, value.axis.inner
    if not first <= dim <= last:
        return value if dim < first else Tracked(value.cell, Axis(dim - (last - first), outer, inner))
    before, behind = shape[first:dim].numel(), shape[dim + 1 : last + 1].numel()
    return Tracked(value.cell, Axis(first, outer * before, inner * behind))


def _cell_is_used(node: fx.Node) -> bool:
    """Whether anything takes the second of an LSTM's last states."""
    for states in node.users:
        if function_name(states) != "getitem" or states.args[1] not in (0, 1):
            return True
        if states.args[1] == 1:
            for each in states.users:
                if function_name(each) != "getitem" or (each.args[1] != 0 and each.users):
                    return True
    return False


def _activation_name(module: nn.Module) -> str:
    """The name of an activation as functions have it: leaky_relu, softplus."""
    own = type(module).__name__
    return "max_pool" if "MaxPool" in own else {"LeakyReLU": "leaky_relu"}.get(own, own.lower())


def _inner_chains(spaces: Spaces, model: nn.Module, count: Counter[str], called: Counter[str]) -> None:
    """Add the chains of modules that cannot be traced but are known."""
    for name, module in model.named_modules():
        if type(module) not in rules.INNER_CHAINS or not count[name]:
            continue
        first, activation, second = rules.INNER_CHAINS[type(module)]
        prefix = f"{name}." if name else ""
        if called[prefix + first]:  # it could be traced after all
            continue
        made = rules.making(prefix + first, getattr(module, first))
        read = rules.reading(prefix + second, getattr(module, second), Axis(2), 3)
        if made is None or isinstance(read, str):
            continue
        value = spaces.makes(made[0], made[1], Axis(2))
        spaces.reads(value, *read)
        value.cell.root().space.functions.add(activation(module).lower())
        called.update({prefix + first: count[name], prefix + second: count[name]})


def _pin_what_is_not_plain(spaces: Spaces, model: nn.Module, count: Counter[str], called: Counter[str]) -> None:
    """Pin what is called where it was not seen, shares its weights, or has weights that are computed."""
    owners = Counter(id(tensor) for module in model.modules() for tensor in module.parameters(recurse=False))
    for name, module in model.named_modules():
        if name in spaces.taken_apart:
            spaces.pin_module(name, f"the weights of {name} are used outside of it")
        if count[name] != called[name]:
            spaces.pin_module(name, f"{name} is called where the flow cannot be traced")
        if any(owners[id(tensor)] > 1 for tensor in module.parameters(recurse=False)):
            spaces.pin_module(name, f"{name} shares its weights with another module")
        computed = is_parametrized(module) or any(hasattr(module, f"weight{end}") for end in ("_g", "_orig"))
        if computed:
            spaces.pin_module(name, f"the weights of {name} are computed from others")
