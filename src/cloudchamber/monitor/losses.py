"""The loss of single samples, whatever the reduction of the user's loss; and the best constant predictor's loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber.anatomy import call_with_copied_buffers

Loss = Callable[[Tensor, Tensor], Tensor]
Reduction = Literal["mean", "sum", "none"]
REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")
_MOST_OUTPUTS = 1_000_000


@dataclass(frozen=True)
class SampleLoss:
    """A loss with its reduction, so that Σ_x loss_x can be computed from it.

    With "mean", Σ_x loss_x = n · loss; with "sum" it is the loss itself; with "none" it is the sum of its entries.
    (So for k outputs the squared error of one sample is a mean over the outputs with "mean", a sum with the others.)
    """

    loss: Loss
    targets: Tensor
    reduction: Reduction

    @cached_property
    def is_calm(self) -> bool:
        """Whether it is one of torch's own, which draw no random numbers."""
        of_module = isinstance(self.loss, nn.Module) and type(self.loss).__module__ == "torch.nn.modules.loss"
        return of_module or getattr(self.loss, "__module__", "") == "torch.nn.functional"

    def summed(self, outputs: Tensor) -> Tensor:
        """Return Σ_x loss_x over the samples, at least in float32; its gradient by a sample's output is ∂loss_x.

        Raises:
            InvalidInput: if the loss is not as declared, or has no gradient.
        """
        value = loss_value(self.loss, outputs, self.targets)
        differentiable = value.requires_grad or not (outputs.requires_grad and torch.is_grad_enabled())
        require(
            differentiable, "a loss can be differentiated", "one without a graph", "compute it with torch functions"
        )
        if value.dtype is not torch.float32 and value.dtype is not torch.float64:
            value = value.to(torch.promote_types(value.dtype, torch.float32))
        if self.reduction == "none":
            return value.sum()
        if value.numel() != 1:
            raise _no_number(self.reduction, value)
        value = value.sum() if value.ndim else value
        return value * len(self.targets) if self.reduction == "mean" else value


def _no_number(reduction: Reduction, value: Tensor) -> InvalidInput:
    rule, received = f"a loss with reduction '{reduction}' is one number", f"shape {tuple(value.shape)}"
    return InvalidInput(f"{rule}; got {received}. Remedy: declare reduction='none'.")


def loss_value(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss; one that is a module keeps its buffers.

    Raises:
        InvalidInput: if it is not a tensor.
    """
    value = call_with_copied_buffers(loss, outputs, targets) if isinstance(loss, nn.Module) else loss(outputs, targets)
    if isinstance(value, Tensor):
        return value
    raise InvalidInput(f"the loss returns a tensor; got {type(value).__name__}. Remedy: return the loss itself.")


def detect_reduction(loss: Loss, outputs: Tensor, targets: Tensor) -> Reduction:
    """Tell how a loss reduces over samples, by showing it every sample twice.

    A mean stays as it is, a sum doubles, and a loss without reduction returns one entry per sample.

    Args:
        loss: takes (outputs, targets).
        outputs: (n, ...) outputs of the network.
        targets: (n, ...).

    Raises:
        InvalidInput: if the loss does neither, or couples samples: `reduction=` must then be declared.
    """
    with torch.no_grad():
        once = loss_value(loss, outputs, targets)
        if once.numel() == 1:
            return _scalar_reduction(loss, outputs, targets)
        require(
            once.shape[:1] == targets.shape[:1],
            "a loss is one number or has one entry per sample",
            f"shape {tuple(once.shape)} for {len(targets)} samples",
            "pass a loss with reduction 'mean', 'sum' or 'none'",
        )
        return "none"


def _scalar_reduction(loss: Loss, outputs: Tensor, targets: Tensor) -> Reduction:
    try:
        return _reduction_by_trial(loss, outputs, targets)
    except InvalidInput:
        raise
    except Exception as error:
        raise _undeclared(f"one that fails when it is shown other samples than the probe ({error})") from error


def _reduction_by_trial(loss: Loss, outputs: Tensor, targets: Tensor) -> Reduction:
    moved = _moved(outputs)
    tolerance = max(1e-3, 4 * torch.finfo(outputs.dtype).eps)
    for candidate in (outputs, moved):
        once = float(loss_value(loss, candidate, targets))
        twice = float(loss_value(loss, torch.cat([candidate, candidate]), torch.cat([targets, targets])))
        if not math.isfinite(once) or once == 0.0:
            continue  # a loss of zero, or NaN, tells nothing about its reduction
        if _couples(loss, torch.nan_to_num(outputs, 0.5, 1.0, 0.0), moved, targets):
            raise _undeclared("one in which samples change each other's loss")
        if math.isclose(twice, once, rel_tol=tolerance):
            return "mean"
        if math.isclose(twice, 2 * once, rel_tol=tolerance):
            return "sum"
    raise _undeclared("one that neither stays nor doubles when every sample is shown twice")


def _moved(outputs: Tensor) -> Tensor:
    """Return other outputs of the same kind: what lies in [0, 1] or above 0 stays there."""
    return 0.5 * torch.nan_to_num(outputs, 0.5, 1.0, 0.0).roll(1, 0) + 0.25


def _couples(loss: Loss, outputs: Tensor, moved: Tensor, targets: Tensor) -> bool:
    """Whether moving half of the samples changes the loss by another amount when the other half has moved."""
    first = (torch.arange(len(outputs), device=outputs.device) % 2 == 0).view(-1, *[1] * (outputs.ndim - 1))
    none, one, other, both = (
        float(loss_value(loss, candidate, targets))
        for candidate in (outputs, torch.where(first, moved, outputs), torch.where(first, outputs, moved), moved)
    )
    rounding = 100 * torch.finfo(outputs.dtype).eps * max(map(abs, (none, one, other, both)))
    return abs(both - one - other + none) > 1e-3 * (abs(one - none) + abs(other - none)) + rounding


def _undeclared(received: str) -> InvalidInput:
    return InvalidInput(
        f"a loss is a mean or a sum over samples; got {received}. "
        "Remedy: declare it with reduction='mean', 'sum' or 'none'."
    )


def constant_predictor_loss(loss: SampleLoss, outputs: Tensor) -> float:
    """Return the smallest loss per sample that a constant output can reach on the probe.

    min_c (1/n) Σ_x loss(c, y_x), the best of what L-BFGS finds from zero and from the targets' mean, median and
    frequencies: the level of the plateau on which nothing has been learned (for cross entropy the entropy of the
    classes, for squared error the variance of the targets).

    Args:
        loss: the loss on the probe's targets.
        outputs: (n, ...) outputs of the network, for their shape and type.

    Returns:
        The loss, or NaN if it is not finite or cannot be differentiated at any constant output, and for more than
        a million outputs, where the search would take too long.
    """
    if outputs.numel() > _MOST_OUTPUTS:
        return math.nan
    found = [_minimized(loss, start, len(outputs)) for start in _starts(loss.targets, outputs)]
    return min((value for value in found if math.isfinite(value)), default=math.nan)


def _starts(targets: Tensor, outputs: Tensor) -> Iterator[Tensor]:
    shape, dtype = (1, *outputs.shape[1:]), torch.promote_types(outputs.dtype, torch.float32)
    yield torch.zeros(shape, dtype=dtype, device=outputs.device)
    if targets.is_floating_point() and targets.shape == outputs.shape:
        yield targets.to(dtype).mean(0, keepdim=True)
        yield targets.to(dtype).median(0, keepdim=True).values
    elif targets.ndim == 1 and outputs.ndim == 2 and not targets.is_floating_point():
        classes = torch.arange(outputs.shape[1], device=targets.device)
        frequency = (targets[:, None] == classes).to(dtype).mean(0, keepdim=True)
        yield frequency.clamp(min=1e-12).log().to(outputs.device)


def _minimized(loss: SampleLoss, start: Tensor, samples: int) -> float:
    constant = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([constant], max_iter=200, line_search_fn="strong_wolfe")

    def mean_loss() -> Tensor:
        value = loss.summed(constant.expand(samples, *constant.shape[1:])) / samples
        # Not `backward`: a loss may hold the model's parameters, whose gradients must stay.
        (constant.grad,) = torch.autograd.grad(value, constant)
        return value.detach()

    try:
        with torch.enable_grad():
            first = float(mean_loss())
            optimizer.step(mean_loss)
            return min(first, float(mean_loss()))
    except (RuntimeError, ValueError):
        return math.nan
