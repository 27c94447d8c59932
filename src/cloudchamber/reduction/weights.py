"""The weights of a space as matrices: a row per neuron for its inputs, a column per neuron for its consumers."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cloudchamber.anatomy.channels import Reader, Space, Tensors


def tensor_of(model: nn.Module, module: str, name: str) -> Tensor:
    """Return a parameter or buffer, detached."""
    return getattr(model.get_submodule(module), name).detach()


def by_channel(tensor: Tensor, where: Tensors) -> Float[Tensor, "h _"]:
    """Return a row per channel of what belongs to it, in float64."""
    parts = where.axis.split(tensor)
    return parts.movedim(-1, 0).flatten(1).to("cpu", torch.float64)


def consumer(model: nn.Module, reader: Reader) -> Float[Tensor, "h _"]:
    """Return a row per channel of the weights by which a reader consumes it."""
    return torch.cat([by_channel(tensor_of(model, reader.module, each.name), each) for each in reader.weights], 1)


def importance(model: nn.Module, reader: Reader) -> Float[Tensor, " h"]:
    """Return the norm of the weights by which a reader consumes each channel."""
    return consumer(model, reader).norm(dim=1)


def neurons(model: nn.Module, space: Space) -> tuple[Float[Tensor, "h _"], bool]:
    """Return a row per channel of all that makes it, and whether a factor times the row is that factor times `z`.

    A batch norm directly behind a single layer, `γ (z − μ)/√(v + ε) + β`, is folded into its row.
    """
    made, normed, scaled = [], [], []
    for part in space.parts.values():
        module = model.get_submodule(part.module)
        kinds = {each.kind for each in part.tensors}
        if "statistic" in kinds:
            normed.append(norm_line(module, part.tensors[0]))
            continue
        kept = [each for each in part.tensors if each.kind in ("row", "bias", "scale")]
        (made if part.makes else scaled).extend(by_channel(getattr(module, each.name).detach(), each) for each in kept)
    rows = torch.cat(made, 1)
    if len(normed) == 1 and len(space.makers) == 1 and not space.normed_late and not scaled:
        scale, shift = normed[0].split(1, 1)
        return torch.cat([scale * rows, shift], 1), True
    return torch.cat([rows, *normed, *scaled], 1), not normed and not scaled


def norm_line(module: Any, like: Tensors) -> Float[Tensor, "h 2"]:
    """Return (γ/σ, β − μγ/σ) of a batch norm: what it does to each channel."""
    held = {name: getattr(module, name) for name in ("weight", "bias", "running_mean", "running_var")}
    entries: dict[str, Any] = {name: None if value is None else value.detach().double() for name, value in held.items()}
    scale = torch.rsqrt(entries["running_var"] + module.eps)
    scale = scale if entries["weight"] is None else scale * entries["weight"]
    shift = -entries["running_mean"] * scale
    shift = shift if entries["bias"] is None else shift + entries["bias"]
    return torch.stack([by_channel(each, like)[:, 0] for each in (scale, shift)], 1)
