"""A copy of the user's model that may be scaled and differentiated at will; the original is never touched."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from cloudchamber._core.errors import Unsupported
from cloudchamber.anatomy import Capture, ChosenModule, Forward, Plan, capture
from cloudchamber.monitor.losses import Loss, Reduction, SampleLoss, detect_reduction
from cloudchamber.monitor.probe import Probe

_DROPOUT = nn.modules.dropout._DropoutNd


@dataclass(frozen=True)
class Replica:
    """A model with its probe, in float64 where it can compute in that.

    It runs as in training, so that normalizations use the batch, but without dropout.

    Attributes:
        model: the copy.
        inputs: of the probe.
        loss: of single samples, on the probe's targets.
        forward: calls the model with the inputs.
    """

    model: nn.Module
    inputs: Any
    loss: SampleLoss
    forward: Forward

    @classmethod
    def of(cls, model: nn.Module, probe: Probe, loss: Loss, forward: Forward, reduction: Reduction | None) -> Replica:
        """Copy a model; in its own precision if it fails in float64.

        Raises:
            Unsupported: if the model cannot be copied, or returns no tensor with a row per sample.
            InvalidInput: if the loss does not fit.
        """
        copied = _copied(model)
        if probe.device.type != "mps":
            try:
                return cls._in(torch.float64, copy.deepcopy(copied), probe, loss, forward, reduction)
            except Exception:  # whatever the model or the loss says about float64: its own precision decides
                pass
        return cls._in(None, copied, probe, loss, forward, reduction)

    @classmethod
    def _in(
        cls,
        dtype: torch.dtype | None,
        model: nn.Module,
        probe: Probe,
        loss: Loss,
        forward: Forward,
        reduction: Reduction | None,
    ) -> Replica:
        if dtype is not None:
            model, loss = model.to(dtype), copy.deepcopy(loss).to(dtype) if isinstance(loss, nn.Module) else loss
            probe = Probe(pytree.tree_map_only(Tensor, _to(dtype), probe.inputs), _to(dtype)(probe.targets))
        with torch.no_grad():
            outputs = _checked(forward(model, probe.inputs), len(probe.targets))
        probe.classes(outputs)
        known = reduction or detect_reduction(loss, outputs, probe.targets)
        replica = cls(model, probe.inputs, SampleLoss(loss, probe.targets, known), forward)
        replica.residuals(outputs)
        return replica

    def outputs(self) -> Tensor:
        """Return the network's outputs, (n, ...)."""
        return self.forward(self.model, self.inputs)

    def residuals(self, outputs: Tensor) -> Tensor:
        """Return `∂loss_x/∂f` at some outputs, (n, ...)."""
        with torch.enable_grad():
            point = outputs.detach().clone().requires_grad_()
            (found,) = torch.autograd.grad(self.loss.summed(point), point, allow_unused=True, materialize_grads=True)
        return found.detach()

    def capture(
        self, functional: Tensor | None, layers: dict[str, ChosenModule], fields: set[str], plan: Plan | None = None
    ) -> Capture:
        """Return snapshots with gradients of the loss, or of `Σ functional · f` where one is given."""
        summed = self.loss.summed if functional is None else lambda outputs: (outputs * functional).sum()
        return capture(
            self.model,
            self.inputs,
            summed,
            layers=layers,
            fields=fields,
            training_mode=True,
            forward=self.forward,
            plan=plan,
        )

    @property
    def trainable(self) -> dict[str, nn.Parameter]:
        """The trainable parameters by name."""
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    @contextmanager
    def scaled(self, factor: float) -> Iterator[None]:
        """Multiply all trainable matrices, kernels and embeddings by a number for a while; biases stay."""
        kept = {parameter: parameter.detach().clone() for parameter in self.trainable.values() if parameter.ndim > 1}
        try:
            with torch.no_grad():
                for parameter, value in kept.items():
                    parameter.copy_(value * factor)
            yield
        finally:
            with torch.no_grad():
                for parameter, value in kept.items():
                    parameter.copy_(value)

    def spread(self) -> float:
        """Return how far outputs of different samples lie apart: `(E ‖f − E f‖²)^½`."""
        with torch.no_grad():
            outputs = self.outputs().reshape(len(self.loss.targets), -1)
        return float((outputs - outputs.mean(0)).square().sum(1).mean().sqrt())

    def scale_for(self, spread: float, low: float = 0.05, high: float = 20.0) -> float:
        """Return the factor of all weights at which outputs lie so far apart, NaN if there is none up to `high`."""
        with self.scaled(high):
            if not self.spread() >= spread:
                return math.nan
        for _ in range(30):
            middle = math.sqrt(low * high)
            with self.scaled(middle):
                low, high = (middle, high) if self.spread() < spread else (low, middle)
        return high


def _copied(model: nn.Module) -> nn.Module:
    try:
        copied = copy.deepcopy(model)
    except Exception as error:
        raise Unsupported(
            f"a model that is predicted can be copied; got {error!r}. "
            "Remedy: predict before the first forward pass, and use torch.nn.utils.parametrizations instead of hooks "
            "that compute weights."
        ) from error
    if not copied.training:
        copied.train()
    for module in copied.modules():
        if isinstance(module, _DROPOUT):
            module.eval()
        if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            module.dropout = 0.0
    return copied


def _to(dtype: torch.dtype) -> Any:
    return lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor


def _checked(outputs: object, samples: int) -> Tensor:
    if isinstance(outputs, Tensor) and outputs.ndim and len(outputs) == samples:
        return outputs
    shape = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
    raise Unsupported(
        f"the model returns a tensor with a row for each of the probe's {samples} samples; got {shape}. "
        "Remedy: give `forward=`, a function of the model and its inputs that does."
    )
