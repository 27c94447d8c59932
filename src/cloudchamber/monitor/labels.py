"""The classes of the samples of a training step, of one batch or of several micro-batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cloudchamber._core.errors import require

Labels = Tensor | Sequence[Tensor]


def joined_labels(labels: Labels | None, device: torch.device) -> Tensor | None:
    """Return the class of every sample, one micro-batch after the other; None without labels.

    Raises:
        InvalidInput: if they are not whole numbers, one per sample.
    """
    if labels is None:
        return None
    if isinstance(labels, Tensor) and _are_classes(labels):
        return labels.to(device, torch.int64)
    parts = [labels] if isinstance(labels, Tensor) else list(labels)
    shapes = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
    require(
        bool(parts) and all(isinstance(part, Tensor) and _are_classes(part) for part in parts),
        "`labels` is a tensor (n,) with the class of each sample, or one per micro-batch",
        shapes,
        "pass those, or leave it out where there are no classes",
    )
    return torch.cat(parts).to(device, torch.int64)


def _are_classes(labels: Tensor) -> bool:
    return labels.ndim == 1 and not labels.is_floating_point()
