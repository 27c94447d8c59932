"""A change: which channels a space has afterwards, and what its consumers make of them. Merging and splitting are one.

Every new channel is made as an old one, `origin`. Every consumer knows each old channel from the new ones,
`F_old ≈ M F_new + s`, so its weights become `W M`, and `W s` goes into its bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber.anatomy.channels import Axis, Part, Reader, Space, Tensors
from cloudchamber.reduction.recurrent import take_apart, tensor_in


@dataclass(frozen=True)
class Fold:
    """How a consumer knows the old channels from the new ones.

    Attributes:
        matrix: (h, g), M.
        shift: (h,), s.
        how: "sum" where every old channel is known from one new one, "least squares" where from all.
    """

    matrix: Float[Tensor, "h g"]
    shift: Float[Tensor, " h"]
    how: str = "sum"


@dataclass(frozen=True)
class Change:
    """The new channels of a space.

    Attributes:
        space: which channels.
        origin: (g,), the old channel as which each new one is made.
        folds: for each reader, by its key, how it knows the old channels.
    """

    space: Space
    origin: Int[Tensor, " g"]
    folds: dict[str, Fold]

    def apply(self, model: nn.Module) -> None:
        """Change a model in place; call it on a copy.

        Raises:
            InvalidInput: if the model has no such layers, or other widths.
        """
        self.require_fit(model)
        self.prepare(model)
        for reader in self.space.readers.values():
            _consume(model.get_submodule(reader.module), reader, self.folds[reader.key])
        for part in self.space.parts.values():
            _make(model.get_submodule(part.module), part, self.origin, self.space.size)

    def prepare(self, model: nn.Module) -> None:
        """Give each layer a module of its own, in place."""
        take_apart(model, [part.module for part in self.space.parts.values()])

    def require_fit(self, model: nn.Module) -> None:
        """Raise `InvalidInput` unless the model has the layers and widths for which the change was made."""
        for part in self.space.parts.values():
            for each in part.tensors:
                held = tensor_in(model, part.module, each.name)
                fits = held is not None and held.ndim > each.axis.dim
                found = each.axis.channels(held) if fits and held is not None else None
                require(
                    found == self.space.size,
                    f"{part.module}.{each.name} has {self.space.size} channels",
                    "no such tensor" if found is None else found,
                    "apply the plan to the model that it was made for, or to another checkpoint of it",
                )


def replace_tensor(module: nn.Module, name: str, value: Tensor) -> None:
    """Put a new tensor in the place of a parameter or buffer, of its type and on its device."""
    old = getattr(module, name)
    value = value.to(old.device, old.dtype).contiguous()
    if isinstance(old, nn.Parameter):
        setattr(module, name, nn.Parameter(value, requires_grad=old.requires_grad))
    else:
        module._buffers[name] = value


def expanded(axis: Axis, origin: Tensor, size: int) -> Tensor:
    """Return the entries along a dimension that belong to the new channels.

    >>> expanded(Axis(0, outer=2, inner=1), torch.tensor([2, 0]), 3)
    tensor([2, 0, 5, 3])
    """
    outer = torch.arange(axis.outer)[:, None, None] * size
    return ((outer + origin[None, :, None]) * axis.inner + torch.arange(axis.inner)).flatten()


def _make(module: nn.Module, part: Part, origin: Tensor, size: int) -> None:
    """Let a module make the new channels, or let them pass."""
    for each in part.tensors:
        if each.kind != "column":
            old = getattr(module, each.name).detach()
            entries = expanded(each.axis, origin, size).to(old.device)
            replace_tensor(module, each.name, old.index_select(each.axis.dim, entries))
    for name, times in part.sizes:
        setattr(module, name, len(origin) * times)


def _consume(module: nn.Module, reader: Reader, fold: Fold) -> None:
    """Let a module consume the new channels."""
    for each in reader.weights:
        old = getattr(module, each.name).detach()
        parts = each.axis.split(old).to(torch.float64)
        if bool(fold.shift.any()):
            _shift_bias(module, reader, each, parts @ fold.shift.to(parts.device), old)
        replace_tensor(module, each.name, each.axis.join(parts @ fold.matrix.to(parts.device)))


def _shift_bias(module: nn.Module, reader: Reader, where: Tensors, constant: Tensor, weight: Tensor) -> None:
    """Add what the constants amount to to the bias, which is made if there is none."""
    out = 0 if where.axis.dim else constant.ndim - 1  # the dimension of the outputs; z = x W + b has it last
    total = constant.movedim(out, 0).flatten(1).sum(1) if constant.ndim > 1 else constant
    if getattr(module, reader.bias, None) is None:
        module.register_parameter(reader.bias, nn.Parameter(torch.zeros_like(total, dtype=weight.dtype)))
    replace_tensor(module, reader.bias, getattr(module, reader.bias).detach().to(torch.float64) + total)
