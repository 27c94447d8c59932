"""Remedies: what may free a run that is stuck, each by itself, and how invasive it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from cloudchamber.interventions import PhaseNormConfig, XavierNormalConfig, initialize, insert_norms


@runtime_checkable
class Remedy(Protocol):
    """Something that can be done to a model and its optimizer."""

    @property
    def name(self) -> str:
        """Its stable name."""
        ...

    @property
    def words(self) -> str:
        """What it does, with its numbers, as an imperative sentence."""
        ...

    def apply(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Do it, in place."""
        ...


@dataclass(frozen=True)
class Setting:
    """Another value of one of the optimizer's settings, in every group; the model stays as it is.

    Attributes:
        name: of the remedy ("momentum").
        key: of the setting in the optimizer's groups ("lr").
        values: one for each group.
        words: what it does.
        factor: by what the settings of before are multiplied; None where they are replaced.

    >>> sgd = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    >>> Setting("momentum", "momentum", (0.9,), "Use momentum 0.9.").apply(nn.Linear(2, 1), sgd)
    >>> sgd.param_groups[0]["momentum"]
    0.9
    """

    name: str
    key: str
    values: tuple[Any, ...]
    words: str
    factor: float | None = None

    def of_one_rate(self, before: Any) -> Any:
        """Return the value for a group that had `before`; the groups of one recipe differ by constant factors."""
        return self.values[0] if self.factor is None else before * self.factor

    def apply(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:  # noqa: ARG002 - as every remedy
        """Set it."""
        for group, value in zip(optimizer.param_groups, self.values, strict=True):
            group[self.key] = value


@dataclass(frozen=True)
class PutPhaseNorm:
    """Phase norm after some layers, before their activations: as batch norm in the first phase, constants afterwards.

    Attributes:
        layers: the names of the layers.

    Source: mlp2024, Appendix K.
    """

    layers: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return "phase norm"

    @property
    def words(self) -> str:
        """Where."""
        few = self.layers if len(self.layers) <= 4 else (*self.layers[:2], "…", self.layers[-1])
        return f"Put phase norm after {len(self.layers)} layers, before their activations ({', '.join(few)})."

    def apply(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Insert it; the optimizer forgets its averages, which are those of other gradients."""
        insert_norms(model, PhaseNormConfig(after=list(self.layers)))
        optimizer.state.clear()


@dataclass(frozen=True)
class Redraw:
    """All weights drawn anew, larger: what was learned is lost.

    Source: mlp2024, Appendix C (the paper's stuck networks trained with variance scale 1).
    """

    variance_scale: float = 1.0
    seed: int = 0

    @property
    def name(self) -> str:
        """Its name."""
        return "redraw"

    @property
    def words(self) -> str:
        """From what."""
        return f"Draw all weights anew, Xavier with variance scale {self.variance_scale:g}: what was learned is lost."

    def apply(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Draw them; the optimizer forgets its averages."""
        initialize(model, XavierNormalConfig(variance_scale=self.variance_scale), self.seed)
        optimizer.state.clear()
