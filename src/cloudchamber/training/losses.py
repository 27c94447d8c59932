"""The losses that recipes name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat
from torch import Tensor
from torch.nn import functional

from cloudchamber._core.config import Config
from cloudchamber._core.errors import require

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Takes (outputs, targets), returns the mean over the samples."""


class CrossEntropyConfig(Config):
    """−log p of the right class."""

    name: Literal["cross_entropy"] = "cross_entropy"


class SquaredErrorConfig(Config):
    """The mean over samples and outputs of the squared error."""

    name: Literal["mse"] = "mse"


class FocalConfig(Config):
    """−(1 − p)^focusing log p of the right class: what is right already counts less."""

    name: Literal["focal"] = "focal"
    focusing: NonNegativeFloat = 2.0
    """γ; 0 = cross entropy"""


LossKind = CrossEntropyConfig | SquaredErrorConfig | FocalConfig
LossConfig = Annotated[LossKind, Field(discriminator="name")]


def focal_loss(outputs: Float[Tensor, "n k"], targets: Int[Tensor, " n"], focusing: float = 2.0) -> Float[Tensor, ""]:
    """Return the mean focal loss.

    Equation: `FL = −(1 − p)^γ log p`, p the softmax probability of the right class; γ = 0 is cross entropy.

    Args:
        outputs: (n, k), logits.
        targets: (n,), the right classes.
        focusing: γ, the focusing parameter; at least 0. Its slope at p = 1 is infinite for 0 < γ < 1; where p rounds to
            1, loss and gradient are 0.

    Raises:
        InvalidInput: if γ is negative.

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017, Eq. (4); mlp2024, Appendix B.14.

    >>> focal_loss(torch.zeros(1, 2), torch.tensor([0]), focusing=1.0)  # p = 1/2: half of ln 2
    tensor(0.3466)
    """
    require(focusing >= 0, "a focusing parameter is at least 0", focusing, "use 0 for cross entropy")
    loss = functional.cross_entropy(outputs, targets, reduction="none")
    missing = -torch.expm1(-loss)  # 1 − p
    return (missing.clamp(min=torch.finfo(loss.dtype).tiny) ** focusing * loss).mean()
