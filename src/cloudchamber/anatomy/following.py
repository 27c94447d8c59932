"""A later pass: hooks only where the plan says that something is to be seen."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber.anatomy.calls import NOTHING, AnyCall, Call, Wanted, first_argument, in_graph
from cloudchamber.anatomy.plan import Plan, Step, node_kind
from cloudchamber.anatomy.replay import RandomState, current_random_state, output_tensors
from cloudchamber.anatomy.tracker import ActivationTracker


class Follower:
    """Hooks for one forward pass that is expected to go as planned.

    Args:
        plan: what is expected.
        samples: number of samples.
        wanted: what to keep.
        tracker: follows the functions if the plan needs it; the model runs within it.
    """

    def __init__(self, plan: Plan, samples: int, wanted: Wanted, tracker: ActivationTracker) -> None:
        self.calls: list[AnyCall] = []
        self._plan, self._samples, self._wanted, self._tracker = plan, samples, wanted, tracker
        self._tracks = plan.follows_functions
        self._at, self._changed = 0, False
        self._reported = [0] * len(plan.calls) if self._tracks else []
        self._states: list[RandomState] = []

    @property
    def as_planned(self) -> bool:
        """Whether the pass went as planned, to its end."""
        if self._changed or self._at != len(self._plan.steps):
            return False
        pairs = zip(self._plan.calls, self._reported, strict=True) if self._tracks else ()
        return all(call.function is None or call.function[1] == reported for call, reported in pairs)

    def before_random(self, module: nn.Module, args: tuple) -> None:  # noqa: ARG002
        """Keep the random state before a composite module's call."""
        self._states.append(current_random_state(next(module.parameters()).device))

    def after(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
        """See the end of a module's call; return a layer's output as part of a graph."""
        if not self._tracks:
            return self._after(module, args, kwargs, output)
        with torch._C.DisableTorchFunction():
            return self._after(module, args, kwargs, output)

    def _after(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
        at, self._at = self._at, self._at + 1
        step = self._plan.steps[at] if at < len(self._plan.steps) and not self._changed else None
        if step is None or step.module is not module:
            self._changed = True
            return None
        received = args[0] if args else first_argument(args, kwargs)
        if step.call is not None and self._wanted.change:
            output = in_graph(output)
        if step.nodes != (node_kind(received), node_kind(output)):
            self._changed = True
            return None
        self._see(step, received, args, kwargs, output)
        return output if self._wanted.change and step.call is not None else None

    def _see(self, step: Step, received: object, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if step.call is not None:
            self._add(step.call, received, args, kwargs, output)
        if "features" not in self._wanted.names or self._changed:
            return
        for number in step.received:
            self._feature(number, received)
        for number in step.returned:
            self._feature(number, output)

    def _add(self, number: int, received: object, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        planned, wanted = self._plan.calls[number], self._wanted
        if planned.chosen.composite is not None:
            state = self._states.pop() if self._states else None
            call: AnyCall = wanted.composite(number, planned.chosen, args, kwargs, output, state)
        elif isinstance(received, Tensor) and output.shape[0] == self._samples:
            inputs = wanted.look(number, "inputs", received)
            call = Call(planned.chosen, inputs, wanted.look(number, "outputs", output), NOTHING, planned.activation)
        else:
            self._changed = True
            return
        call.next = planned.next
        self.calls.append(call)
        if self._tracks:
            self._track(number, call, args, kwargs, output)

    def _track(self, number: int, call: AnyCall, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        for tensor in output_tensors((args, kwargs)):
            self._tracker.layer_input(tensor)
        if isinstance(call, Call):
            self._tracker.layer_output(partial(self._function, number), output)
            return
        for tensor in output_tensors(output):
            self._tracker.other_output(tensor)

    def _function(self, number: int, tensor: Tensor | None, activation: str) -> None:
        planned = self._plan.calls[number]
        self._reported[number] += 1
        if planned.function is None or planned.function[0] != self._reported[number]:
            return
        if tensor is None or activation != planned.activation:
            self._changed = True
            return
        with torch._C.DisableTorchFunction():
            self._feature(number, tensor)

    def _feature(self, number: int, tensor: object) -> None:
        call = self.calls[number]
        if isinstance(call, Call) and isinstance(tensor, Tensor):
            call.features = self._wanted.look(number, "features", tensor)
