"""What a module's own `forward` calls, if it is one thing after the other."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from cloudchamber.training.ensemble.dense.activations import FUNCTIONS, Elementwise, scale
from cloudchamber.training.ensemble.dense.stages import Flatten, NotAChain

Call = str | Elementwise | Flatten
"""A submodule's name, or what is done between submodules."""


class _OneLevel(fx.Tracer):
    """Follows a module's own code, not that of its submodules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return True


def traced(module: nn.Module) -> Iterator[Call]:
    """Yield what `forward` does to its one input, in order.

    Raises:
        NotAChain: if it does something else than call submodules and elementwise functions one after the other.
    """
    nodes = [node for node in _graph(module).nodes if not _is_shape(node)]
    first, *others, last = nodes
    inputs = [node for node in nodes if node.op == "placeholder"]
    if len(inputs) != 1 or first.op != "placeholder" or last.op != "output":
        raise NotAChain(f"`forward` of {type(module).__name__} takes {len(inputs)} arguments")
    before = first
    for node in others:
        if [given for given in node.all_input_nodes if not _is_shape(given)] != [before]:
            raise NotAChain(f"`{node.name}` in {type(module).__name__} takes something else than the result before it")
        yield from _call(node, before)
        before = node
    if last.args != (before,):
        raise NotAChain(f"{type(module).__name__} returns something else than its last result")


def _graph(module: nn.Module) -> fx.Graph:
    try:
        # A copy, and its own random numbers: following the code runs it.
        with torch.random.fork_rng(devices=()):
            return _OneLevel().trace(copy.deepcopy(module))
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise NotAChain(f"`forward` of {type(module).__name__} cannot be followed: {reason}") from error


def _is_shape(node: fx.Node) -> bool:
    """Whether it asks for the number of samples: `x.size(0)`, `x.shape`, `x.shape[0]`."""
    if node.op == "call_method" and node.target == "size":
        return list(node.args[1:]) == [0] and not node.kwargs
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] == "shape"
    return node.op == "call_function" and node.target is operator.getitem and _is_first_of_shape(node)


def _is_first_of_shape(node: fx.Node) -> bool:
    source, index = node.args
    return isinstance(index, int) and index == 0 and isinstance(source, fx.Node) and _is_shape(source)


def _call(node: fx.Node, before: fx.Node) -> Iterator[Call]:
    """Yield what a node does to the result before it."""
    if node.op == "call_module" and node.args == (before,) and not node.kwargs:
        yield str(node.target)
        return
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    given = node.args[::-1] if node.target is operator.mul and node.args[-1] is before else node.args
    further, options = given[1:], dict(node.kwargs)
    if node.op not in ("call_function", "call_method") or given[:1] != (before,):
        raise NotAChain(f"`{name}` is neither a linear layer nor an elementwise function")
    yield from _between(name.rstrip("_") if node.op == "call_method" else name, further, options)


def _between(name: str, further: tuple[Any, ...], options: dict[str, Any]) -> Iterator[Call]:
    if _flattens(name, further, options):
        yield Flatten()
    elif name in FUNCTIONS and not any(isinstance(value, fx.Node) for value in (*further, *options.values())):
        yield FUNCTIONS[name](*further, **options)
    elif name in ("mul", "truediv") and len(further) == 1 and _is_number(further[0]):
        yield scale(further[0] if name == "mul" else 1 / further[0])
    else:
        raise NotAChain(f"`{name}` is neither a linear layer nor an elementwise function")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value != 0


def _flattens(name: str, further: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """`flatten(1)`, `view(len, -1)` or `view(-1, size)`: the size is that of a sample, or the next layer fails."""
    if name == "flatten":
        return (further, options) in (((1,), {}), ((), {"start_dim": 1}))
    if name not in ("view", "reshape") or len(further) != 2:
        return False
    samples, size = further
    return (isinstance(samples, fx.Node) and size == -1) or (samples == -1 and isinstance(size, int) and size > 0)
