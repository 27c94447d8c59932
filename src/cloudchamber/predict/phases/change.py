"""What to change so that a network gets into the other phase: output scale and learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from cloudchamber.models import CenteredOutput, ScaledOutput
from cloudchamber.predict.phases.parametrised import UNSTABLE_SPEED
from cloudchamber.predict.phases.twin import Twin
from cloudchamber.predict.update_rule import Kind

Towards = Literal["learning", "kernel"]
LEARNING_DRIFT, STILL_DRIFT = 0.5, 0.02
"""The kernel's change over the training that is aimed at."""
_SAFE_SPEED = 1.0


@dataclass(frozen=True)
class Change:
    """Factors that move a network to a phase.

    The kernel is `γ²η` times what weights make of it, and the relative change of f's second order against its first is
    `1/γ` times the weights' size: with γ → γ/a and η → a²η the network learns as fast at the start, and its kernel
    changes a times as much relative to it. For Adam, whose steps do not shrink with the gradient, η → a η.

    Attributes:
        towards: the phase.
        output_scale: what the outputs are to be multiplied by, 1/a.
        lr: what all learning rates are to be multiplied by; it makes steps stable where they are not.
        zero_initial_output: whether the initial output is to be subtracted, without which a large output scale starts
            far off, and P/Q stays away from 1 at finite width.
    """

    towards: Towards
    output_scale: float
    lr: float
    zero_initial_output: bool

    def __str__(self) -> str:
        words = [f"multiply the output by {self.output_scale:.3g} and learning rates by {self.lr:.3g}"]
        if self.zero_initial_output:
            words.append("subtract the initial output")
        corollary = "Corollary 2" if self.towards == "learning" else "Corollary 3"
        return f"{self.towards} phase: {', and '.join(words)} (xu2024, {corollary})"

    def applied(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return a changed copy of a model with its optimizer; both given stay as they are.

        Raises:
            InvalidInput: if the optimizer holds parameters that are not the model's.
            Unsupported: if they cannot be copied.

        >>> model = nn.Linear(2, 1)
        >>> given = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> changed, sgd = Change("learning", 0.5, 4.0, False).applied(model, given)
        >>> sgd.param_groups[0]["lr"], torch.equal(changed(torch.ones(1, 2)), 0.5 * model(torch.ones(1, 2)))
        (0.4, True)
        """
        twin = Twin.of(model, optimizer)
        for group in twin.optimizer.param_groups:
            group["lr"] = group["lr"] * self.lr
        inner = CenteredOutput(twin.model) if self.zero_initial_output else twin.model
        return ScaledOutput(inner, self.output_scale), twin.optimizer


def change_towards(towards: Towards, drift: float, speed: float, kind: Kind) -> Change | None:
    """Return what moves a network to a phase; None if nothing is known of how far its kernel changes.

    Args:
        towards: "learning" or "kernel".
        drift: by which part of itself the kernel changes over the training.
        speed: learning rate times curvature; NaN = not known.
        kind: of the optimizer.

    Source: xu2024, Corollaries 1 to 3; `K(∞)/K(0) = √(1 + x²)`, x ∝ a.
    """
    if not (math.isfinite(drift) and drift > 0):
        return None
    now, wanted = (_bend(value) for value in (drift, LEARNING_DRIFT if towards == "learning" else STILL_DRIFT))
    a = wanted / now
    stable = _SAFE_SPEED / speed if speed > UNSTABLE_SPEED else 1.0
    lr = stable * (a if kind == "adam" else a**2)
    return Change(towards, 1 / a, lr, zero_initial_output=towards == "kernel")


def _bend(drift: float) -> float:
    """x of `1 + drift = √(1 + x²)`."""
    return math.sqrt((1 + drift) ** 2 - 1)
