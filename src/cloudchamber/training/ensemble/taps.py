"""Hooks that hand out, within `vmap`, the tensors in which all members lie side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from cloudchamber._core.errors import Unsupported
from cloudchamber.anatomy import Plan
from cloudchamber.anatomy.calls import first_argument
from cloudchamber.anatomy.derivatives import Place
from cloudchamber.anatomy.plan import Step
from cloudchamber.training.ensemble.stacked_derivatives import Seen


class Tap(torch.autograd.Function):
    """Hands out, within `vmap`, the tensor in which all members lie; does nothing else."""

    @staticmethod
    def forward(tensor: Tensor, keep: Callable[[Tensor, int | None], None]) -> Tensor:
        """Hand out a tensor that all members share."""
        keep(tensor, None)
        return tensor.view_as(tensor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        """Keep nothing: no gradient goes through a tap."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> tuple[Tensor, int | None]:  # noqa: ARG004
        """Hand out the tensor of all members, with their axis."""
        tensor, keep = args
        keep(tensor, in_dims[0])
        return tensor, in_dims[0]


class Taps:
    """Hooks for a forward pass that goes as planned: they note what layers receive, compute and give on.

    Args:
        plan: what is expected.
    """

    def __init__(self, plan: Plan) -> None:
        self.seen: dict[Place, Seen] = {}
        self._plan, self._at = plan, 0
        self._anchor = torch.empty(0)

    def restart(self, anchor: Tensor) -> None:
        """Begin; `anchor` is a zero of each member that is part of the graph."""
        self._at, self._anchor = 0, anchor

    def require_end(self) -> None:
        """Raise `Unsupported` unless all calls were made that were expected."""
        if self._at != len(self._plan.steps):
            raise _other_calls()

    def after(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
        """See the end of a module's call; return a layer's output as part of a graph."""
        step = self._plan.steps[self._at] if self._at < len(self._plan.steps) else None
        self._at += 1
        if step is None or step.module is not module:
            raise _other_calls()
        return self._see(step, first_argument(args, kwargs), output)

    def _see(self, step: Step, received: Any, output: Any) -> Tensor | None:
        anchored = None
        if step.call is not None:
            self._look((step.call, "inputs"), received)
            seen = self._look((step.call, "outputs"), output)
            if seen.edge is None and torch.is_grad_enabled():
                output = anchored = output + self._anchor  # all before is frozen
                self._look((step.call, "outputs"), output)
        for number in step.received:
            self._look((number, "features"), received)
        for number in step.returned:
            self._look((number, "features"), output)
        return anchored

    def _look(self, place: Place, tensor: Tensor) -> Seen:
        Tap.apply(tensor, partial(self._keep, place))
        return self.seen[place]

    def _keep(self, place: Place, tensor: Tensor, axis: int | None) -> None:
        edge = get_gradient_edge(tensor) if tensor.requires_grad else None
        value = tensor.detach()
        self.seen[place] = Seen(value.clone() if place in self._plan.copied else value, axis, edge)


def _other_calls() -> Unsupported:
    return Unsupported(
        "the members of an ensemble call their layers in one order; got another one than at the first observation. "
        "Remedy: observe with path='looped'."
    )


@contextmanager
def hooked(plan: Plan, taps: Taps) -> Iterator[None]:
    """Hook the modules of a plan."""
    handles = [module.register_forward_hook(taps.after, with_kwargs=True) for module in plan.hooked]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
