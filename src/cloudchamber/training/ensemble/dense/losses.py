"""The loss of all members at once and its gradient by the outputs, in the layout of the dense path."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.func import grad_and_value, vmap

from cloudchamber.training.ensemble.gradients import Loss, LossFunction

Outputs = Float[Tensor, "k o n"]
"""Members, outputs, samples."""
Start = tuple[Float[Tensor, " k"], Outputs]
"""The losses, and their gradients by the outputs."""
Head = Callable[[Outputs, Shaped[Tensor, "..."], bool], Start]

_IGNORED = -100


def head_of(loss: Loss) -> Head:
    """Return what computes losses and their gradients by the outputs: written out for losses given by name.

    A head takes outputs (K, o, n), targets as the loss takes them, and whether these are per member.
    """
    if loss == "mse":
        return squared_error
    if loss == "cross_entropy":
        return cross_entropy
    return _through_autograd(loss)


def squared_error(outputs: Outputs, targets: Tensor, per_member: bool) -> Start:  # noqa: ARG001
    """`torch.nn.functional.mse_loss`: the mean over samples and outputs; targets (n, o) or (K, n, o)."""
    residual = outputs - targets.mT
    entries = residual.shape[1] * residual.shape[2]
    return residual.square().mean((1, 2)), residual * (2 / entries)


def cross_entropy(outputs: Outputs, targets: Tensor, per_member: bool) -> Start:
    """`torch.nn.functional.cross_entropy`: the mean over samples; targets are labels (n,) or probabilities (n, o)."""
    logarithms = outputs.log_softmax(1)
    if targets.is_floating_point():
        return _of_probabilities(logarithms, targets.mT)
    labels = targets if per_member else targets.expand(len(outputs), -1)
    return _of_labels(logarithms, labels)


def _of_probabilities(logarithms: Outputs, targets: Tensor) -> Start:
    samples = logarithms.shape[2]
    losses = -(targets * logarithms).sum(1).mean(1)
    return losses, (logarithms.exp() * targets.sum(-2, keepdim=True) - targets) / samples


def _of_labels(logarithms: Outputs, labels: Tensor) -> Start:
    counted = labels != _IGNORED
    share = counted.to(logarithms.dtype) / counted.sum(1, keepdim=True)
    index = torch.where(counted, labels, 0)[:, None]
    losses = -(logarithms.gather(1, index)[:, 0] * share).sum(1)
    probabilities = logarithms.exp()
    gradients = probabilities.scatter_add(1, index, -torch.ones_like(index, dtype=logarithms.dtype))
    return losses, gradients * share[:, None]


def _through_autograd(loss: LossFunction) -> Head:
    """Differentiate a function of one member's outputs (n, o), for all members in one call."""

    def head(outputs: Outputs, targets: Tensor, per_member: bool) -> Start:
        both = vmap(grad_and_value(loss), in_dims=(0, 0 if per_member else None), randomness="different")
        gradients, losses = both(outputs.mT, targets)
        return losses, gradients.mT

    return head
