"""What keeps an observation from leaving a trace: everything that a pass could change is put back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from cloudchamber._core.seeding import preserved_random_state


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Work outside of the caller's autocast, inference mode and compilation, and put the random states back."""
    with (
        preserved_random_state([device]),
        torch.inference_mode(False),
        torch.autocast(device.type, enabled=False),
        _not_compiled(),
    ):
        yield


@contextmanager
def restored_attributes(model: nn.Module) -> Iterator[None]:
    """Put the attributes of every module back on exit: train/eval flags, and whatever a forward pass assigns."""
    kept = [(module, dict(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for module, attributes in kept:
            for name in vars(module).keys() - attributes.keys():
                del vars(module)[name]
            vars(module).update(attributes)


def set_mode(model: nn.Module, *, training: bool) -> None:
    """Switch every module; a model that is in training keeps modules that its owner holds in evaluation.

    The flags are set directly: `train()` and `eval()` may be the user's own and do more.
    """
    if training and model.training:
        return
    for module in model.modules():
        module.training = training


def _not_compiled() -> AbstractContextManager[object]:
    # A compiled module never calls a hook that was added after its compilation.
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
