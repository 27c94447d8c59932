"""What a model is called with: a tensor, or any nesting of tuples, lists and dicts of tensors, samples first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from cloudchamber._core.errors import require


def tensors_of(inputs: Any) -> list[Tensor]:
    """Return the tensors, in a fixed order."""
    if isinstance(inputs, Tensor):
        return [inputs]
    return [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor)]


def count_samples(inputs: Any) -> int:
    """Return the number of samples, the first dimension of every tensor.

    Raises:
        InvalidInput: if there is no tensor, or the tensors have different numbers of samples.

    >>> count_samples({"tokens": torch.zeros(5, 3), "mask": torch.ones(5)})
    5
    """
    if isinstance(inputs, Tensor) and inputs.ndim:
        return inputs.shape[0]
    shapes = [tuple(tensor.shape) for tensor in tensors_of(inputs)]
    require(
        bool(shapes) and all(shape for shape in shapes) and len({shape[0] for shape in shapes}) == 1,
        "inputs are a tensor, or tuples, lists and dicts of tensors, with samples along the first dimension of each",
        f"tensors of shapes {shapes}" if shapes else type(inputs).__name__,
        "arrange them so, and call the model in `forward=`",
    )
    return shapes[0][0]


def copy_of(inputs: Any) -> Any:
    """Return the same nesting with copies of the tensors: a model may work on its inputs in place."""
    return inputs.clone() if isinstance(inputs, Tensor) else pytree.tree_map_only(Tensor, torch.clone, inputs)


def device_of(inputs: Any) -> torch.device:
    """Return the device of the first tensor."""
    return tensors_of(inputs)[0].device
