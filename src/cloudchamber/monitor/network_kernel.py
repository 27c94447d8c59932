"""Where the tangent kernel of a model comes from: its layers in closed form, or the Jacobian of all its parameters."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from cloudchamber.anatomy import ChosenModule, Forward
from cloudchamber.anatomy.quiet import restored_attributes, set_mode, uncompiled
from cloudchamber.measures import functional_kernel
from cloudchamber.monitor.kernels import FunctionalKernel, KernelSource

_log = logging.getLogger("cloudchamber")
_JACOBIAN_NUMBERS = 2**27
"""How many numbers of a Jacobian are held at a time (512 MiB in float32)."""


def kernel_source(model: nn.Module, layers: Mapping[str, ChosenModule], forward: Forward, inputs: Any) -> KernelSource:
    """Return where the kernel comes from.

    In closed form if the parameters that are trained are exactly those of the observed layers, each once; parts of
    composite modules have further parameters (an LSTM has two biases), for which the Jacobian is taken.
    """
    observed = [parameter for chosen in layers.values() for parameter in chosen.module.parameters(recurse=False)]
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    each_once = len({id(parameter) for parameter in observed}) == len(observed)
    single = all(chosen.composite is None for chosen in layers.values())
    closed = single and each_once and trained == {id(parameter) for parameter in observed}
    return KernelSource(closed, _functional(model, forward, inputs) if isinstance(inputs, Tensor) else None)


class _Called(nn.Module):
    """A model that is called as the user calls it."""

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.model = model
        self._forward = forward

    def forward(self, inputs: Tensor) -> Tensor:
        return self._forward(self.model, inputs).flatten(1)


def _functional(model: nn.Module, forward: Forward, inputs: Tensor) -> FunctionalKernel:
    def kernel(few: Tensor) -> Tensor | None:
        called = _Called(model, forward)
        trained = {name: value for name, value in called.named_parameters() if value.requires_grad}
        size = max(sum(value.numel() for value in trained.values()), 1)
        modules = list(model.modules())
        try:
            with uncompiled(), restored_attributes(modules), warnings.catch_warnings():
                # Some functions have no batched form and are run sample by sample.
                warnings.filterwarnings("ignore", message="There is a performance drop")
                set_mode(modules, training=False)  # each sample by itself
                return functional_kernel(
                    lambda parameters, x: functional_call(called, parameters, (x,)),
                    trained,
                    inputs[few],
                    chunk_size=max(1, _JACOBIAN_NUMBERS // size // 10),
                    batched=not any(isinstance(module, nn.RNNBase) for module in modules),
                )
        except (RuntimeError, NotImplementedError) as error:
            _log.warning("The tangent kernel is not measured: this model has no Jacobian by torch.func (%s).", error)
            return None

    return kernel
