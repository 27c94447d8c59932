"""A model and its optimizer copied together, so that steps can be tried."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from cloudchamber._core.errors import Unsupported, require


@dataclass(frozen=True)
class Twin:
    """A copy of a model with a copy of its optimizer; the originals are never touched."""

    model: nn.Module
    optimizer: torch.optim.Optimizer

    @classmethod
    def of(cls, model: nn.Module, optimizer: torch.optim.Optimizer) -> Twin:
        """Copy both.

        Raises:
            InvalidInput: if the optimizer holds parameters that are not the model's.
            Unsupported: if the model cannot be copied, or the optimizer cannot be made from its groups.
        """
        try:
            twin = copy.deepcopy(model)
        except Exception as error:
            raise Unsupported(
                f"a model whose phase is asked for can be copied; got {error!r}. Remedy: ask before the first step."
            ) from error
        return cls(twin, _like(optimizer, model, twin))


def _like(optimizer: torch.optim.Optimizer, model: nn.Module, twin: nn.Module) -> torch.optim.Optimizer:
    pairs = {id(ours): theirs for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True)}
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    known = all(id(parameter) in pairs for parameter in held)
    require(known, "`optimizer` holds parameters of the model", "others too", "make it with `model.parameters()`")
    groups = [
        {**group, "params": [pairs[id(parameter)] for parameter in group["params"]]} for group in optimizer.param_groups
    ]
    try:
        return type(optimizer)(groups)  # type: ignore[call-arg]
    except TypeError as error:
        raise Unsupported(
            f"an optimizer can be made from its parameter groups; got {error}. Remedy: use one of torch.optim."
        ) from error
