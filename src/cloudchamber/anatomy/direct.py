"""A pass along a chain whose modules are known: called one after the other, without hooks.

The slow twin is the planned pass of module `capture`, which runs the model itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from cloudchamber.anatomy.calls import in_graph
from cloudchamber.anatomy.derivatives import Place, gradients_of
from cloudchamber.anatomy.plan import Plan, Step
from cloudchamber.anatomy.snapshot import GRADIENT_FIELDS, GRADIENT_OF, STORED_FIELDS, LayerSnapshot

DIRECT_FIELDS = STORED_FIELDS | GRADIENT_FIELDS | {"weight"}
"""What a direct pass shows."""


@dataclass(frozen=True)
class DirectPass:
    """What such a pass showed.

    Attributes:
        layers: a snapshot per layer.
        outputs: the network's outputs.
        loss: the loss summed over the samples.
    """

    layers: dict[str, LayerSnapshot]
    outputs: Tensor
    loss: Tensor


def run_along(
    chain: Iterable[Step], plan: Plan, inputs: Tensor, summed_loss: Callable[[Tensor], Tensor], wanted: frozenset[str]
) -> DirectPass:
    """Call the modules of a chain; with a graph where gradients are enabled.

    Args:
        chain: `plan.chain`.
        plan: what is known about the model.
        inputs: (n, ...), the probe's.
        summed_loss: maps the outputs to Σ_x loss_x.
        wanted: fields of `LayerSnapshot`, of `DIRECT_FIELDS`.
    """
    outputs, seen = _called(chain, inputs)
    loss = summed_loss(outputs)
    asked = {place: t for place, t in seen.items() if GRADIENT_OF.get(place[1]) in wanted and t.requires_grad}
    found = {(number, GRADIENT_OF[name]): each for (number, name), each in gradients_of(loss, asked).items()}
    found |= {place: tensor.detach() for place, tensor in seen.items() if place[1] in wanted}
    names = wanted - {"weight"}
    layers = {
        call.key: replace(
            plan.empty_snapshots[call.key],
            weight=call.chosen.views[0].neurons() if "weight" in wanted else None,
            **{name: found.get((number, name)) for name in names},
        )
        for number, call in enumerate(plan.calls)
    }
    return DirectPass(layers, outputs, loss)


def _called(chain: Iterable[Step], inputs: Tensor) -> tuple[Tensor, dict[Place, Tensor]]:
    """The outputs of a chain; what its layers received and returned, and their features."""
    seen: dict[Place, Tensor] = {}
    value = inputs
    for step in chain:
        received, value = value, step.module(value)
        if step.call is not None:
            value = in_graph(value)
            seen[step.call, "inputs"], seen[step.call, "outputs"] = received, value
        for numbers, tensor in ((step.received, received), (step.returned, value)):
            for number in numbers:
                seen[number, "features"] = tensor
    return value, seen
