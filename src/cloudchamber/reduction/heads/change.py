"""A change of the heads of one attention: fewer of them, narrower ones, or copies. It needs nothing but the weights."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber.reduction.heads.blocks import HeadGroups, merged, split
from cloudchamber.reduction.heads.hosts import Host

Size = tuple[int, int, int]
"""How many heads, width of queries and keys in each, width of values."""


@dataclass(frozen=True)
class HeadChange:
    """The new heads of an attention.

    Attributes:
        host: whose heads.
        before: their number and widths.
        groups: which old head becomes which.
    """

    host: Host
    before: Size
    groups: HeadGroups

    def apply(self, model: nn.Module) -> None:
        """Change a model in place; call it on a copy.

        Raises:
            InvalidInput: if the model has no such attention, or other heads.
        """
        self.require_fit(model)
        self.host.write(model, merged(self.host.read(model), self.groups))

    def require_fit(self, model: nn.Module) -> None:
        """Raise `InvalidInput` unless the model has the heads for which the change was made."""
        require_heads(model, self.host, self.before)


def require_heads(model: nn.Module, host: Host, expected: Size) -> None:
    """Raise `InvalidInput` unless a model has an attention with these heads."""
    try:
        found = host.read(model).size
    except (AttributeError, LookupError, RuntimeError):
        found = "no such attention"
    require(
        found == expected,
        f"{host.module} has {expected[0]} heads, {expected[1]} and {expected[2]} wide",
        found,
        "apply the plan to the model that it was made for, or to another checkpoint of it",
    )


def split_heads(model: nn.Module, host: Host, origin: Int[Tensor, " g"], shares: Float[Tensor, " g"]) -> None:
    """Give an attention copies of its heads, in place."""
    host.write(model, split(host.read(model), origin, shares))
