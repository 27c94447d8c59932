"""The members of an ensemble before they are trained: stacked, and checked to be of one architecture."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from cloudchamber._core.errors import InvalidInput, require
from cloudchamber.training.ensemble.layout import Flat, Layout


@dataclass(frozen=True)
class Members:
    """K models of one architecture.

    Attributes:
        template: the architecture, in its mode; a copy of the first model.
        layout: of the trained parameters.
        flat: (K, P), those parameters.
        fixed: by name, (K, ...), all other parameters and the buffers.
    """

    template: nn.Module
    layout: Layout
    flat: Flat
    fixed: dict[str, Tensor]

    @classmethod
    def of(cls, models: Sequence[nn.Module], dtype: torch.dtype | None) -> Members:
        """Stack models; they are not changed.

        Raises:
            InvalidInput: if there is none, or they differ in more than numbers.
        """
        require(len(models) > 0, "an ensemble has a model", "none", "pass a list of models of one architecture")
        real = dtype is None or dtype.is_floating_point
        require(real, "`dtype` is a floating-point type", dtype, "use torch.float64")
        first = models[0]
        layout, expected = Layout.of(first), _likeness(first)
        for place, model in enumerate(models):
            require(
                _likeness(model) == expected,
                "the models of an ensemble are alike but for the numbers in their parameters and buffers",
                f"another one as number {place}",
                "make them in the same way and mode, or train them apart",
            )
        dtype = dtype or _dtype(layout, first)
        flat = layout.flat(models).to(dtype)
        fixed = {name: _cast(value, dtype) for name, value in _fixed(models, layout).items()}
        return cls(copy.deepcopy(first).to(dtype), layout, flat, fixed)

    def __len__(self) -> int:
        return len(self.flat)

    def some(self, chosen: Int[Tensor, " k"]) -> Members:
        """Return some of the members."""
        chosen = chosen.to(self.flat.device)
        fixed = {name: value[chosen] for name, value in self.fixed.items()}
        return Members(self.template, self.layout, self.flat[chosen], fixed)


def _likeness(model: nn.Module) -> tuple[object, ...]:
    """All in which members must not differ: parts, their settings and modes, shapes, and what is trained."""
    parameters = [(name, value.shape, value.requires_grad) for name, value in model.named_parameters()]
    buffers = [(name, value.shape) for name, value in model.named_buffers()]
    return repr(model), [part.training for part in model.modules()], parameters, buffers


def _dtype(layout: Layout, model: nn.Module) -> torch.dtype:
    held = dict(model.named_parameters())
    kinds = {held[name].dtype for name in layout.names}
    if len(kinds) > 1 or not all(kind.is_floating_point for kind in kinds):
        raise InvalidInput(f"parameters are of one type; got {sorted(map(str, kinds))}. Remedy: pass dtype=.")
    return kinds.pop()


def _fixed(models: Sequence[nn.Module], layout: Layout) -> dict[str, Tensor]:
    trained = set(layout.names)
    names = [name for name in _state(models[0]) if name not in trained]
    states = [_state(model) for model in models] if names else []
    return {name: torch.stack([state[name].detach() for state in states]) for name in names}


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value
