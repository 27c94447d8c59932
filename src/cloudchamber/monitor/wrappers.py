"""Sees through what wraps a model."""

from __future__ import annotations

import torch
from torch import nn

from cloudchamber._core.errors import Unsupported


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside of `torch.compile`, `DataParallel` and `DistributedDataParallel`.

    Raises:
        Unsupported: if its parameters are spread over processes.
    """
    while True:
        if type(model).__name__.startswith(("FullyShardedDataParallel", "FSDP")):
            raise Unsupported(
                f"a model is observed whole; got {type(model).__name__}, whose parameters are spread over processes. "
                "Remedy: observe a run without sharding."
            )
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def device_of_model(model: nn.Module) -> torch.device:
    """Return the device of the model's first parameter."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
