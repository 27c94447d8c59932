"""What functions and methods do to channels, by their names."""

from __future__ import annotations

from typing import Any

from torch import Size, fx

from cloudchamber.anatomy.channels.part import Axis
from cloudchamber.anatomy.channels.reshaping import permuted, reshaped
from cloudchamber.anatomy.channels.spaces import Sizes, Spaces, Tracked
from cloudchamber.anatomy.functions import ADDITIONS, LINEAR, NONLINEAR, NONLINEAR_IN_PAIRS

Value = Tracked | Sizes | tuple | None
ELEMENTWISE = (NONLINEAR | LINEAR | NONLINEAR_IN_PAIRS | {"imul", "dropout", "itruediv", "detach"}) - {"to", "type_as"}
SPATIAL = frozenset(
    [
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "interpolate",
    ]
)
REDUCTIONS = frozenset(["mean", "sum", "amax", "amin", "var", "std", "logsumexp", "norm", "softmax"])
RESHAPES = frozenset(["view", "reshape", "flatten", "unflatten"])
ORDERS = frozenset(["permute", "transpose", "movedim", "swapaxes", "t"])
UNSHAPED = frozenset(["squeeze", "unsqueeze"])
SAFE_WITH_SHAPES = frozenset({"_assert", "eq", "ne", "lt", "gt", "le", "ge", "dim"})


class Functions:
    """The rules for the functions of one graph.

    Args:
        spaces: where what is found is noted.
        values: what each node was in a real call; tensors as shapes.
    """

    def __init__(self, spaces: Spaces, values: dict[fx.Node, Any]) -> None:
        self._spaces, self._values = spaces, values

    def apply(self, node: fx.Node, name: str, given: dict[fx.Node, Value]) -> Value:
        """Return what is known of a node's result.

        Args:
            node: of a function or method.
            name: of the function, without underscores.
            given: what is known of the nodes that it takes.
        """
        tracked = {at: value for at, value in given.items() if isinstance(value, Tracked)}
        sizes = {at: value for at, value in given.items() if isinstance(value, Sizes)}
        if not tracked and not sizes:
            return self._item(node, given) if name == "getitem" else None
        if sizes and (not tracked or name not in RESHAPES):
            return self._of_sizes(node, name, sizes)
        return self._of_tensors(node, name, tracked, sizes)

    def _of_tensors(self, node: fx.Node, name: str, tracked: dict[fx.Node, Tracked], sizes: dict) -> Value:
        source, value = next(iter(tracked.items()))
        if name in ("shape", "size", "getattr"):
            return self._shape(node, name, source, value)
        if name in RESHAPES:
            return self._reshape(node, source, value, sizes)
        if name in ORDERS or name in UNSHAPED:
            return self._move(node, name, source, value)
        if name == "getitem":
            return self._select(node, source, value)
        if name in REDUCTIONS:
            return self._reduce(node, name, source, value)
        if name in SPATIAL and value.axis.dim == 1:
            value.cell.root().space.functions.update({"max_pool"} if "max" in name else ())
            return value
        if name in ELEMENTWISE or (name == "to" and len(tracked) == 1):
            return self._elementwise(node, name, tracked)
        if name == "cat" and self._argument(node, 1, "dim", 0) % self._ndim(source) != value.axis.dim:
            return self._elementwise(node, "cat", tracked)
        return self._pin(tracked.values(), f"goes through `{name}`")

    def _elementwise(self, node: fx.Node, name: str, tracked: dict[fx.Node, Tracked]) -> Value:
        ndim = self._ndim(node)
        first, *others = ((at, value, value.axis.dim + ndim - self._ndim(at)) for at, value in tracked.items())
        dim, cell, axis = first[2], first[1].cell, first[1].axis
        for _, value, place in others:
            if (place, value.axis.outer, value.axis.inner) != (dim, axis.outer, axis.inner):
                return self._pin(tracked.values(), f"meets other channels in `{name}`")
            cell = self._spaces.unite(cell, value.cell)
            cell.root().space.added |= name in ADDITIONS
        for at in node.all_input_nodes:
            shape = self._values[at]
            if at not in tracked and isinstance(shape, Size) and self._meets(shape, dim - ndim):
                return self._pin(tracked.values(), f"meets numbers that are no layer's neurons in `{name}`")
        if others and name in NONLINEAR_IN_PAIRS | {"imul", "itruediv"}:
            cell.root().space.functions.add(f"{name} of two")
        elif name not in LINEAR and name not in ("cat", "dropout", "detach"):
            cell.root().space.functions.add(name)
        elif any(not isinstance(each, fx.Node) and isinstance(each, int | float) for each in node.args):
            cell.root().space.functions.add(f"{name} with a number")
        return Tracked(cell, Axis(dim, axis.outer, axis.inner))

    def _meets(self, shape: Size, from_end: int) -> bool:
        return len(shape) >= -from_end and shape[from_end] != 1

    def _reshape(self, node: fx.Node, source: fx.Node, value: Tracked, sizes: dict[fx.Node, Sizes]) -> Value:
        after = reshaped(value.axis, self._values[source], self._values[node])
        if after is None:
            return self._pin([value], "has its channels split over dimensions")
        name = _name(node)
        if name == "flatten":
            return Tracked(value.cell, after)
        entries = node.args[1:]
        if len(entries) == 1 and isinstance(entries[0], tuple | list):
            entries = tuple(entries[0])
        entry = entries[after.dim] if name != "unflatten" and len(entries) == self._ndim(node) else 0
        counts = [at for at, each in sizes.items() if not each.whole]
        if entry != -1 and not (isinstance(entry, fx.Node) and entry in counts):
            return self._pin([value], f"has its width written into `{name}`")
        return Tracked(value.cell, after)

    def _shape(self, node: fx.Node, name: str, source: fx.Node, value: Tracked) -> Value:
        if name == "getattr" and node.args[1] != "shape":
            return None if node.args[1] in ("device", "dtype", "ndim") else self._pin([value], "has an attribute read")
        ndim = self._ndim(source)
        whole = Sizes(value.cell, value.axis.dim, ndim)
        if name == "size" and len(node.args) > 1:
            return self._entry(whole, node.args[1])
        return whole

    def _entry(self, sizes: Sizes, index: object) -> Value:
        if isinstance(index, int):
            return sizes._replace(whole=False) if index % sizes.ndim == sizes.dim else None
        if isinstance(index, slice) and sizes.dim not in range(sizes.ndim)[index]:
            return None
        return self._pin([sizes], "has its shape used as a whole")

    def _of_sizes(self, node: fx.Node, name: str, sizes: dict[fx.Node, Sizes]) -> Value:
        first = next(iter(sizes.values()))
        if name == "getitem" and first.whole:
            return self._entry(first, node.args[1])
        if name in SAFE_WITH_SHAPES:
            return None
        if name == "mul" and len(sizes) == 1 and not first.whole:
            return first
        return self._pin(sizes.values(), f"has its width used in `{name}`")

    def _move(self, node: fx.Node, name: str, source: fx.Node, value: Tracked) -> Value:
        ndim, after = self._ndim(source), self._ndim(node)
        order = list(range(ndim))
        if name in UNSHAPED:
            moved = reshaped(value.axis, self._values[source], self._values[node])
            fits = moved is not None and after != ndim and self._values[source][value.axis.dim] > 1
            return Tracked(value.cell, moved) if fits and moved else self._pin([value], f"goes through `{name}`")
        dims = [each for each in node.args[1:] if isinstance(each, int)]
        if name == "permute":
            listed = node.args[1] if isinstance(node.args[1], tuple | list) else dims
            order = [int(each) for each in listed]  # pyright: ignore
        elif name == "movedim" and len(dims) == 2:
            order.insert(dims[1] % ndim, order.pop(dims[0] % ndim))
        elif name in ("transpose", "swapaxes") and len(dims) == 2:
            order[dims[0]], order[dims[1]] = order[dims[1]], order[dims[0]]
        elif name == "t":
            order = order[::-1]
        else:
            return self._pin([value], f"goes through `{name}`")
        return Tracked(value.cell, permuted(value.axis, order))

    def _select(self, node: fx.Node, source: fx.Node, value: Tracked) -> Value:
        """Follow `x[:, -1]`: channels whole, one or some entries of the other dimensions."""
        index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
        ndim = self._ndim(source)
        if Ellipsis in index:
            at = index.index(Ellipsis)
            index = (*index[:at], *[slice(None)] * (ndim - len(index) + 1), *index[at + 1 :])
        index = (*index, *[slice(None)] * (ndim - len(index)))
        plain = all(isinstance(each, int | slice) for each in index) and len(index) == ndim
        if not plain or index[value.axis.dim] != slice(None):
            return self._pin([value], "has single channels taken from it")
        dropped = sum(isinstance(each, int) for each in index[: value.axis.dim])
        return Tracked(value.cell, Axis(value.axis.dim - dropped, value.axis.outer, value.axis.inner))

    def _item(self, node: fx.Node, given: dict[fx.Node, Value]) -> Value:
        """Follow `outputs[0]` of a module that returns several."""
        held = next(iter(given.values()), None)
        if isinstance(held, tuple) and isinstance(node.args[1], int):
            return held[node.args[1]]  # pyright: ignore
        return None

    def _reduce(self, node: fx.Node, name: str, source: fx.Node, value: Tracked) -> Value:
        ndim = self._ndim(source)
        dims = self._argument(node, 1, "dim", None)
        dims = [dims] if isinstance(dims, int) else dims
        if not isinstance(dims, tuple | list) or value.axis.dim in [dim % ndim for dim in dims]:
            return self._pin([value], f"is taken together by `{name}`")
        if name not in ("mean", "sum"):
            value.cell.root().space.functions.add(name)
        if self._ndim(node) == ndim:
            return value
        before = sum(dim % ndim < value.axis.dim for dim in dims)
        return Tracked(value.cell, Axis(value.axis.dim - before, value.axis.outer, value.axis.inner))

    def _pin(self, values: Any, reason: str) -> None:
        for value in values:
            self._spaces.pin(value.cell, f"what it computes {reason}")

    def _argument(self, node: fx.Node, place: int, name: str, default: Any) -> Any:
        return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)

    def _ndim(self, node: fx.Node) -> int:
        return len(self._values[node])


def _name(node: fx.Node) -> str:
    target = node.target
    return (target if isinstance(target, str) else getattr(target, "__name__", "")).strip("_")


def function_name(node: fx.Node) -> str:
    """Return the name of a node's function, without underscores around it.

    >>> graph = fx.Graph()
    >>> function_name(graph.call_method("relu_", (graph.placeholder("x"),)))
    'relu'
    """
    return _name(node)
