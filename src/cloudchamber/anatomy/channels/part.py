"""A space: channels that are narrowed or widened together, with the parts of the modules that hold them.

The channels of a layer are its neurons. What is added to another layer's output shares its channels with it, and so do
the norms and activations between; whoever is called with them consumes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

Kind = Literal["row", "bias", "scale", "column", "statistic"]


@dataclass(frozen=True)
class Axis:
    """Where channels are along one dimension: entry `(o·C + c)·inner + i` belongs to channel c of C.

    Attributes:
        dim: the dimension.
        outer: how often the channels are repeated as a whole (gates, positions before them).
        inner: how many entries in a row belong to one channel (positions behind them).
    """

    dim: int
    outer: int = 1
    inner: int = 1

    def channels(self, tensor: Tensor) -> int:
        """Return C of a tensor that has this axis."""
        return tensor.shape[self.dim] // (self.outer * self.inner)

    def split(self, tensor: Tensor) -> Tensor:
        """Return a tensor with the channels as a dimension of their own, the last one.

        >>> import torch
        >>> Axis(1, inner=4).split(torch.zeros(5, 12, 2)).shape
        torch.Size([5, 1, 4, 2, 3])
        """
        return tensor.unflatten(self.dim, (self.outer, -1, self.inner)).movedim(self.dim + 1, -1)

    def join(self, parts: Tensor) -> Tensor:
        """Undo `split`."""
        return parts.movedim(-1, self.dim + 1).flatten(self.dim, self.dim + 2)


@dataclass(frozen=True)
class Tensors:
    """A parameter or buffer whose entries belong to channels.

    Attributes:
        name: of the parameter or buffer.
        axis: where its channels are.
        kind: "row" the input weights of each channel, "bias" what is added to each, "scale" by what each is multiplied,
            "statistic" its running mean or variance, "column" what the next layer makes of each channel.
    """

    name: str
    axis: Axis
    kind: Kind


@dataclass(frozen=True)
class Part:
    """What one module has to do with a space.

    Attributes:
        module: qualified name.
        layer_type: class name.
        tensors: its tensors with these channels.
        sizes: its attributes that count the channels, with how often a channel counts.
    """

    module: str
    layer_type: str
    tensors: tuple[Tensors, ...]
    sizes: tuple[tuple[str, int], ...] = ()

    @property
    def makes(self) -> bool:
        """Whether the module makes the channels."""
        return any(each.kind == "row" for each in self.tensors)

    @property
    def consumes(self) -> bool:
        """Whether the module makes something else of the channels."""
        return any(each.kind == "column" for each in self.tensors)


@dataclass(frozen=True)
class Reader:
    """Where channels are read: what a consumer receives.

    Attributes:
        module: the consumer.
        axis: where the channels are in what it receives (or in what it returns, see `own`).
        weights: the consumer's tensors with the channels as columns.
        bias: name of the parameter that can take a constant, which may have to be made; "" if there is no such place.
        own: whether the channels are what the module itself returns, and reads again at the next step.
    """

    module: str
    axis: Axis
    weights: tuple[Tensors, ...]
    bias: str = ""
    own: bool = False

    @property
    def key(self) -> str:
        """A name that no other reader of the model has."""
        return f"{self.module}{' (itself)' if self.own else ''}"


@dataclass
class Space:
    """Channels that belong together.

    Attributes:
        size: how many channels.
        parts: of modules, by a key of each.
        readers: who reads them, by their keys.
        functions: names of the functions that are applied to them.
        added: whether the outputs of several layers are added in it.
        normed_late: whether a norm comes behind one of the functions, or behind an addition.
        pinned: why the channels have to stay as they are; "" if they need not.
    """

    size: int
    parts: dict[str, Part] = field(default_factory=dict)
    readers: dict[str, Reader] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    added: bool = False
    normed_late: bool = False
    pinned: str = ""

    @property
    def makers(self) -> tuple[str, ...]:
        """The layers whose neurons the channels are."""
        return tuple(part.module for part in self.parts.values() if part.makes)

    @property
    def name(self) -> str:
        """The layers in words."""
        return " + ".join(self.makers)


def own_parameters(module: nn.Module) -> frozenset[str]:
    """Return the names of the module's own parameters that there are."""
    return frozenset(name for name, value in module.named_parameters(recurse=False) if value is not None)
