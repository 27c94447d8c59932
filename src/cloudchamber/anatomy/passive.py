"""Passive observation: the tensors of one training step's own forward and backward pass, as they come.

Nothing is run a second time, and nothing is copied unless the model overwrites it in place. Hooks are there for the
step only. The user's graph stays as it is: what is frozen has no gradient.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber.anatomy.assembling import snapshots_of
from cloudchamber.anatomy.calls import Call, Seen, Wanted, first_argument, hooks, modules_of
from cloudchamber.anatomy.choice import ChosenModule
from cloudchamber.anatomy.derivatives import Derivatives, Request
from cloudchamber.anatomy.following import Follower
from cloudchamber.anatomy.lean import FIELDS as LEAN_FIELDS
from cloudchamber.anatomy.lean import Hook, HooksOfModules, Notes, OwnForward, Removable, call_along
from cloudchamber.anatomy.passes import (
    CHANGED,
    INSIDE,
    TWICE,
    Sink,
    TrainingPass,
    asked_of,
    held_only,
    is_seen,
    joined,
    require_uncompiled,
)
from cloudchamber.anatomy.plan import Plan
from cloudchamber.anatomy.quiet import undisturbed, without_autocast
from cloudchamber.anatomy.recording import Recorder, recorded_modules
from cloudchamber.anatomy.replay import output_tensors
from cloudchamber.anatomy.snapshot import GRADIENT_FIELDS, GRADIENT_OF, STORED_FIELDS, LayerSnapshot
from cloudchamber.anatomy.tracker import ActivationTracker

_NO_PASS = "no forward pass with a graph was made (a compiled model calls no hooks)"
_FAILED = "its forward pass failed"


@dataclass(frozen=True)
class Passive:
    """What the passes of a training step showed.

    Attributes:
        layers: a snapshot per view, with the fields that were to be held; samples of several passes one after the
            other. Gradients are those of the loss that was differentiated, as it was scaled.
        passes: numbers of the forward passes that count: those whose gradients arrived.
        samples: their numbers of samples.
        unusable: called modules and views that could not be observed, by name, with the reason.
        reason: why no pass counts, or "".
        plan: what was learned; hand it to the next `PassivePass`. None if nothing was.
    """

    layers: Mapping[str, LayerSnapshot]
    passes: tuple[int, ...]
    samples: tuple[int, ...]
    unusable: Mapping[str, str]
    reason: str
    plan: Plan | None


class PassivePass:
    """Hooks for the forward and backward passes inside a `with` block; the update of the weights comes after it.

    A forward pass counts once gradients of its tensors arrived, by exactly one backward pass. Passes without a graph
    (evaluation), and what a backward pass computes once more (checkpointing) are not seen. Several forward and backward
    passes (accumulated gradients) are put together, sample after sample.

    The first passes of a model follow every function and copy what they see; `result.plan` spares later ones that.

    Args:
        model: the model that is trained; not compiled.
        layers: the modules to observe, as `choose_views` returns them.
        held: fields of `LayerSnapshot` that the result is to hold ("weight" as it is at the end of the block).
        streamed: fields that `sink` is told at once, and that are not held. The parts of composite modules come at the
            end of the block, as they are computed once more from what the module received.
        sink: is told the streamed fields.
        plan: `Passive.plan` of an earlier step.
        most_bytes: up to so many bytes of streamed tensors may be kept until the end of the block, and the sink told of
            them together then; that costs less.

    Raises:
        InvalidInput: if a field is none that training passes show.
        Unsupported: if the model is compiled.

    >>> from cloudchamber.anatomy import choose_views
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> with PassivePass(model, choose_views(model, None), held={"features", "feature_gradients"}) as armed:
    ...     model(torch.ones(5, 4)).sum().backward()
    >>> armed.result.layers["0"].feature_gradients.shape
    torch.Size([5, 8])
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Mapping[str, ChosenModule],
        *,
        held: Collection[str] = (),
        streamed: Collection[str] = (),
        sink: Sink | None = None,
        plan: Plan | None = None,
        most_bytes: int = 0,
    ) -> None:
        self._model, self._chosen, self._sink = model, layers, sink
        self._held, self._streamed = frozenset(held), frozenset(streamed)
        require(sink is not None or not streamed, "streamed fields have a sink", "none", "give `sink=`")
        self._asked, self._only_witness = asked_of(self._held, self._streamed)
        self._plan = plan if plan is not None and plan.holds_for(model, layers, training=model.training) else None
        self._is_lean = self._plan is not None and self._plan.lean and not self._held and self._streamed <= LEAN_FIELDS
        self._most_bytes, self._bytes = most_bytes, 0
        self._modules = tuple(model.modules()) if self._plan is None else self._plan.modules
        self._chain = self._plan.chain if self._plan is not None and self._is_lean else None
        if self._chain is None:
            require_uncompiled(self._modules)
        self._changes = 0 if plan is None else plan.changes_of_next
        self._handles: list[Removable] = []
        self._passes: list[TrainingPass] = []
        self._open: TrainingPass | None = None
        self._armed = False
        self._result: Passive | None = None

    def __enter__(self) -> PassivePass:
        self._armed = True
        self._tracks = self._plan is None or self._plan.follows_functions
        if self._tracks:
            self._tracker.__enter__()
        self._hook()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._armed = False
        if self._tracks:
            self._tracker.__exit__(kind, error, trace)
        for handles in (self._handles, *(each.handles for each in self._passes)):
            for handle in handles:
                handle.remove()
        if kind is None:
            self._close()
            self._result = self._assembled()
        self._passes.clear()

    @cached_property
    def _tracker(self) -> ActivationTracker:
        return ActivationTracker()

    @property
    def result(self) -> Passive:
        """What was seen; after the block."""
        if self._result is None:
            raise InvalidInput("a passive pass has a result after its block; got none yet. Remedy: leave it first.")
        return self._result

    @property
    def starts(self) -> list[int]:
        """How many samples the forward passes before each one had, while the block lasts."""
        return list(accumulate((each.samples for each in self._passes), initial=0))

    def _hook(self) -> None:
        model = self._model
        if self._chain is not None:
            self._handles.append(OwnForward(model, self._along))
            return
        self._handles.append(Hook(self._before_model, model._forward_pre_hooks, model._forward_pre_hooks_with_kwargs))
        if self._plan is None:
            self._handles += self._tracker.module_hooks(self._model)
            modules = recorded_modules(self._model, self._chosen)
            self._handles += hooks(modules, modules_of(self._chosen), self._after, self._before_random)
        elif self._plan.composites:
            self._handles += hooks(self._plan.hooked, modules_of(self._chosen), self._after, self._before_random)
        elif self._is_lean:
            self._handles.append(HooksOfModules(self._plan.hooked, self._note))
        else:
            for module in self._plan.hooked:
                self._handles.append(module.register_forward_hook(self._after, with_kwargs=True))
        self._handles.append(Hook(self._after_model, model._forward_hooks, model._forward_hooks_always_called))

    def _before_model(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        if module is self._model and is_seen():
            self._close()
            self._begin(args, kwargs, whole=True)

    def _after_model(self, module: nn.Module, args: tuple, output: Any) -> None:  # noqa: ARG002
        if module is self._model and self._open is not None:
            self._open.broken = _FAILED if output is None else ""
            self._close()

    def _along(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Call the modules of a chain one after the other, in the place of the model's forward method."""
        if not is_seen():
            return type(self._model).forward(self._model, input)
        self._close()
        now = self._begin((input,), {}, whole=True)
        note = now.run.note if isinstance(now.run, Notes) else self._note
        now.broken = _FAILED  # until it has not
        try:
            output = call_along(self._chain or (), input, note)
            now.broken = ""
        finally:
            self._close()
        return output

    def _before_random(self, module: nn.Module, args: tuple) -> None:
        if is_seen():
            self._run_of(args, {}).before_random(module, args)

    def _after(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if is_seen():
            self._run_of(args, kwargs).after(module, args, kwargs, output)

    def _run_of(self, args: tuple, kwargs: dict[str, Any]) -> Recorder | Follower:
        run = (self._open or self._begin(args, kwargs, whole=False)).run
        assert not isinstance(run, Notes)
        return run

    def _note(self, module: nn.Module, args: tuple, output: Any) -> None:
        if self._open is None or not isinstance(self._open.run, Notes):
            self._after(module, args, {}, output)
        elif is_seen():
            self._open.run.note(module, args, output)

    def _begin(self, args: tuple, kwargs: dict[str, Any], *, whole: bool) -> TrainingPass:
        first = first_argument(args, kwargs)
        tensors = (first,) if isinstance(first, Tensor) else output_tensors((args, kwargs))
        samples = next((tensor.shape[0] for tensor in tensors if tensor.ndim), 0)
        run = self._run(samples, whole=whole)
        self._open = TrainingPass(len(self._passes), samples, whole, run, self._plan)
        self._passes.append(self._open)
        return self._open

    def _run(self, samples: int, *, whole: bool) -> Recorder | Follower | Notes:
        if self._plan is not None and self._is_lean and whole and self._bytes < self._most_bytes:
            return Notes(self._plan, samples)
        self._tracker.forget()
        wanted = Wanted(
            (self._held if self._plan else self._held | self._streamed) & STORED_FIELDS,
            self._plan.copied if self._plan else None,
            everywhere=self._plan is None,
            change=False,
            watch=self._watch,
            watched=self._asked | self._streamed,
        )
        if self._plan is None:
            return Recorder(self._chosen, samples, wanted, self._tracker)
        return Follower(self._plan, samples, wanted, self._tracker)

    def _close(self) -> None:
        """End the forward pass that is under way."""
        ended, self._open = self._open, None
        if ended is None:
            return
        if isinstance(ended.run, Recorder):
            self._learn(ended, ended.run)
        elif not ended.run.as_planned:
            ended.broken = ended.broken or CHANGED
        elif isinstance(ended.run, Notes) and not ended.broken:
            self._ask(ended, ended.run)

    def _ask(self, ended: TrainingPass, run: Notes) -> None:
        """Ask for the gradients of a lean pass; keep it within its bounds."""
        assert self._plan is not None
        witness = None if self._plan.witness is None else {self._plan.witness}
        ended.handles += run.ask(witness if self._only_witness else None)
        self._bytes += run.nbytes * (1 if self._only_witness else 2)
        self._plan.heavy = self._plan.heavy or self._bytes > self._most_bytes

    def _learn(self, ended: TrainingPass, run: Recorder) -> None:
        if ended.broken or not run.calls:
            return
        self._plan = run.plan(
            self._modules, training_mode=self._model.training, changes=self._changes, whole=ended.whole
        )
        ended.plan = self._plan
        self._tracker.forget()
        for handle in self._handles:
            handle.remove()
        if self._armed:
            self._hook()
        for number, call in enumerate(run.calls):
            for name, seen in call.seen.items() if isinstance(call, Call) else ():
                if name in self._streamed and seen.value is not None:
                    self._tell("forward", ended, self._plan.calls[number].key, name, seen.value)

    def _watch(self, number: int, name: str, tensor: Tensor, seen: Seen) -> None:
        """See a tensor of a layer: ask for its gradient, and tell the sink."""
        now = self._open
        if now is None:
            return
        if tensor.requires_grad and self._asks(now, number, name):
            now.handles.append(tensor.register_hook(partial(self._arrived, now, number, name, seen)))
        if name in self._streamed and now.plan is not None:
            self._tell("forward", now, now.plan.calls[number].key, name, tensor)

    def _asks(self, now: TrainingPass, number: int, name: str) -> bool:
        if self._only_witness and now.plan is not None and now.plan.witness is not None:
            return number == now.plan.witness and (name == "outputs" or name.isdigit())
        return name in self._asked or name.isdigit()

    def _tell(self, method: str, of: TrainingPass, key: str, name: str, tensor: Tensor) -> None:
        """Tell the sink, outside of the caller's autocast."""
        if torch.is_autocast_enabled(tensor.device.type):
            with without_autocast(tensor.device):
                getattr(self._sink, method)(of.number, key, name, tensor.detach())
        else:
            getattr(self._sink, method)(of.number, key, name, tensor.detach())

    def _arrived(self, of: TrainingPass, number: int, name: str, seen: Seen, gradient: Tensor) -> None:
        if not self._armed or (of.learning and of.superseded(number, name, seen)):
            return
        if of is self._open:
            of.broken = INSIDE if of.whole else ""
            self._close()
        if of.plan is not None and of.plan.witness is None:
            of.plan.witness = number
        kind = GRADIENT_OF.get(name)
        of.arrived((number, name), gradient, hold=kind is None or kind in self._held)
        if kind in self._streamed and of.plan is not None:
            self._tell("gradient", of, of.plan.calls[number].key, kind, gradient)

    def _tell_together(self, of: TrainingPass, run: Notes) -> None:
        """Tell the sink what a lean pass kept."""
        of.broken = of.broken or (TWICE if run.arrivals > 1 else "")
        features, gradients = run.features, run.gradients
        of.gradients = dict.fromkeys(((number, "features") for number in gradients), None)
        if of.reason or of.plan is None or self._sink is None:
            return
        calls, shown = of.plan.calls, {"features": features, "feature_gradients": gradients}
        of.plan.heavy = of.plan.heavy or len(features) < len(calls)
        self._sink.together(
            of.number, {name: {calls[n].key: t for n, t in shown[name].items()} for name in self._streamed}
        )

    def _assembled(self) -> Passive:
        for each in self._passes:
            if isinstance(each.run, Notes):
                self._tell_together(each, each.run)
        counted = [each for each in self._passes if not each.reason]
        reason = "" if counted else next((each.reason for each in self._passes), _NO_PASS)
        unusable = dict(self._plan.unusable) if self._plan else {}
        if self._plan is not None and self._plan.composites:
            with undisturbed(self._device):
                found = [self._snapshots(each, unusable) for each in counted]
        else:  # nothing is computed
            found = [self._snapshots(each, unusable) for each in counted]
        if self._plan is not None:
            self._plan.served += len(counted)
            self._plan.wrong = any(each.broken == CHANGED for each in self._passes)
            self._plan.witness = self._plan.witness if counted else None
            self._plan.heavy = self._plan.heavy or (self._chain is not None and not self._passes)
        numbers, samples = (tuple(each.number for each in counted), tuple(each.samples for each in counted))
        return Passive(joined(found), numbers, samples, unusable, reason, self._plan)

    @cached_property
    def _device(self) -> torch.device:
        return next((each.device for each in self._model.parameters()), torch.device("cpu"))

    def _snapshots(self, each: TrainingPass, unusable: dict[str, str]) -> Mapping[str, LayerSnapshot]:
        lost = each.forget_overwritten() if self._held else None
        if lost and each.plan is not None:
            each.plan.copied |= lost
        if not self._held and each.plan is not None and not each.plan.composites:
            return each.plan.empty_snapshots
        request, derivatives = Request(self._held | self._streamed), Derivatives(each.held_gradients())
        found, reasons = snapshots_of(each.run.calls, derivatives, request, each.samples)
        unusable |= reasons
        for key, snapshot in found.items():
            if snapshot.view.part:
                self._tell_part(each, key, snapshot)
        if not self._streamed:
            return found
        return {key: held_only(snapshot, self._held) for key, snapshot in found.items()}

    def _tell_part(self, of: TrainingPass, key: str, snapshot: LayerSnapshot) -> None:
        for name in sorted(self._streamed):
            value = getattr(snapshot, name)
            if value is not None:
                self._tell("gradient" if name in GRADIENT_FIELDS else "forward", of, key, name, value)
