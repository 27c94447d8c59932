"""What is differentiated on the graph of a pass: the loss, every output of the network, every feature by its output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from cloudchamber._core.errors import Unsupported, require
from cloudchamber.anatomy.calls import AnyCall, Call
from cloudchamber.anatomy.snapshot import GRADIENT_FIELDS, GRADIENT_OF

Place = tuple[int, str]
"""The number of a call, and "outputs", "features", or the number of an output of a composite module."""

_ENTRYWISE = {torch.float64: 1e-6, torch.float32: 1e-3}
_ENTRYWISE_HALF = 2e-2


@dataclass(frozen=True)
class Derivatives:
    """Derivatives by the places of a pass.

    Attributes:
        loss: gradients of the summed loss.
        gates: ∂F/∂Z by the number of the call.
        per_output: the gradient of each output of the network; of the chosen samples for plain layers, of all for
            composite modules (whose outputs need not have samples first).
    """

    loss: Mapping[Place, Tensor] = field(default_factory=dict)
    gates: Mapping[int, Tensor] = field(default_factory=dict)
    per_output: Mapping[Place, tuple[Tensor | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """Which derivatives are wanted: fields of `LayerSnapshot`, and the samples and most outputs of kernels."""

    fields: frozenset[str]
    kernel_samples: Tensor | None = None
    most_outputs: int = 100


def derivatives_of(calls: Sequence[AnyCall], outputs: Tensor, loss: Tensor, request: Request) -> Derivatives:
    """Differentiate the graph of a pass.

    Raises:
        InvalidInput: if gradients of too many outputs are wanted.
        Unsupported: if the graph cannot be differentiated.
    """
    if not outputs.requires_grad:
        return Derivatives()
    with _understood():
        gates = _gates(calls) if "gates" in request.fields else {}
        kernel = "per_output_gradients" in request.fields
        per_output = _per_output(calls, outputs, request) if kernel else {}
    return Derivatives(_of_loss(calls, loss, request), gates, per_output)


@contextmanager
def _understood() -> Iterator[None]:
    """Say what was differentiated where that fails."""
    try:
        yield
    except RuntimeError as error:
        raise Unsupported(
            f"the loss on the probe can be differentiated; got: {error}. Remedy: mend the model's backward pass "
            "(checkpointing needs use_reentrant=False), or choose measures without gradients."
        ) from error


def _places(calls: Sequence[AnyCall], names: frozenset[str]) -> dict[Place, GradientEdge]:
    """Return where gradients are asked for: at outputs and features of layers, at all outputs of composite modules."""
    places: dict[Place, GradientEdge] = {}
    for number, call in enumerate(calls):
        if isinstance(call, Call):
            edges = {name: getattr(call, name).edge for name in names}
        else:
            edges = {str(at): edge for at, edge in enumerate(call.edges)}
        places |= {(number, name): edge for name, edge in edges.items() if edge is not None}
    return places


def _of_loss(calls: Sequence[AnyCall], loss: Tensor, request: Request) -> dict[Place, Tensor]:
    names = frozenset(name for name, gradient in GRADIENT_OF.items() if gradient in request.fields)
    return gradients_of(loss, _places(calls, names) if not GRADIENT_FIELDS.isdisjoint(request.fields) else {})


def gradients_of(loss: Tensor, places: Mapping[Place, Any]) -> dict[Place, Tensor]:
    """Return the gradients of the loss by what is at these places (tensors or edges), where it depends on that.

    Raises:
        Unsupported: if the graph cannot be differentiated.
    """
    if not places or not loss.requires_grad:
        return {}
    with _understood():
        found = torch.autograd.grad(loss, list(places.values()), allow_unused=True)
    return {place: gradient for place, gradient in zip(places, found, strict=True) if gradient is not None}


def _per_output(calls: Sequence[AnyCall], outputs: Tensor, request: Request) -> dict[Place, tuple[Tensor | None, ...]]:
    flat, places = outputs.flatten(1), _places(calls, frozenset({"outputs"}))
    count = flat.shape[1]
    require(
        count <= request.most_outputs,
        f"gradients of single outputs are taken for at most {request.most_outputs} outputs",
        f"a network with {count}",
        "let `forward=` return fewer, or choose measures without kernels",
    )
    edges = list(places.values())
    columns = [_kept(places, _of_output(flat[:, output].sum(), edges), request) for output in range(count)]
    return {place: tuple(column[at] for column in columns) for at, place in enumerate(places)}


def _of_output(output: Tensor, edges: Sequence[GradientEdge]) -> Sequence[Tensor | None]:
    return torch.autograd.grad(output, edges, retain_graph=True, allow_unused=True) if edges else ()


def _kept(places: Iterable[Place], gradients: Sequence[Tensor | None], request: Request) -> list[Tensor | None]:
    chosen = request.kernel_samples
    return [
        gradient if gradient is None or chosen is None or name != "outputs" else gradient[chosen.to(gradient.device)]
        for (_, name), gradient in zip(places, gradients, strict=True)
    ]


def stacked(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Return (m, k, ...) of k gradients (m, ...), zero where an output does not depend; None if none does.

    >>> stacked([torch.ones(2, 3), None]).shape
    torch.Size([2, 2, 3])
    """
    like = next((gradient for gradient in gradients if gradient is not None), None)
    if like is None:
        return None
    return torch.stack([torch.zeros_like(like) if each is None else each for each in gradients], dim=1)


def _gates(calls: Sequence[AnyCall]) -> dict[int, Tensor]:
    found = {number: _gate(call) for number, call in enumerate(calls) if isinstance(call, Call)}
    return {number: gate for number, gate in found.items() if gate is not None}


def _gate(call: Call) -> Tensor | None:
    """Return ∂F/∂Z like Z if F is an entrywise function of Z, else None.

    Products of the Jacobian with two vectors tell: only if it is diagonal are they the same numbers times each.
    """
    outputs, features = call.outputs, call.features
    if outputs.value is None or features.value is None or outputs.edge is None or features.edge is None:
        return None
    if outputs.edge == features.edge:
        return torch.ones_like(outputs.value)
    if outputs.value.numel() != features.value.numel():
        return None
    ones = torch.ones_like(features.value)
    uneven = 1 + 0.5 * torch.arange(ones.numel(), device=ones.device).cos().to(ones).view_as(ones)
    gate, other = _product(features.edge, outputs.edge, ones), _product(features.edge, outputs.edge, uneven)
    if gate is None or other is None:
        return None
    expected = gate * uneven.reshape(gate.shape)
    largest = max(float(each.abs().nan_to_num(0.0, 0.0, 0.0).max()) for each in (expected, other))
    tolerance = _ENTRYWISE.get(gate.dtype, _ENTRYWISE_HALF) * largest
    return gate if torch.allclose(other, expected, rtol=0.0, atol=tolerance, equal_nan=True) else None


def _product(later: GradientEdge, earlier: GradientEdge, vector: Tensor) -> Tensor | None:
    return torch.autograd.grad([later], [earlier], [vector], retain_graph=True, allow_unused=True)[0]
