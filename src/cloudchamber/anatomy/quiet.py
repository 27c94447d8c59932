"""What keeps an observation from leaving a trace: everything that a pass could change is put back."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from cloudchamber._core.seeding import preserved_random_state


class _Undisturbed(threading.local):
    """The device for which this thread works undisturbed already."""

    device: torch.device | None = None


_now = _Undisturbed()


@contextmanager
def undisturbed(device: torch.device, *, compiled: bool = False) -> Iterator[None]:
    """Work outside of the caller's autocast, inference mode and compilation, and put the random states back.

    Within another such region for the same device nothing is left to do: what it costs is paid once.

    Args:
        device: where the work is done.
        compiled: whether what was compiled may run so; then hooks need `uncompiled`.
    """
    if _now.device == device:
        yield
        return
    before = _now.device
    with preserved_random_state([device]), apart(device), nullcontext() if compiled else uncompiled():
        _now.device = device
        try:
            yield
        finally:
            _now.device = before


@contextmanager
def apart(device: torch.device) -> Iterator[None]:
    """Work outside of the caller's inference mode and autocast, as far as there are any."""
    with torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext(), without_autocast(device):
        yield


def uncompiled() -> AbstractContextManager[object]:
    """Run what was compiled as it was written: it never calls a hook that was added after its compilation."""
    compiles = "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance")
    return torch.compiler.set_stance("force_eager") if compiles else nullcontext()


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Leave the caller's autocast, if there is one."""
    kinds = [kind for kind in {device.type, "cpu"} if torch.is_autocast_enabled(kind)]
    if not kinds:
        return nullcontext()
    stack = ExitStack()
    for kind in kinds:
        stack.enter_context(torch.autocast(kind, enabled=False))
    return stack


@contextmanager
def restored_attributes(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Put the attributes of every module back on exit: train/eval flags, and whatever a forward pass assigns."""
    kept = [(vars(module), dict(vars(module))) for module in modules]
    try:
        yield
    finally:
        for now, attributes in kept:
            now.update(attributes)
            if len(now) != len(attributes):
                for name in now.keys() - attributes.keys():
                    del now[name]


@contextmanager
def copied_buffers(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Let modules work on copies of their buffers, so that not even the versions of the buffers change."""
    kept = [(module._buffers, dict(module._buffers)) for module in modules if module._buffers]
    copies = {
        id(buffer): buffer.clone() for _, originals in kept for buffer in originals.values() if buffer is not None
    }
    try:
        for buffers, originals in kept:
            buffers.update({name: copies[id(value)] for name, value in originals.items() if value is not None})
        yield
    finally:
        for buffers, originals in kept:
            buffers.clear()
            buffers.update(originals)


def call_with_copied_buffers(module: nn.Module, *args: Tensor) -> object:
    """Call a module so that its buffers stay as they are (not even their versions change)."""
    with copied_buffers(list(module.modules())):
        return module(*args)


def set_mode(modules: Sequence[nn.Module], *, training: bool) -> None:
    """Switch a model's modules, itself first; one that is in training keeps modules that its owner holds in evaluation.

    The flags are set directly: `train()` and `eval()` may be the user's own and do more.
    """
    if training and modules[0].training:
        return
    for module in modules:
        vars(module)["training"] = training
