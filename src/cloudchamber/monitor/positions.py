"""Which positions of a sequence make up the feature of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber.anatomy import LayerView

PositionChoice = Literal["all", "first", "last"] | int | slice | Tensor


@dataclass(frozen=True)
class Positions:
    """The positions that count: features are those of these positions, side by side.

    Gradients of weights always include every position: a weight is trained by all of them.
    """

    choice: PositionChoice = "all"

    @classmethod
    def of(cls, choice: PositionChoice, samples: int) -> Positions:
        """Check what a user asks for.

        Raises:
            InvalidInput: if it is not a choice of positions.
        """
        if isinstance(choice, Tensor):
            require(
                choice.dtype == torch.bool and choice.ndim == 2 and len(choice) == samples,
                f"`positions` as a mask is a boolean tensor (n, T) for the probe's {samples} samples",
                f"{choice.dtype} of shape {tuple(choice.shape)}",
                "pass attention_mask.bool()",
            )
            return cls(choice.detach().clone())
        known = choice in ("all", "first", "last") if isinstance(choice, str) else _is_index(choice)
        if not known:
            raise InvalidInput(
                "`positions` is 'all', 'first', 'last', a number, a slice or a boolean mask (n, T); "
                f"got {choice!r}. Remedy: choose one of them."
            )
        return cls(choice)

    def to(self, device: torch.device) -> Positions:
        """Return the same on a device."""
        return Positions(self.choice.to(device)) if isinstance(self.choice, Tensor) else self

    def of_features(self, tensor: Tensor | None, view: LayerView) -> Tensor | None:
        """Return the features (n, ...), or their gradients, of the positions that count.

        Raises:
            InvalidInput: if a sequence does not have these positions.
        """
        axis = view.positions_axis
        if tensor is None or axis is None or tensor.ndim < 3 or (isinstance(self.choice, str) and self.choice == "all"):
            return tensor
        if isinstance(self.choice, Tensor):
            return self._masked(tensor, axis, view.name)
        index = {"first": 0, "last": -1}.get(self.choice, 0) if isinstance(self.choice, str) else self.choice
        try:
            return tensor.movedim(axis, 1)[:, index]
        except IndexError as error:
            raise InvalidInput(
                f"`positions` names a position of every sequence; got {index}, and {view.name} has "
                f"{tensor.shape[axis]}. Remedy: choose other positions, or other layers."
            ) from error

    def _masked(self, tensor: Tensor, axis: int, name: str) -> Tensor:
        mask, rows = self.choice, tensor.movedim(axis, 1)
        assert isinstance(mask, Tensor)
        require(
            mask.shape[1] == rows.shape[1],
            f"a mask of positions has as many columns as {name} has positions, {rows.shape[1]}",
            mask.shape[1],
            "choose the layers that work on this sequence with `layers=`",
        )
        return torch.where(mask.view(*mask.shape, *[1] * (rows.ndim - 2)), rows, 0)


def _is_index(choice: object) -> bool:
    return isinstance(choice, slice) or (isinstance(choice, int) and not isinstance(choice, bool))
