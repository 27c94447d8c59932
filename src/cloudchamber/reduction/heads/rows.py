"""The weights of linear layers as rows with their biases, in float64."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber.reduction.change import replace_tensor


def with_bias(weight: Float[Tensor, "m e"], bias: Float[Tensor, " m"] | None) -> Float[Tensor, "m e1"]:
    """Return weights with their biases, or zeros, as the last column.

    >>> with_bias(torch.ones(1, 2), None)
    tensor([[1., 1., 0.]], dtype=torch.float64)
    """
    column = weight.new_zeros(len(weight)) if bias is None else bias
    return torch.cat([weight, column[:, None]], 1).detach().to("cpu", torch.float64)


def heads_of_columns(layer: Any, heads: int) -> Float[Tensor, "H f c"]:
    """Return what an output layer makes of each head."""
    return layer.weight.detach().to("cpu", torch.float64).unflatten(1, (heads, -1)).transpose(0, 1)


def put_rows(layer: Any, rows: Float[Tensor, "m e1"]) -> None:
    """Give a layer other rows, as many as there are."""
    replace_tensor(layer, "weight", rows[:, :-1])
    if layer.bias is not None:
        replace_tensor(layer, "bias", rows[:, -1])
    layer.out_features = len(rows)


def put_columns(layer: Any, heads: Float[Tensor, "H f c"]) -> None:
    """Let an output layer make this of the heads."""
    replace_tensor(layer, "weight", heads.transpose(0, 1).flatten(1))
    layer.in_features = layer.weight.shape[1]
