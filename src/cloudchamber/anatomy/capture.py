"""One forward and backward pass on a probe that leaves no trace, and the snapshot of every chosen layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cloudchamber._core.errors import Unsupported, require
from cloudchamber.anatomy.assembling import snapshots_of
from cloudchamber.anatomy.batch import copy_of, count_samples, device_of
from cloudchamber.anatomy.calls import AnyCall, Wanted, hooks, modules_of, overwritten
from cloudchamber.anatomy.choice import ChosenModule
from cloudchamber.anatomy.derivatives import Request, derivatives_of
from cloudchamber.anatomy.direct import DIRECT_FIELDS, run_along
from cloudchamber.anatomy.following import Follower
from cloudchamber.anatomy.plan import Plan
from cloudchamber.anatomy.quiet import apart, copied_buffers, restored_attributes, set_mode, uncompiled, undisturbed
from cloudchamber.anatomy.recording import Recorder, recorded_modules
from cloudchamber.anatomy.snapshot import FIELDS, GRAPH_FIELDS, STORED_FIELDS, LayerSnapshot
from cloudchamber.anatomy.tracker import ActivationTracker

Forward = Callable[[nn.Module, Any], Tensor]
"""Calls a model with the probe's inputs and returns the tensor that the loss takes."""


@dataclass(frozen=True)
class Capture:
    """What one pass over the probe showed.

    Attributes:
        layers: a snapshot per view, by its name (with `#1`, `#2`, ... where its module was called more than once), in
            the order of the calls.
        outputs: the network's outputs, (n, ...).
        loss: the loss summed over the samples.
        unusable: called modules and views that could not be observed, by name, with the reason.
        plan: what was learned; the next capture of the same model saves most of the work if it is handed on.
    """

    layers: Mapping[str, LayerSnapshot]
    outputs: Tensor
    loss: float
    unusable: Mapping[str, str]
    plan: Plan


@dataclass(frozen=True)
class _Probe:
    """A model with what it is run on."""

    model: nn.Module
    inputs: Any
    samples: int
    forward: Forward
    summed_loss: Callable[[Tensor], Tensor]
    chosen: Mapping[str, ChosenModule]
    modules: tuple[nn.Module, ...]
    training: bool
    kept: frozenset[str]
    """fields of which hooks keep something"""


@dataclass(frozen=True)
class _Pass:
    calls: Sequence[AnyCall]
    outputs: Tensor
    loss: Tensor


def default_forward(model: nn.Module, inputs: Any) -> Any:
    """Call a model with its inputs as its one argument."""
    return model(inputs)


def capture(
    model: nn.Module,
    inputs: Any,
    summed_loss: Callable[[Tensor], Tensor],
    *,
    layers: Mapping[str, ChosenModule],
    fields: Collection[str],
    training_mode: bool = False,
    forward: Forward = default_forward,
    plan: Plan | None = None,
    kernel_samples: Tensor | None = None,
    most_outputs: int = 100,
    calm: bool = False,
) -> Capture:
    """Run the model once on the probe and return a snapshot of every chosen layer.

    Nothing of the model changes: parameters, `.grad`, buffers, train/eval flags and other attributes, random states
    and the autocast state are as before, and every hook is gone, also after an exception. (What the user's own hooks
    do, and containers that forward changes in place, are out of reach.)

    Args:
        model: the user's model.
        inputs: the probe's inputs: a tensor (n, ...), or tuples, lists and dicts of tensors, samples first in each.
        summed_loss: maps the network's outputs to Σ_x loss_x, so that gradients are those of single samples.
        layers: the modules to observe, as `choose_views` returns them.
        fields: which fields of `LayerSnapshot` are wanted; a backward pass is made only for gradients.
        training_mode: run as in training (dropout on, batch statistics) instead of as in evaluation.
        forward: calls the model with the inputs and returns the tensor (n, ...) that the loss takes.
        plan: `Capture.plan` of an earlier capture of the same model and layers; checked as the pass goes.
        kernel_samples: (m,) the samples for which `per_output_gradients` are wanted; None = all.
        calm: whether the loss is known to draw no random numbers.
        most_outputs: refuse `per_output_gradients` of more outputs than this: there is a backward pass for each.

    Raises:
        InvalidInput: if the inputs are not tensors with as many samples each, or a field is unknown.
        Unsupported: if the model does not return a tensor with a row per sample, or cannot be differentiated.

    >>> from cloudchamber.anatomy import choose_views
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> seen = capture(
    ...     model, torch.ones(5, 4), torch.Tensor.sum, layers=choose_views(model, None), fields={"features"}
    ... )
    >>> seen.layers["0"].activation, seen.layers["0"].features.shape, seen.layers["0"].next
    ('relu', torch.Size([5, 8]), '2')
    """
    wanted = frozenset(fields)
    require(wanted <= FIELDS, f"a field is one of {sorted(FIELDS)}", sorted(wanted - FIELDS), "check the spelling")
    known = plan is not None and plan.holds_for(model, layers, training=training_mode)
    modules = plan.modules if plan is not None and known else tuple(model.modules())
    probe = _Probe(
        model, inputs, count_samples(inputs), forward, summed_loss, layers, modules, training_mode, _kept(wanted)
    )
    device = device_of(inputs)
    with apart(device), torch.set_grad_enabled(not GRAPH_FIELDS.isdisjoint(wanted)):
        with nullcontext() if calm else undisturbed(device, compiled=True):
            direct = _along_chain(probe, plan, wanted) if known and plan is not None else None
        if direct is not None:
            return direct
        with undisturbed(device, compiled=True), uncompiled(), restored_attributes(modules):
            set_mode(modules, training=training_mode)
            seen, plan = _passed(probe, plan, known=known)
            request = Request(wanted, kernel_samples, most_outputs)
            derivatives = derivatives_of(seen.calls, seen.outputs, seen.loss, request)
            found, reasons = snapshots_of(seen.calls, derivatives, request, probe.samples)
    return Capture(found, seen.outputs.detach(), float(seen.loss.detach()), {**plan.unusable, **reasons}, plan)


def _along_chain(probe: _Probe, plan: Plan, wanted: frozenset[str]) -> Capture | None:
    """Make the pass without running the model, where it is known to do nothing but call its modules in turn."""
    if probe.forward is not default_forward or not isinstance(probe.inputs, Tensor) or not wanted <= DIRECT_FIELDS:
        return None
    chain = plan.chain
    if chain is None:
        return None
    seen = run_along(chain, plan, probe.inputs, probe.summed_loss, wanted)
    plan.served += 1
    return Capture(seen.layers, seen.outputs.detach(), float(seen.loss.detach()), plan.unusable, plan)


def _passed(probe: _Probe, plan: Plan | None, *, known: bool) -> tuple[_Pass, Plan]:
    """Make a pass as planned; if there is no plan, or it turns out wrong, one that follows every function."""
    if plan is not None and known:
        seen = _as_planned(probe, plan)
        if seen is not None:
            return seen, plan
    fields = probe.kept | (plan.fields if plan is not None else frozenset())
    seen, learned = _recorded(probe, fields, frozenset(), 0 if plan is None else plan.changes_of_next)
    if any(name in probe.kept for _, name in learned.copied):
        again = _as_planned(probe, learned)
        seen = again if again is not None else _recorded(probe, fields, None, learned.changes)[0]
    return seen, learned


def _kept(fields: frozenset[str]) -> frozenset[str]:
    """Return the fields of which hooks keep something: gates are made of outputs and features."""
    return fields | {"outputs", "features"} if "gates" in fields else fields


def _as_planned(probe: _Probe, plan: Plan) -> _Pass | None:
    """Return a pass that went as planned, or None."""
    if not probe.kept & STORED_FIELDS <= plan.fields:
        return None
    tracker = ActivationTracker()
    with torch.enable_grad():  # the graph tells whether the features are still what they were
        follower = Follower(plan, probe.samples, Wanted(probe.kept, plan.copied), tracker)
        found = hooks(plan.hooked, modules_of(probe.chosen), follower.after, follower.before_random)
        outputs = _run(probe, found, tracker if plan.follows_functions else None)
    if not follower.as_planned or not overwritten(follower.calls) <= plan.copied:
        return None
    plan.served += 1
    return _finished(probe, follower.calls, outputs)


def _recorded(
    probe: _Probe, fields: frozenset[str], copied: frozenset[tuple[int, str]] | None, changes: int
) -> tuple[_Pass, Plan]:
    """Return a pass in which every function was followed, and the plan that it taught."""
    tracker = ActivationTracker()
    recorder = Recorder(probe.chosen, probe.samples, Wanted(fields, copied, everywhere=True), tracker)
    with torch.enable_grad():  # the graph tells which layer receives which feature
        own = tracker.module_hooks(probe.model)
        seen = recorded_modules(probe.model, probe.chosen)
        others = hooks(seen, modules_of(probe.chosen), recorder.after, recorder.before_random)
        outputs = _run(probe, chain(own, others), tracker)
        plan = recorder.plan(probe.modules, training_mode=probe.training, changes=changes)
    return _finished(probe, recorder.calls, outputs), plan


def _run(probe: _Probe, handles: Iterable[RemovableHandle], tracker: ActivationTracker | None) -> object:
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        stack.enter_context(copied_buffers(probe.modules))
        with tracker or nullcontext():
            # A model may work on its inputs in place; the probe stays as it is.
            return probe.forward(probe.model, copy_of(probe.inputs))


def _finished(probe: _Probe, calls: Sequence[AnyCall], outputs: object) -> _Pass:
    checked = _checked(outputs, probe.samples)
    return _Pass(calls, checked, probe.summed_loss(checked))


def _checked(outputs: object, samples: int) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise Unsupported(
            f"the model returns one tensor; got {type(outputs).__name__}. "
            "Remedy: give `forward=`, a function of the model and its inputs that returns the tensor that the loss "
            "takes, or wrap it in a module that does."
        )
    if outputs.ndim == 0 or len(outputs) != samples:
        raise Unsupported(
            f"the model returns a row for each of the probe's {samples} samples; got shape {tuple(outputs.shape)}. "
            "Remedy: wrap it in a module whose forward returns the samples along the first dimension."
        )
    return outputs
