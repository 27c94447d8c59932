"""One forward and backward pass on a probe that leaves no trace, and the snapshot of every chosen layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import Unsupported
from cloudchamber.anatomy.calls import GRADIENT_FIELDS, STORED_FIELDS, Call, Calls, in_graph
from cloudchamber.anatomy.layer_types import layer_type_of
from cloudchamber.anatomy.quiet import restored_attributes, set_mode, undisturbed
from cloudchamber.anatomy.snapshot import LayerSnapshot
from cloudchamber.anatomy.tracker import ActivationTracker


@dataclass(frozen=True)
class Capture:
    """What one pass over the probe showed.

    Attributes:
        layers: a snapshot per layer, by qualified name (`#1`, `#2`, ... where called more than once), in the
            order of the calls.
        outputs: the network's outputs, (n, ...).
        loss: the loss summed over the samples.
        unusable: called modules that could not be observed, by qualified name, with the reason.
        copied: the stored fields that had to be copied, because the model overwrites them in place.
    """

    layers: Mapping[str, LayerSnapshot]
    outputs: Tensor
    loss: float
    unusable: Mapping[str, str]
    copied: frozenset[str]


@dataclass(frozen=True)
class _Pass:
    calls: Calls
    outputs: Tensor
    loss: Tensor


def capture(
    model: nn.Module,
    inputs: Tensor,
    summed_loss: Callable[[Tensor], Tensor],
    *,
    layers: Mapping[str, nn.Module],
    fields: Collection[str],
    training_mode: bool = False,
    copied: Collection[str] = (),
) -> Capture:
    """Run the model once on the probe and return a snapshot of every chosen layer.

    Nothing of the model changes: parameters, `.grad`, buffers, train/eval flags and other attributes, random states
    and the autocast state are as before, and every hook is gone, also after an exception. (What the user's own hooks
    do, and containers that forward changes in place, are out of reach.)

    Args:
        model: the user's model.
        inputs: the probe's inputs, (n, ...).
        summed_loss: maps the network's outputs to Σ_x loss_x, so that gradients are those of single samples.
        layers: the modules to observe, by qualified name.
        fields: which fields of `LayerSnapshot` are wanted; a backward pass is made only for gradients.
        training_mode: run as in training (dropout on, batch statistics) instead of as in evaluation.
        copied: fields known to be overwritten in place (`Capture.copied` of an earlier pass); a pass that finds
            more is made again.

    Raises:
        Unsupported: if the model does not return a tensor with a row per sample, or cannot be differentiated.
    """
    wanted = frozenset(fields)
    names = {module: name for name, module in layers.items()}
    with (
        undisturbed(inputs.device),
        restored_attributes(model),
        torch.set_grad_enabled(bool(GRADIENT_FIELDS & wanted)),
    ):
        set_mode(model, training=training_mode)
        seen = _forward(model, inputs, summed_loss, Calls(names, len(inputs), wanted, STORED_FIELDS & set(copied)))
        if seen.calls.overwritten:
            again = Calls(names, len(inputs), wanted, seen.calls.copied | seen.calls.overwritten)
            seen = _forward(model, inputs, summed_loss, again)
        gradients = _gradients(seen)
        set_mode(model, training=False)  # in training, reading a parametrized weight may change it
        snapshots = {
            key: _snapshot(call, layers[call.module], gradients.get(number, {}))
            for number, (key, call) in enumerate(zip(seen.calls.keys, seen.calls.calls, strict=True))
        }
    return Capture(snapshots, seen.outputs.detach(), float(seen.loss.detach()), seen.calls.unusable, seen.calls.copied)


def _forward(model: nn.Module, inputs: Tensor, summed_loss: Callable[[Tensor], Tensor], calls: Calls) -> _Pass:
    tracker = ActivationTracker(calls.feature)

    def note(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: object) -> object:
        received, output = next(iter((*args, *kwargs.values())), None), in_graph(output)
        call = calls.add(module, received, output)
        if call is not None and isinstance(output, Tensor):
            tracker.layer_output(call, output)
        return output

    with ExitStack() as stack:
        for handle in tracker.module_hooks(model):
            stack.callback(handle.remove)
        for module in calls.names:
            stack.callback(module.register_forward_hook(note, with_kwargs=True).remove)
        with tracker:
            # A model may work on its inputs in place; the probe stays as it is.
            outputs = call_with_copied_buffers(model, inputs.clone())
    checked = _checked(outputs, len(inputs))
    return _Pass(calls, checked, summed_loss(checked))


def call_with_copied_buffers(module: nn.Module, *args: Tensor) -> Any:
    """Call a module so that its buffers stay as they are (not even their versions change)."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    return torch.func.functional_call(module, buffers, args) if buffers else module(*args)


def _checked(outputs: object, samples: int) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise Unsupported(
            f"the model returns one tensor; got {type(outputs).__name__}. "
            "Remedy: wrap it in a module whose forward returns the tensor that the loss takes."
        )
    if outputs.ndim == 0 or len(outputs) != samples:
        raise Unsupported(
            f"the model returns a row for each of the probe's {samples} samples; got shape {tuple(outputs.shape)}. "
            "Remedy: wrap it in a module whose forward returns the samples along the first dimension."
        )
    return outputs


def _gradients(seen: _Pass) -> dict[int, dict[str, Tensor]]:
    edges = seen.calls.edges()
    if not edges or not seen.loss.requires_grad:
        return {}
    try:
        found = torch.autograd.grad(seen.loss, list(edges.values()), allow_unused=True)
    except RuntimeError as error:
        raise Unsupported(
            f"the loss on the probe can be differentiated; got: {error}. Remedy: mend the model's backward pass "
            "(checkpointing needs use_reentrant=False), or choose measures without gradients."
        ) from error
    gradients: dict[int, dict[str, Tensor]] = {}
    for (number, name), gradient in zip(edges, found, strict=True):
        if gradient is not None:
            gradients.setdefault(number, {})[name] = gradient
    return gradients


def _snapshot(call: Call, module: nn.Module, gradients: Mapping[str, Tensor]) -> LayerSnapshot:
    entry = layer_type_of(module)
    if entry is None:
        raise Unsupported(f"{call.module} has a known layer type; got {type(module).__name__}. Remedy: skip it.")
    stored = {name: value for name in STORED_FIELDS if (value := call.value(name)) is not None}
    return LayerSnapshot(call.module, entry.neurons(module), call.activation, **stored, **gradients)
