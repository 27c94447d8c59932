"""Which remedies are tried for a model and its optimizer, the least invasive first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from cloudchamber.control.remedy import PutPhaseNorm, Redraw, Remedy, Setting
from cloudchamber.control.rescale import rescaled
from cloudchamber.control.samples import Samples
from cloudchamber.interventions import BatchNorm, PhaseNorm, normable_layers

MOMENTUM = 0.9
LARGER, SMALLER = (10.0, 100.0, 1e3, 1e4), 0.1

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    BatchNorm,
    PhaseNorm,
)


@dataclass(frozen=True)
class Candidates:
    """The remedies that a model and its optimizer leave room for; None where one does not apply.

    Attributes:
        decay: no weight decay.
        momentum: heavy-ball momentum.
        larger_steps: larger learning rates.
        smaller_steps: a smaller one.
        rescale: larger weights in their directions.
        phase_norm: norms between the layers.
        redraw: new weights.
    """

    decay: Remedy | None
    momentum: Remedy | None
    larger_steps: tuple[Remedy, ...]
    smaller_steps: Remedy
    rescale: Remedy | None
    phase_norm: Remedy | None
    redraw: Remedy

    @classmethod
    def of(cls, model: nn.Module, optimizer: torch.optim.Optimizer, samples: Samples) -> Candidates:
        """Fit them to a model, which is a copy to be tried things on, and to its optimizer."""
        settings = cls.settings(optimizer)
        return replace(settings, rescale=rescaled(model, samples), phase_norm=with_phase_norm(model))

    @classmethod
    def settings(cls, optimizer: torch.optim.Optimizer) -> Candidates:
        """Fit those that do not depend on the model to an optimizer."""
        groups = optimizer.param_groups
        larger = tuple(with_rate(groups, factor) for factor in LARGER)
        smaller = with_rate(groups, SMALLER)
        return cls(without_decay(groups), with_momentum(groups), larger, smaller, None, None, Redraw())

    def in_order(self, *, unmoved: bool) -> Iterator[tuple[Remedy, ...]]:
        """Yield what is tried, one remedy alone first, then several at once, and last what loses all that was learned.

        Args:
            unmoved: whether the weights have hardly moved, so that larger steps come before any change of the model.
        """
        larger = self.larger_steps if unmoved else ()
        yield ()
        yield from _present([[one] for one in (self.decay, self.momentum, *larger, self.rescale, self.phase_norm)])
        yield from _present(
            [
                [self.decay, self.momentum],
                [self.decay, self.rescale],
                [self.momentum, self.rescale],
                [self.smaller_steps, self.rescale],
                [self.decay, self.phase_norm],
                [self.momentum, self.phase_norm],
                [self.smaller_steps, self.phase_norm],
                [self.larger_steps[0], self.phase_norm],
                *([one] for one in self.larger_steps if not unmoved),
                [self.redraw],
                [self.decay, self.redraw],
                [self.smaller_steps, self.redraw],
            ]
        )


def _present(several: list[list[Remedy | None]]) -> Iterator[tuple[Remedy, ...]]:
    for remedies in several:
        present = tuple(remedy for remedy in remedies if remedy is not None)
        if present and len(present) == len(remedies):
            yield present


def without_decay(groups: list[dict[str, Any]]) -> Setting | None:
    """Return the remedy to drop weight decay, None where there is none (mlp2024, Appendix I.5)."""
    before = [group.get("weight_decay", 0) for group in groups]
    if not any(before):
        return None
    return Setting(
        "no decay",
        "weight_decay",
        (0.0,) * len(groups),
        f"Drop weight decay (it was {_few(before)}): it shrinks the weights, which strengthens condensation.",
    )


def with_momentum(groups: list[dict[str, Any]]) -> Setting | None:
    """Return the remedy to use momentum 0.9, None where there is as much or no such setting (mlp2024, Appendix I.3)."""
    before = [group.get("momentum") for group in groups]
    if any(value is None for value in before) or min(value or 0.0 for value in before) >= MOMENTUM:
        return None
    values = tuple(max(value or 0.0, MOMENTUM) for value in before)
    return Setting("momentum", "momentum", values, f"Use momentum {MOMENTUM:g} (it was {_few(before)}).")


def with_rate(groups: list[dict[str, Any]], factor: float) -> Setting:
    """Return the remedy to multiply the learning rate; a scheduler that sets it anew undoes it."""
    before = [float(group["lr"]) for group in groups]
    values = tuple(value * factor for value in before)
    kind = "larger" if factor > 1 else "smaller"
    words = f"Use a learning rate of {_few(values)} (it was {_few(before)})."
    return Setting(f"{kind} steps", "lr", values, words, factor)


def with_phase_norm(model: nn.Module) -> PutPhaseNorm | None:
    """Return the remedy to put phase norm after every hidden layer that can have one, None if norms are inside."""
    if any(isinstance(module, _NORMS) for module in model.modules()):
        return None
    layers = normable_layers(model)
    return PutPhaseNorm(layers) if layers else None


def _few(values: Any) -> str:
    distinct = list(dict.fromkeys(values))
    return ", ".join(f"{value:g}" for value in distinct[:3]) + (", …" if len(distinct) > 3 else "")
