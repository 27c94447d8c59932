"""The loss of single samples, whatever the reduction of the user's loss; and the best constant predictor's loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cloudchamber._core.errors import InvalidInput, require

Loss = Callable[[Tensor, Tensor], Tensor]
Reduction = Literal["mean", "sum", "none"]
REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum", "none")


@dataclass(frozen=True)
class SampleLoss:
    """A loss with its reduction, so that Σ_x loss_x can be computed from it.

    With "mean", Σ_x loss_x = n · loss; with "sum" it is the loss itself; with "none" it is the sum of its entries.
    """

    loss: Loss
    targets: Tensor
    reduction: Reduction

    def summed(self, outputs: Tensor) -> Tensor:
        """Return Σ_x loss_x over the samples; its gradient with respect to a sample's output is ∂loss_x."""
        value = self.loss(outputs, self.targets)
        if self.reduction == "none":
            return value.sum()
        return value * len(self.targets) if self.reduction == "mean" else value


def detect_reduction(loss: Loss, outputs: Tensor, targets: Tensor) -> Reduction:
    """Tell how a loss reduces over samples, by showing it every sample twice.

    A mean stays as it is, a sum doubles, and a loss without reduction returns one entry per sample.

    Args:
        loss: takes (outputs, targets).
        outputs: (n, ...) outputs of the network.
        targets: (n, ...).

    Raises:
        InvalidInput: if the loss does neither (it couples samples): `reduction=` must then be declared.
    """
    with torch.no_grad():
        once = loss(outputs, targets)
        require(
            isinstance(once, Tensor),
            "the loss returns a tensor",
            type(once).__name__,
            "return the loss itself",
        )
        if once.ndim > 0:
            require(
                once.shape[0] == len(targets),
                "a loss is one number or has one entry per sample",
                f"shape {tuple(once.shape)} for {len(targets)} samples",
                "pass a loss with reduction 'mean', 'sum' or 'none'",
            )
            return "none"
        return _scalar_reduction(loss, outputs, targets)


def _scalar_reduction(loss: Loss, outputs: Tensor, targets: Tensor) -> Reduction:
    # Moved outputs have another loss: a loss of zero, or NaN, tells nothing about its reduction.
    moved = torch.nan_to_num(outputs) + torch.linspace(0.1, 1.0, len(outputs)).to(outputs).view(
        -1, *[1] * (outputs.ndim - 1)
    )
    for candidate in (outputs, moved):
        once = float(loss(candidate, targets))
        twice = float(loss(torch.cat([candidate, candidate]), torch.cat([targets, targets])))
        if not math.isfinite(once) or once == 0.0:
            continue
        if math.isclose(twice, once, rel_tol=1e-3):
            return "mean"
        if math.isclose(twice, 2 * once, rel_tol=1e-3):
            return "sum"
    raise InvalidInput(
        "a loss is a mean or a sum over samples; got one that is neither when every sample is shown twice. "
        "Remedy: declare it with reduction='mean', 'sum' or 'none'."
    )


def constant_predictor_loss(loss: SampleLoss, outputs: Tensor) -> float:
    """Return the smallest loss per sample that a constant output can reach on the probe.

    min_c (1/n) Σ_x loss(c, y_x), by L-BFGS from c = 0: the level of the plateau on which nothing has been learned
    (for cross entropy the entropy of the classes, for squared error the variance of the targets).

    Args:
        loss: the loss on the probe's targets.
        outputs: (n, ...) outputs of the network, for their shape and type.

    Returns:
        The loss, or NaN if the loss is not finite or cannot be differentiated at any constant output.
    """
    samples = len(outputs)
    constant = torch.zeros_like(outputs[:1]).requires_grad_()
    optimizer = torch.optim.LBFGS([constant], max_iter=200, line_search_fn="strong_wolfe")

    def mean_loss() -> Tensor:
        optimizer.zero_grad()
        value = loss.summed(constant.expand(samples, *constant.shape[1:])) / samples
        value.backward()
        return value

    try:
        with torch.enable_grad():
            optimizer.step(mean_loss)
        with torch.no_grad():
            return float(loss.summed(constant.expand_as(outputs)) / samples)
    except (RuntimeError, ValueError):
        return math.nan
