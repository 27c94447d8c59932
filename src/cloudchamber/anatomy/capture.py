"""One forward and backward pass on a probe that leaves no trace, and the snapshot of every chosen layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from cloudchamber._core.errors import Unsupported
from cloudchamber._core.seeding import preserved_random_state
from cloudchamber.anatomy.layer_types import layer_type_of
from cloudchamber.anatomy.snapshot import LayerSnapshot
from cloudchamber.anatomy.tracker import ActivationTracker

GRADIENT_FIELDS = frozenset({"feature_gradients", "output_gradients"})


@dataclass(frozen=True)
class Capture:
    """What one pass over the probe showed.

    Attributes:
        layers: a snapshot per layer, by qualified name (`#1`, `#2`, ... where called more than once), in the
            order of the calls.
        outputs: the network's outputs, (n, ...).
        loss: the loss summed over the samples.
        unusable: called modules that could not be observed, by qualified name, with the reason.
    """

    layers: Mapping[str, LayerSnapshot]
    outputs: Tensor
    loss: float
    unusable: Mapping[str, str]


@dataclass
class _Tensors:
    """One tensor of a call: the tensor, its version when seen, and where its gradient can be asked for."""

    tensor: Tensor
    version: int
    edge: GradientEdge | None

    @classmethod
    def seen(cls, tensor: Tensor, *, copy: bool) -> _Tensors:
        edge = get_gradient_edge(tensor) if tensor.requires_grad else None
        kept = tensor.detach().clone() if copy else tensor
        return cls(kept, kept._version, edge)

    @property
    def overwritten(self) -> bool:
        return self.tensor._version != self.version


@dataclass
class _Call:
    name: str
    module: nn.Module
    inputs: _Tensors
    outputs: _Tensors
    features: _Tensors
    activation: str = "none"


@dataclass
class _Pass:
    """The calls of one forward pass, as the hooks see them; `copied` fields are cloned when seen."""

    names: Mapping[nn.Module, str]
    samples: int
    copied: frozenset[str]
    calls: list[_Call] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)

    def layer_called(self, module: nn.Module, args: tuple, output: object) -> int | None:
        """Note a call of a layer; return its number, or None if it cannot be observed."""
        name = self.names[module]
        reason = self._unusable(args, output)
        if reason:
            self.unusable[name] = reason
            return None
        outputs = _Tensors.seen(output, copy="outputs" in self.copied)
        inputs = _Tensors.seen(args[0], copy="inputs" in self.copied)
        features = _Tensors.seen(output, copy="features" in self.copied)
        self.calls.append(_Call(name, module, inputs, outputs, features))
        return len(self.calls) - 1

    def feature_seen(self, call: int, tensor: Tensor, activation: str) -> None:
        """Note the feature of a call: what its activation returned."""
        self.calls[call].features = _Tensors.seen(tensor, copy="features" in self.copied)
        self.calls[call].activation = activation

    def overwritten(self) -> frozenset[str]:
        """Return the fields that some later in-place operation changed."""
        names = ("inputs", "outputs", "features")
        return frozenset(name for name in names if any(getattr(call, name).overwritten for call in self.calls))

    def _unusable(self, args: tuple, output: object) -> str:
        if not args or not isinstance(args[0], Tensor) or not isinstance(output, Tensor):
            return "its call does not take and return a plain tensor"
        if output.ndim < 2 or output.shape[0] != self.samples:
            shape = tuple(output.shape)
            return f"its output has shape {shape}, whose first dimension is not the probe's {self.samples} samples"
        return ""


def capture(
    model: nn.Module,
    inputs: Tensor,
    summed_loss: Callable[[Tensor], Tensor],
    *,
    layers: Mapping[str, nn.Module],
    fields: Collection[str],
    training_mode: bool = False,
) -> Capture:
    """Run the model once on the probe and return a snapshot of every chosen layer.

    Nothing of the model changes: parameters, `.grad`, buffers, train/eval flags, random states and the autocast
    state are as before, and every hook is gone, also after an exception.

    Args:
        model: the user's model.
        inputs: the probe's inputs, (n, ...).
        summed_loss: maps the network's outputs to Σ_x loss_x, so that gradients are those of single samples.
        layers: the modules to observe, by qualified name.
        fields: which fields of `LayerSnapshot` are wanted; a backward pass is made only for gradients.
        training_mode: run as in training (dropout on, batch statistics) instead of as in evaluation.

    Raises:
        Unsupported: if the model does not return a tensor.
    """
    needs_gradients = bool(GRADIENT_FIELDS & set(fields))
    with _undisturbed(model, inputs.device, training_mode), torch.set_grad_enabled(needs_gradients):
        seen, outputs, loss = _observed_forward(model, inputs, summed_loss, layers, frozenset())
        copied = seen.overwritten() & _stored_fields(fields)
        if copied:
            seen, outputs, loss = _observed_forward(model, inputs, summed_loss, layers, copied)
        gradients = _gradients(loss, seen.calls, fields) if needs_gradients else {}
    keys = _call_keys(seen.calls)
    snapshots = {
        key: _snapshot(call, fields, {name: gradients.get((index, name)) for name in GRADIENT_FIELDS})
        for index, (key, call) in enumerate(zip(keys, seen.calls, strict=True))
    }
    return Capture(snapshots, outputs.detach(), float(loss.detach()), seen.unusable)


def _stored_fields(fields: Collection[str]) -> frozenset[str]:
    return frozenset(fields) & {"inputs", "outputs", "features"}


def _observed_forward(
    model: nn.Module,
    inputs: Tensor,
    summed_loss: Callable[[Tensor], Tensor],
    layers: Mapping[str, nn.Module],
    copied: frozenset[str],
) -> tuple[_Pass, Tensor, Tensor]:
    seen = _Pass({module: name for name, module in layers.items()}, inputs.shape[0], copied)
    tracker = ActivationTracker(seen.feature_seen)

    def note(module: nn.Module, args: tuple, output: object) -> None:
        call = seen.layer_called(module, args, output)
        if call is not None and isinstance(output, Tensor):
            tracker.layer_output(call, output)

    with ExitStack() as stack:
        for handle in tracker.module_hooks(model):
            stack.callback(handle.remove)
        for module in layers.values():
            stack.callback(module.register_forward_hook(note).remove)
        with tracker:
            outputs = _call_with_copied_buffers(model, _differentiable(inputs))
    if not isinstance(outputs, Tensor):
        raise Unsupported(
            f"the model returns one tensor; got {type(outputs).__name__}. "
            "Remedy: wrap it in a module whose forward returns the tensor that the loss takes."
        )
    return seen, outputs, summed_loss(outputs)


def _differentiable(inputs: Tensor) -> Tensor:
    # With frozen parameters only the inputs make the features part of a graph. The copy is not a leaf, so that a
    # model may work on it in place, and the probe stays as it is.
    differentiable = inputs.is_floating_point() and torch.is_grad_enabled()
    leaf = inputs.detach().requires_grad_(differentiable)
    return leaf.clone()


def _call_with_copied_buffers(model: nn.Module, inputs: Tensor) -> object:
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    if not buffers:
        return model(inputs)
    return torch.func.functional_call(model, buffers, (inputs,))


def _gradients(loss: Tensor, calls: list[_Call], fields: Collection[str]) -> dict[tuple[int, str], Tensor]:
    sources = {"feature_gradients": "features", "output_gradients": "outputs"}
    wanted = [
        ((index, name), edge)
        for index, call in enumerate(calls)
        for name, source in sources.items()
        if name in fields and (edge := getattr(call, source).edge) is not None
    ]
    if not wanted or not loss.requires_grad:
        return {}
    keys, edges = zip(*wanted, strict=True)
    found = torch.autograd.grad(loss, edges, allow_unused=True)
    return {key: gradient for key, gradient in zip(keys, found, strict=True) if gradient is not None}


def _call_keys(calls: list[_Call]) -> list[str]:
    names = [call.name for call in calls]
    keys = []
    for index, name in enumerate(names):
        number = names[: index + 1].count(name)
        keys.append(f"{name}#{number}" if names.count(name) > 1 else name)
    return keys


def _snapshot(call: _Call, fields: Collection[str], gradients: Mapping[str, Tensor | None]) -> LayerSnapshot:
    stored = {name: getattr(call, name).tensor.detach() for name in _stored_fields(fields)}
    asked = {name: gradient for name, gradient in gradients.items() if name in fields}
    entry = layer_type_of(call.module)
    if entry is None:
        raise Unsupported(f"{call.name} has a known layer type; got {type(call.module).__name__}. Remedy: skip it.")
    return LayerSnapshot(weight=entry.neurons(call.module), activation=call.activation, **stored, **asked)


@contextmanager
def _undisturbed(model: nn.Module, device: torch.device, training_mode: bool) -> Iterator[None]:
    flags = [(module, module.training) for module in model.modules()]
    with (
        preserved_random_state([device]),
        torch.inference_mode(False),
        torch.autocast(device.type, enabled=False),
    ):
        try:
            for module, _ in flags:
                module.training = training_mode
            yield
        finally:
            for module, flag in flags:
                module.training = flag
