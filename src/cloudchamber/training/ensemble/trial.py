"""One call of an ensemble's first member, so that what does not fit is said at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber.training.ensemble.gradients import Loss, loss_function
from cloudchamber.training.ensemble.members import Members
from cloudchamber.training.ensemble.randomness import Draw, noted_draws

_MISFITS = (RuntimeError, ValueError, IndexError, TypeError, KeyError)
"""What torch raises when model, data and loss do not fit each other."""


@dataclass(frozen=True)
class Trial:
    """What a call showed.

    Attributes:
        draws: what it draws at random, in order.
        activation: numbers in the largest output of the model's parts.
    """

    draws: Sequence[Draw]
    activation: int


def try_first(members: Members, loss: Loss, batch: tuple[Tensor, Tensor]) -> Trial:
    """Call the first member and its loss on a batch; nothing of it is changed, no random state is advanced.

    Raises:
        InvalidInput: if model, data and loss do not fit each other.
    """
    held = {**members.layout.views(members.flat[0]), **{name: value[0] for name, value in members.fixed.items()}}
    losses: list[object] = []

    def call() -> None:
        outputs = functional_call(members.template, {name: value.clone() for name, value in held.items()}, (batch[0],))
        _require_shapes(loss, outputs, batch[1])
        losses.append(loss_function(loss)(outputs, batch[1]))

    with torch.no_grad(), _sizes_of_outputs(members.template) as sizes, _misfits_explained():
        draws = noted_draws(call, members.flat.device)
    shape = tuple(losses[0].shape) if isinstance(losses[0], Tensor) else type(losses[0]).__name__
    require(shape == (), "a loss is one number for each member", f"shape {shape}", "take its mean over samples")
    return Trial(draws, max(sizes, default=1))


def reason_of(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def _sizes_of_outputs(module: nn.Module) -> Iterator[list[int]]:
    """Collect how many numbers each part of a module returns."""
    sizes: list[int] = []

    def note(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel())

    handles = [part.register_forward_hook(note) for part in module.modules()]
    try:
        yield sizes
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _misfits_explained() -> Iterator[None]:
    try:
        yield
    except InvalidInput:
        raise
    except _MISFITS as error:
        raise InvalidInput(
            f"the model and its loss can be called on a batch; got {reason_of(error)!r}. "
            "Remedy: check shapes and types of inputs and targets."
        ) from error


def _require_shapes(loss: Loss, outputs: object, targets: Tensor) -> None:
    if not isinstance(outputs, Tensor):
        raise InvalidInput(
            f"a model returns a tensor; got {type(outputs).__name__}. Remedy: wrap it in a module that does."
        )
    if loss == "mse":
        rule = f"for 'mse' targets have the outputs' shape, {tuple(outputs.shape)}"
        require(outputs.shape == targets.shape, rule, tuple(targets.shape), "reshape them: y[:, None] for one output")
