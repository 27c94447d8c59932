"""Where each trainable parameter of a member lies in a row of the stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cloudchamber._core.errors import require

Flat = Float[Tensor, "k p"]


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the trainable parameters of one member, in the order in which they lie in a row.

    Attributes:
        names: qualified names, as `named_parameters` gives them; a parameter that is shared has its first name.
        shapes: of one member.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, module: nn.Module) -> Layout:
        """Return the layout of a module's parameters that require a gradient.

        Raises:
            InvalidInput: if there is none.

        >>> Layout.of(nn.Linear(3, 2)).size
        8
        """
        free = {name: value.shape for name, value in module.named_parameters() if value.requires_grad}
        require(len(free) > 0, "a model has parameters with requires_grad", "none", "leave some free to move")
        return cls(tuple(free), tuple(free.values()))

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each parameter lies in a row."""
        ends = [0, *accumulate(shape.numel() for shape in self.shapes)]
        return {name: slice(start, end) for name, start, end in zip(self.names, ends, ends[1:], strict=False)}

    @property
    def size(self) -> int:
        """P, numbers per member."""
        return sum(shape.numel() for shape in self.shapes)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the parameters by name: (K, P) → (K, *shape), (P,) → shape; views of `flat`, no copies."""
        pairs = zip(self.slices.items(), self.shapes, strict=True)
        return {name: flat[..., place].view(*flat.shape[:-1], *shape) for (name, place), shape in pairs}

    def flat(self, modules: Sequence[nn.Module]) -> Flat:
        """Return the parameters of K modules of this layout as (K, P), a copy.

        Raises:
            InvalidInput: if a module has another layout.
        """
        rows = [[value for _, value in self._held(module)] for module in modules]
        return torch.stack([torch.cat([value.detach().flatten() for value in row]) for row in rows])

    def _held(self, module: nn.Module) -> list[tuple[str, nn.Parameter]]:
        held = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
        other = Layout(tuple(name for name, _ in held), tuple(value.shape for _, value in held))
        require(other == self, "the models of an ensemble have one architecture", other, "train them apart")
        return held

    def meant_by(self, key: str) -> list[str]:
        """Return the parameters that a parameter's or a module's name stands for.

        Raises:
            InvalidInput: if it names none.
        """
        meant = [name for name in self.names if name == key or name.startswith(f"{key}.")]
        require(len(meant) > 0, f"a name is one of {list(self.names)}, or a module of theirs", repr(key), "name one")
        return meant
