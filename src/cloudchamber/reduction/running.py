"""Models as they are run: in evaluation, changed or not, and how far one is from another."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cloudchamber.anatomy.batch import copy_of
from cloudchamber.reduction.change import Change
from cloudchamber.reduction.heads.change import HeadChange
from cloudchamber.reduction.outputs import Difference, difference, numbers_of

Forward = Callable[[nn.Module, Any], Any]
AnyChange = Change | HeadChange


class evaluated:  # noqa: N801 - a context
    """Hold a model in evaluation, and put every module's flag back."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._flags = model, [(module, module.training) for module in model.modules()]

    def __enter__(self) -> nn.Module:
        """Switch the flags off directly: `eval()` may be the user's own and do more."""
        for module, _ in self._flags:
            module.training = False
        return self._model

    def __exit__(self, *_: object) -> None:
        """Put the flags back."""
        for module, flag in self._flags:
            module.training = flag


def narrowed(model: nn.Module, changes: Sequence[AnyChange]) -> nn.Module:
    """Return a changed copy of a model, in the mode in which the model is."""
    small = copy.deepcopy(model)
    for change in changes:
        change.apply(small)
    return small


def run(model: nn.Module, inputs: Any, forward: Forward) -> list[Tensor]:
    """Return what a model puts out in evaluation, without gradients."""
    with torch.no_grad(), evaluated(model):
        return numbers_of(forward(model, copy_of(inputs)))


def compare(narrow: nn.Module, wide: nn.Module, inputs: Any, forward: Forward) -> Difference:
    """Measure how far two models' outputs are from each other."""
    return difference(run(narrow, inputs, forward), run(wide, inputs, forward))


def count(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
