"""How often the outputs of a network are right."""

from __future__ import annotations

import torch

from cloudchamber._core.types import Labels, Outputs, PerClass
from cloudchamber.measures.vectors import as_matrix, require_labels


def class_accuracy(outputs: Outputs, labels: Labels) -> PerClass:
    """Return the fraction of each class's samples whose largest output is that of their class.

    `acc_c = |{x in c : argmax_j f_j(x) = c}| / |{x in c}|`. In the first phase very few classes are learned.

    Args:
        outputs: (n, k), the outputs of the network: one per class, of any scale (logits or probabilities).
        labels: (n,), the class of each sample, from 0 to k − 1; samples with other labels are left out.

    Returns:
        (k,), numbers in [0, 1]: float64 for float64 outputs, float32 otherwise; NaN for a class without
        samples. A sample with a NaN among its outputs is not right; of equal outputs the first counts.

    Raises:
        InvalidInput: if `outputs` is not a floating-point matrix with at least one column, or `labels` does
            not hold one whole number per row.

    Source: mlp2024, Appendix J (Assumption 1).

    >>> outputs = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    >>> class_accuracy(outputs, torch.tensor([0, 0, 1]))
    tensor([0.5000, 1.0000,    nan])
    """
    scores = as_matrix(outputs, "outputs")
    require_labels(labels, len(scores))
    largest, index = scores.max(1)
    right = (index == labels) & (largest == largest)  # a NaN is the largest, and no number
    member = torch.arange(scores.shape[1], device=labels.device)[:, None] == labels
    return (member & right).sum(1).to(scores.dtype) / member.sum(1)
