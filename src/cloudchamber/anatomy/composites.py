"""Composite modules: modules that fuse several layers inside (recurrent ones, attention), seen by computing them again.

What such a module computes between its layers is hidden. A replay computes it once more from the same inputs and
weights with plain operations; gradients of the module's outputs are then sent through the replay, so that no pass of
the model is needed, and the model's own pass stays what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber.anatomy.view import LayerView


@dataclass(frozen=True)
class Nodes:
    """Tensors of the replay's graph that together make one tensor of a part.

    Attributes:
        tensors: the parts of the graph, one per time step, say.
        assemble: makes one tensor (n, ...) of them, or of their gradients.
    """

    tensors: tuple[Tensor, ...]
    assemble: Callable[[Sequence[Tensor]], Tensor]

    def value(self) -> Tensor:
        """Return what was computed, detached."""
        return self.assemble([tensor.detach() for tensor in self.tensors])

    def gradient(self, gradients: Mapping[int, Tensor | None]) -> Tensor:
        """Return the gradient, zero where the loss does not depend on it, from those of single tensors by `id`."""
        found = [(tensor, gradients.get(id(tensor))) for tensor in self.tensors]
        return self.assemble([torch.zeros_like(tensor) if each is None else each for tensor, each in found])


@dataclass(frozen=True)
class Part:
    """One layer inside a composite module, as its replay computed it.

    Attributes:
        inputs: X, (n, ..., d), detached.
        outputs: Z, (n, ..., h).
        features: F, (n, ..., h).
        slope: maps F to ∂F/∂Z entry by entry.
    """

    inputs: Tensor
    outputs: Nodes
    features: Nodes
    slope: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class PartTensors:
    """The tensors of one part, (n, ...), detached and in the type of the module's weights; made when asked for."""

    part: Part
    dtype: torch.dtype
    gradients: Mapping[int, Tensor | None] | None = field(repr=False)

    @property
    def inputs(self) -> Tensor:
        """X, what the part received, (n, ..., d)."""
        return self.part.inputs.to(self.dtype)

    @property
    def outputs(self) -> Tensor:
        """Z, what it computed, before its activation, (n, ..., h)."""
        return self.part.outputs.value().to(self.dtype)

    @property
    def features(self) -> Tensor:
        """F, after its activation, (n, ..., h)."""
        return self.part.features.value().to(self.dtype)

    @property
    def gates(self) -> Tensor:
        """D = ∂F/∂Z entry by entry, like `outputs`."""
        return self.part.slope(self.part.features.value()).to(self.dtype)

    @property
    def output_gradients(self) -> Tensor | None:
        """G = ∂loss_x/∂z, like `outputs`; None without gradients of the module's outputs."""
        return None if self.gradients is None else self.part.outputs.gradient(self.gradients).to(self.dtype)

    @property
    def feature_gradients(self) -> Tensor | None:
        """Ḟ = ∂loss_x/∂F, like `features`; None without gradients of the module's outputs."""
        return None if self.gradients is None else self.part.features.gradient(self.gradients).to(self.dtype)


@dataclass(frozen=True)
class Replay:
    """A composite module's call, computed again as a graph from its inputs and weights.

    Attributes:
        outputs: what it returned, one tensor after the other.
        parts: its layers by the name of the part; empty where there is a reason.
        dtype: type of the module's weights.
        reason: why it could not be computed again, else "".
    """

    outputs: tuple[Tensor, ...]
    parts: Mapping[str, Part]
    dtype: torch.dtype
    reason: str = ""

    @classmethod
    def impossible(cls, reason: str) -> Replay:
        """Return an empty replay with its reason."""
        return cls((), {}, torch.float32, reason)

    def tensors(self, output_gradients: Sequence[Tensor | None] | None = None) -> dict[str, PartTensors]:
        """Return the tensors of every part, with the gradients of one scalar function of the module's outputs.

        Args:
            output_gradients: the gradient of each output tensor, None where the function does not depend on it; None
                for values only. May be called again for another function: the graph is kept.
        """
        gradients = None if output_gradients is None else self._gradients(output_gradients)
        return {name: PartTensors(part, self.dtype, gradients) for name, part in self.parts.items()}

    def _gradients(self, output_gradients: Sequence[Tensor | None]) -> dict[int, Tensor | None]:
        pairs = zip(self.outputs, output_gradients, strict=True)
        sent = [(output, gradient.to(output)) for output, gradient in pairs if gradient is not None]
        if not sent or not self._nodes:
            return {}
        outputs, gradients = zip(*sent, strict=True)
        found = torch.autograd.grad(outputs, self._nodes, gradients, retain_graph=True, allow_unused=True)
        return {id(node): gradient for node, gradient in zip(self._nodes, found, strict=True)}

    @cached_property
    def _nodes(self) -> list[Tensor]:
        both = [nodes for part in self.parts.values() for nodes in (part.outputs, part.features)]
        return list({id(tensor): tensor for nodes in both for tensor in nodes.tensors}.values())


@dataclass(frozen=True)
class CompositeType:
    """How to see the layers inside of one type of module.

    Attributes:
        module_type: the class; its subclasses count as the same type.
        views: maps the qualified name of a module and the module to a view per part.
        replay: computes a call again: takes the module and the arguments of its `forward` by name, whose tensors
            (where floating-point) are leaves of a graph.
        draws: whether a call draws random numbers.
    """

    module_type: type[nn.Module]
    views: Callable[[str, Any], tuple[LayerView, ...]]
    replay: Callable[[Any, Mapping[str, Any]], Replay]
    draws: Callable[[Any], bool]

    @property
    def name(self) -> str:
        """The class name, as the record shows it."""
        return self.module_type.__name__


def computed_in(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which a replay computes: half precision is too coarse to be computed step by step."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
