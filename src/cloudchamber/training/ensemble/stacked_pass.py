"""One pass of many members over the probe at once: the forward pass in one `vmap`, with autograd around it.

Within `vmap` there is no graph to be differentiated. But what stands around it has one: the tensors in which all
members lie side by side. Hooks on the members' layers hand them out (`Tap`), and one call of `torch.autograd.grad` on
the sum of all members' losses then returns the gradients of every layer of every member, as a monitor has them of one
model: those of a feature, too, that goes on to several places.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from cloudchamber.anatomy import Forward, LayerSnapshot, LayerView, Plan
from cloudchamber.anatomy.batch import copy_of
from cloudchamber.anatomy.derivatives import Place
from cloudchamber.anatomy.quiet import copied_buffers, restored_attributes, set_mode
from cloudchamber.anatomy.snapshot import GRAPH_FIELDS
from cloudchamber.training.ensemble.stacked_derivatives import StackedTensor, differentiated
from cloudchamber.training.ensemble.taps import Taps, hooked

_MODEL = "model."


@dataclass(frozen=True)
class StackedProbe:
    """What the members are run on.

    Attributes:
        inputs: a tensor (n, ...), or tuples, lists and dicts of tensors; (m, n, ...) if `own`.
        targets: (n, ...) or (m, n, ...).
        own: whether each member has its own.
    """

    inputs: Any
    targets: Tensor
    own: bool

    @property
    def axis(self) -> int | None:
        """The axis of the members."""
        return 0 if self.own else None


@dataclass(frozen=True)
class StackedCapture:
    """What one pass of m members showed; like `anatomy.Capture`, of all of them.

    Attributes:
        layers: by the keys of the layers and the fields of `LayerSnapshot`.
        outputs: (m, n, ...).
        losses: (m,), each summed over the samples.
        kernel_samples: the samples of `per_output_gradients`; None = all.
    """

    layers: Mapping[str, Mapping[str, StackedTensor]]
    outputs: Tensor
    losses: Tensor
    kernel_samples: Tensor | None

    def snapshots(self, empty: Mapping[str, LayerSnapshot], member: int) -> dict[str, LayerSnapshot]:
        """Return what the pass showed of one of the m members."""
        return snapshots_of(
            empty,
            {key: self._of(fields, member) for key, fields in self.layers.items()},
            self.kernel_samples,
        )

    @staticmethod
    def _of(fields: Mapping[str, StackedTensor], member: int) -> dict[str, Tensor]:
        found = {name: each.of(member) for name, each in fields.items()}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    @property
    def numbers(self) -> int:
        """How many numbers it holds of each member."""
        held = [each.value.numel() for fields in self.layers.values() for each in fields.values()]
        return sum(held, self.outputs.numel()) // len(self.outputs)


def snapshots_of(
    empty: Mapping[str, LayerSnapshot], layers: Mapping[str, Mapping[str, Tensor]], kernel_samples: Tensor | None
) -> dict[str, LayerSnapshot]:
    """Return the snapshots of one member from its tensors, by layer and field."""
    found: dict[str, LayerSnapshot] = {}
    for key, tensors in layers.items():
        given = {"kernel_samples": kernel_samples} if "per_output_gradients" in tensors else {}
        before = empty[key]
        found[key] = LayerSnapshot(before.view, before.activation, before.next, **tensors, **given)
    return found


@dataclass(frozen=True)
class StackedPass:
    """A model whose layers and activations are known, ready to be run as many members at once.

    Attributes:
        model: the architecture; its own parameters are not used where the members bring theirs.
        plan: what a pass of one member taught; it holds for all, as `vmap` leaves no choice that depends on data.
        forward: calls the model.
        summed_loss: takes outputs and targets of one member, returns Σ_x loss_x.
    """

    model: nn.Module
    plan: Plan
    forward: Forward
    summed_loss: Callable[[Tensor, Tensor], Tensor]
    _called: list[_Called] = field(default_factory=list, repr=False, compare=False)

    def run(
        self,
        parameters: Mapping[str, Tensor],
        fixed: Mapping[str, Tensor],
        probe: StackedProbe,
        fields: frozenset[str],
        kernel_samples: Tensor | None = None,
    ) -> StackedCapture:
        """Run m members on the probe, as in evaluation; nothing of the model changes.

        Args:
            parameters: (m, ...) by name.
            fixed: (m, ...) by name: buffers and parameters that are not trained, where members have their own.
            probe: what they are run on.
            fields: which fields of `LayerSnapshot` are wanted.
            kernel_samples: the samples for which `per_output_gradients` are wanted; None = all.

        Raises:
            RuntimeError: if `vmap` does not accept the model.
            Unsupported: if it calls its layers in another order than was planned.
        """
        graph = not GRAPH_FIELDS.isdisjoint(fields)
        with torch.set_grad_enabled(graph):
            given = {name: value.detach().requires_grad_(graph) for name, value in parameters.items()}
            outputs, weights, taps = self._forward(given | dict(fixed), probe)
            losses = self._losses(outputs, probe)
            found = differentiated(taps.seen, outputs, losses, fields, kernel_samples)
        values = {place: each.tensor for place, each in taps.seen.items()}
        layers = self._layers(values | found, weights, fields)
        return StackedCapture(layers, outputs.detach(), losses.detach(), kernel_samples)

    def _forward(self, given: Mapping[str, Tensor], probe: StackedProbe) -> tuple[Tensor, dict[str, Tensor], Taps]:
        called, modules = self._callable(), list(self.plan.modules)
        taps = Taps(self.plan)

        def of_member(tensors: Mapping[str, Tensor], inputs: Any, anchor: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            taps.restart(anchor)
            return functional_call(called, dict(tensors), (copy_of(inputs),))

        named = {_MODEL + name: value for name, value in given.items()}
        members = len(next(iter(named.values())))
        anchors = torch.zeros(members, device=probe.targets.device, requires_grad=torch.is_grad_enabled())
        with restored_attributes(modules), copied_buffers(modules), hooked(self.plan, taps), without_rules():
            set_mode(modules, training=False)
            outputs, weights = vmap(of_member, in_dims=(0, probe.axis, 0), randomness="different")(
                named, probe.inputs, anchors
            )
        taps.require_end()
        return outputs, weights, taps

    def _callable(self) -> _Called:
        if not self._called:
            views = {call.key: call.chosen.views[0] for call in self.plan.calls}
            self._called.append(_Called(self.model, self.forward, views))
        return self._called[0]

    def _losses(self, outputs: Tensor, probe: StackedProbe) -> Tensor:
        try:
            with without_rules():
                return vmap(self.summed_loss, in_dims=(0, probe.axis), randomness="same")(outputs, probe.targets)
        except RuntimeError:  # a loss of the user's own that is no pure tensor code
            targets = probe.targets if probe.own else [probe.targets] * len(outputs)
            return torch.stack([self.summed_loss(*pair) for pair in zip(outputs, targets, strict=True)])

    def _layers(
        self, tensors: Mapping[Place, StackedTensor], weights: Mapping[str, Tensor], fields: frozenset[str]
    ) -> dict[str, dict[str, StackedTensor]]:
        found: dict[str, dict[str, StackedTensor]] = {call.key: {} for call in self.plan.calls}
        for (number, name), tensor in tensors.items():
            if name in fields:
                found[self.plan.calls[number].key][name] = tensor
        for key, weight in weights.items():
            found[key]["weight"] = StackedTensor(weight)
        return found


class _Called(nn.Module):
    """A model that is called as the user calls it, and returns its layers' weights as well."""

    def __init__(self, model: nn.Module, forward: Forward, views: Mapping[str, LayerView]) -> None:
        super().__init__()
        self.model, self._forward, self._views = model, forward, views

    def forward(self, inputs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        outputs = self._forward(self.model, inputs)
        return outputs, {key: view.neurons() for key, view in self._views.items()}


@contextmanager
def without_rules() -> Iterator[None]:
    """Let `vmap` take single operations of one member after the other without a warning: others are not."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
        yield
