"""The calls of the observed layers in one forward pass, as hooks see them."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

STORED_FIELDS = frozenset({"inputs", "outputs", "features"})
GRADIENT_FIELDS = frozenset({"feature_gradients", "output_gradients"})
_GRADIENT_OF = {"features": "feature_gradients", "outputs": "output_gradients"}


@dataclass(frozen=True)
class Seen:
    """A tensor as a hook saw it: its value and version if it is wanted, and where its gradient can be asked for."""

    value: Tensor | None
    version: int
    edge: GradientEdge | None

    @property
    def overwritten(self) -> bool:
        """Whether an in-place operation changed the value since."""
        return self.value is not None and not self.value.is_inference() and self.value._version != self.version


@dataclass
class Call:
    """One call of one layer; `plain` is its output, held weakly."""

    module: str
    plain: weakref.ref[Tensor]
    inputs: Seen
    outputs: Seen
    features: Seen
    activation: str = "none"

    def value(self, name: str) -> Tensor | None:
        """Return the value of a stored field."""
        return getattr(self, name).value


@dataclass
class Calls:
    """All calls of one forward pass.

    Attributes:
        names: the observed modules with their qualified names.
        samples: number of samples of the probe.
        fields: the fields of `LayerSnapshot` that are wanted.
        copied: those of them that are copied when seen, because the model overwrites them later.
        calls: what was seen, in the order of the calls.
        unusable: modules that were called but cannot be observed, with the reason.
    """

    names: Mapping[nn.Module, str]
    samples: int
    fields: frozenset[str]
    copied: frozenset[str]
    calls: list[Call] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)

    def add(self, module: nn.Module, received: object, output: object) -> int | None:
        """Note a call; return its number, or None if it cannot be observed."""
        reason = self._reason_against(received, output)
        if reason or not (isinstance(received, Tensor) and isinstance(output, Tensor)):
            self.unusable[self.names[module]] = reason
            return None
        self.calls.append(
            Call(
                self.names[module],
                weakref.ref(output),
                inputs=self._seen("inputs", received),
                outputs=self._seen("outputs", output),
                features=self._seen("features", output),
            )
        )
        return len(self.calls) - 1

    def feature(self, number: int, tensor: Tensor | None, activation: str) -> None:
        """Note the feature of a call: what its activation returned; None = its output, there was no activation."""
        call = self.calls[number]
        tensor = call.plain() if tensor is None else tensor
        if tensor is not None and tensor.ndim > 1 and len(tensor) == self.samples:
            call.features, call.activation = self._seen("features", tensor), activation

    @property
    def overwritten(self) -> frozenset[str]:
        """The wanted fields that a later in-place operation changed."""
        return frozenset(name for name in STORED_FIELDS if any(getattr(call, name).overwritten for call in self.calls))

    @property
    def keys(self) -> list[str]:
        """A name per call: the module's, with `#1`, `#2`, ... where it was called more than once."""
        return list(_numbered(call.module for call in self.calls))

    def edges(self) -> dict[tuple[int, str], GradientEdge]:
        """Return where the wanted gradients can be asked for, by number of the call and field."""
        found = {
            (number, gradient): getattr(call, name).edge
            for number, call in enumerate(self.calls)
            for name, gradient in _GRADIENT_OF.items()
        }
        return {key: edge for key, edge in found.items() if edge is not None}

    def _seen(self, name: str, tensor: Tensor) -> Seen:
        differentiable = tensor.requires_grad and _GRADIENT_OF.get(name) in self.fields
        edge = get_gradient_edge(tensor) if differentiable else None
        if name not in self.fields:
            return Seen(None, 0, edge)
        value = tensor.detach().clone() if name in self.copied else tensor.detach()
        return Seen(value, 0 if value.is_inference() else value._version, edge)

    def _reason_against(self, received: object, output: object) -> str:
        if not isinstance(received, Tensor) or not isinstance(output, Tensor):
            return "its call does not take and return a plain tensor"
        if not output.is_floating_point():
            return f"its output is of type {output.dtype}, not of real numbers"
        if output.ndim < 2 or len(output) != self.samples:
            shape = tuple(output.shape)
            return f"its output has shape {shape}, whose first dimension is not the probe's {self.samples} samples"
        return ""


def in_graph(tensor: object) -> object:
    """Return the tensor as part of a graph, so that its gradient exists also where everything before is frozen."""
    if not isinstance(tensor, Tensor) or tensor.requires_grad or not torch.is_grad_enabled():
        return tensor
    # Copied: the model may go on in place, which a leaf does not allow.
    return tensor.detach().requires_grad_().clone() if tensor.is_floating_point() else tensor


def _numbered(names: Iterable[str]) -> Iterable[str]:
    names = list(names)
    total, so_far = Counter(names), Counter()
    for name in names:
        so_far[name] += 1
        yield f"{name}#{so_far[name]}" if total[name] > 1 else name
