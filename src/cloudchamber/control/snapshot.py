"""The state of a model and its optimizer before something was done to them, to be put back exactly."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Snapshot:
    """Modules, weights, buffers, and the optimizer's settings and averages, all copied.

    Attributes:
        model: the model.
        optimizer: its optimizer.
        modules: every module with its children by name, in their order.
        values: every parameter and buffer with its value.
        settings: of each group of the optimizer, without its parameters.
        averages: what the optimizer keeps of each parameter.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    modules: tuple[tuple[nn.Module, dict[str, nn.Module | None]], ...]
    values: tuple[tuple[Tensor, Tensor], ...]
    settings: tuple[dict[str, Any], ...]
    averages: dict[Tensor, Any]

    @classmethod
    def of(cls, model: nn.Module, optimizer: torch.optim.Optimizer) -> Snapshot:
        """Copy the state.

        >>> model = nn.Linear(2, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> before = Snapshot.of(model, sgd)
        >>> _ = nn.init.zeros_(model.weight); sgd.param_groups[0]["lr"] = 1.0
        >>> before.restore()
        >>> bool(model.weight.any()), sgd.param_groups[0]["lr"]
        (True, 0.1)
        """
        tensors = [*model.parameters(), *model.buffers()]
        return cls(
            model,
            optimizer,
            tuple((module, dict(module._modules)) for module in model.modules()),
            tuple((tensor, tensor.detach().clone()) for tensor in tensors),
            tuple({name: value for name, value in group.items() if name != "params"} for group in _groups(optimizer)),
            {parameter: copy.deepcopy(kept) for parameter, kept in optimizer.state.items()},
        )

    def restore(self) -> None:
        """Put everything back; what was trained since is lost."""
        for module, children in self.modules:
            module._modules.clear()
            module._modules.update(children)
        with torch.no_grad():
            for tensor, value in self.values:
                tensor.copy_(value)
        for group, settings in zip(_groups(self.optimizer), self.settings, strict=True):
            group.update(settings)
        self.optimizer.state.clear()
        self.optimizer.state.update({parameter: copy.deepcopy(kept) for parameter, kept in self.averages.items()})


def _groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return optimizer.param_groups
