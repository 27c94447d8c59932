"""A model that is nothing but a chain of torch's own modules: they can be called one after the other.

What such a model does is known without running code of the user's. A pass over the probe that was planned then needs
no hooks, and nothing that such code could change has to be kept: for a small network that is most of its cost.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from cloudchamber.models import MLP

_STEADY = frozenset(
    {
        *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.LayerNorm, nn.Flatten, nn.Identity),
        *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Tanh, nn.Sigmoid),
        *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    }
)
"""Modules that do the same in training and evaluation, draw nothing, and keep nothing."""


def chain_of(model: nn.Module) -> tuple[nn.Module, ...] | None:
    """Return the modules that a model calls one after the other; None if it may do anything else.

    >>> chain_of(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Tanh())))
    (Linear(in_features=2, out_features=3, bias=True), Tanh())
    >>> chain_of(nn.Sequential(nn.Linear(2, 3), nn.Dropout())) is None
    True
    """
    forward = type(model).forward
    if forward not in (nn.Sequential.forward, MLP.forward):
        return (model,) if type(model) in _STEADY and not getattr(model, "inplace", False) else None
    found: tuple[nn.Module, ...] = (nn.Flatten(),) if forward is MLP.forward else ()
    for module in model._modules.values():
        inner = None if module is None else chain_of(module)
        if inner is None:
            return None
        found += inner
    return found


def is_untouched(modules: Iterable[nn.Module]) -> bool:
    """Whether calling these modules calls their forward methods and nothing else: no hooks, nothing compiled."""
    return not torch.nn.modules.module._has_any_global_hook() and not any(map(_is_touched, modules))


def _is_touched(module: nn.Module) -> bool:
    own = module.__dict__
    hooked = own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"]
    return bool(hooked) or "forward" in own or "_compiled_call_impl" in own
