"""What is differentiated on the graph of a pass of many members: `anatomy.derivatives` for tensors of all of them.

Members do not see each other, so that the gradient of the sum of their losses holds the gradients of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from cloudchamber.anatomy.derivatives import Place, stacked
from cloudchamber.anatomy.snapshot import GRADIENT_FIELDS, GRADIENT_OF

_ENTRYWISE = {torch.float64: 1e-6, torch.float32: 1e-3}
_ENTRYWISE_HALF = 2e-2


@dataclass(frozen=True)
class StackedTensor:
    """A tensor of m members, or one that all of them share.

    Attributes:
        value: (m, ...), or (...) if shared.
        shared: whether it is the same for all.
        known: (m,) which members have it; None = all.
    """

    value: Tensor
    shared: bool = False
    known: Tensor | None = None

    @property
    def axis(self) -> int | None:
        """The axis of the members."""
        return None if self.shared else 0

    def of(self, member: int) -> Tensor | None:
        """Return the tensor of one of the m members; None if it has none."""
        if self.known is not None and not bool(self.known[member]):
            return None
        return self.value if self.shared else self.value[member]

    def rows(self, rows: Sequence[int]) -> StackedTensor:
        """Return it for some of the members."""
        return self if self.shared else StackedTensor(self.value[list(rows)])


def shared_if_equal(tensor: Tensor) -> StackedTensor:
    """Return a tensor (m, ...) as shared if it is the same for all: measures may then look into it.

    >>> shared_if_equal(torch.tensor([[0, 1], [0, 1]])).shared
    True
    """
    same = bool((tensor == tensor[0]).all())
    return StackedTensor(tensor[0], shared=True) if same else StackedTensor(tensor)


class Seen(NamedTuple):
    """A tensor as a tap saw it.

    Attributes:
        value: detached, or a copy, with the axis of the members where the graph has it.
        axis: that axis; None for a tensor that all share.
        edge: where in the graph it is.
    """

    value: Tensor
    axis: int | None
    edge: GradientEdge | None

    @property
    def tensor(self) -> StackedTensor:
        """The value with the members first."""
        return StackedTensor(self.value, shared=True) if self.axis is None else self.first(self.value)

    def first(self, tensor: Tensor) -> StackedTensor:
        """Return a tensor like the value, such as its gradient, with the members first."""
        return StackedTensor(tensor.movedim(self.axis or 0, 0))


def differentiated(
    seen: Mapping[Place, Seen], outputs: Tensor, losses: Tensor, fields: frozenset[str], samples: Tensor | None
) -> dict[Place, StackedTensor]:
    """Return the gradients and gates that are wanted, by the number of the call and the field of `LayerSnapshot`.

    Args:
        seen: inputs, outputs and features by the number of the call.
        outputs: (m, n, ...) of the networks.
        losses: (m,), each summed over the samples.
        fields: what is wanted.
        samples: those of `per_output_gradients`; None = all.
    """
    if not outputs.requires_grad:
        return {}
    found = _gates(seen) if "gates" in fields else {}
    if "per_output_gradients" in fields:
        found |= _per_output(seen, outputs, samples)
    return found | _of_losses(seen, losses, fields)


def _of_losses(seen: Mapping[Place, Seen], losses: Tensor, fields: frozenset[str]) -> dict[Place, StackedTensor]:
    places = _edges(seen, [name for name, gradient in GRADIENT_OF.items() if gradient in fields])
    if GRADIENT_FIELDS.isdisjoint(fields) or not places or not losses.requires_grad:
        return {}
    found = torch.autograd.grad(losses.sum(), list(places.values()), allow_unused=True)
    return {
        (number, GRADIENT_OF[name]): seen[number, name].first(gradient)
        for (number, name), gradient in zip(places, found, strict=True)
        if gradient is not None
    }


def _edges(seen: Mapping[Place, Seen], names: Sequence[str]) -> dict[Place, GradientEdge]:
    return {place: each.edge for place, each in seen.items() if place[1] in names and each.edge is not None}


def _per_output(seen: Mapping[Place, Seen], outputs: Tensor, samples: Tensor | None) -> dict[Place, StackedTensor]:
    flat, places = outputs.flatten(2), _edges(seen, ["outputs"])
    edges = list(places.values())
    columns = [
        torch.autograd.grad(flat[..., output].sum(), edges, retain_graph=True, allow_unused=True)
        for output in range(flat.shape[2])
    ]
    found: dict[Place, StackedTensor] = {}
    for at, place in enumerate(places):
        parts = [_chosen(seen[place], column[at], samples) for column in columns]
        whole = stacked(parts)
        if whole is not None:
            found[place[0], "per_output_gradients"] = StackedTensor(whole.transpose(1, 2))
    return found


def _chosen(seen: Seen, gradient: Tensor | None, samples: Tensor | None) -> Tensor | None:
    if gradient is None:
        return None
    whole = seen.first(gradient).value
    return whole if samples is None else whole[:, samples.to(whole.device)]


def _gates(seen: Mapping[Place, Seen]) -> dict[Place, StackedTensor]:
    numbers = [number for number, name in seen if name == "outputs" and (number, "features") in seen]
    found = {number: _gate(seen[number, "outputs"], seen[number, "features"]) for number in numbers}
    return {(number, "gates"): gate for number, gate in found.items() if gate is not None}


def _gate(outputs: Seen, features: Seen) -> StackedTensor | None:
    """Return ∂F/∂Z like Z of the members in which F is an entrywise function of Z, as `anatomy.derivatives` does."""
    if outputs.edge is None or features.edge is None:
        return None
    if outputs.edge == features.edge:
        return outputs.first(torch.ones_like(outputs.value))
    if outputs.value.numel() != features.value.numel():
        return None
    ones, even = torch.ones_like(features.value), features.first(features.value).value
    weights = 1 + 0.5 * torch.arange(even[0].numel(), device=even.device).cos().to(even).view_as(even[0])
    uneven = weights.expand_as(even).movedim(0, features.axis or 0)
    gate, other = _product(features.edge, outputs.edge, ones), _product(features.edge, outputs.edge, uneven)
    if gate is None or other is None:
        return None
    found, against = outputs.first(gate).value, outputs.first(other).value
    return StackedTensor(found, known=_alike(found * weights.reshape(found[0].shape), against))


def _product(later: GradientEdge, earlier: GradientEdge, vector: Tensor) -> Tensor | None:
    return torch.autograd.grad([later], [earlier], [vector], retain_graph=True, allow_unused=True)[0]


def _alike(expected: Tensor, other: Tensor) -> Tensor:
    """Tell for which members two tensors (m, ...) are equal, as far as rounding goes."""
    one, two = expected.flatten(1), other.flatten(1)
    largest = torch.maximum(*(each.abs().nan_to_num(0.0, 0.0, 0.0).amax(1, keepdim=True) for each in (one, two)))
    tolerance = _ENTRYWISE.get(one.dtype, _ENTRYWISE_HALF) * largest
    near = (one - two).abs() <= tolerance
    return (near | (one == two) | (one.isnan() & two.isnan())).all(1)
