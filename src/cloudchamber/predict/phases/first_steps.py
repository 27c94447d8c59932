"""The first steps of training, on a copy: how far loss, kernel and layers have moved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cloudchamber.measures import kernel_drift
from cloudchamber.predict.phases.kernels import Loss, RateKernel
from cloudchamber.predict.phases.mechanism import PairChange, pair_changes
from cloudchamber.predict.phases.twin import Twin
from cloudchamber.training.ensemble.dense.chain import DenseChain, dense_chain

Batches = Callable[[int], tuple[Tensor, Tensor]]
_LOOK = 5
"""updates between two looks at the probe's loss"""
_RUN_AWAY = 100.0
"""times the first loss, at which there is no use in going on"""


@dataclass(frozen=True)
class FirstSteps:
    """What the first updates did.

    Attributes:
        steps: updates applied.
        losses: on the probe, every fifth update from 0, and at the end.
        kernel_drift: `‖K − K₀‖/‖K₀‖`, K weighted by the learning rates.
        kernel_rotation: `1 − cos(K, K₀)`: without what is only a change of size.
        pairs: consecutive layers of a chain of linear layers; none for other networks.
    """

    steps: int
    losses: tuple[float, ...]
    kernel_drift: float
    kernel_rotation: float
    pairs: tuple[PairChange, ...]

    @property
    def learned(self) -> float:
        """The part of the first loss that is gone; NaN if the loss is no number."""
        return 1 - self.losses[-1] / self.losses[0]

    @property
    def highest(self) -> float:
        """The highest loss over the first; infinite if one was no number."""
        highest = max(loss if math.isfinite(loss) else math.inf for loss in self.losses)
        return highest / self.losses[0]


def first_steps(
    twin: Twin, probe: tuple[Tensor, Tensor], loss: Loss, batches: Batches, kernel: RateKernel, steps: int, until: float
) -> FirstSteps:
    """Train the copy until the probe's loss is a part of the first one, or for so many steps.

    Args:
        twin: model and optimizer; they are changed.
        probe: inputs and targets.
        loss: of outputs and targets.
        batches: of each update, from 1.
        kernel: what the kernel is taken of.
        steps: at most.
        until: the part of the first loss.
    """
    model, names = twin.model, chain_weights(twin.model)
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    first = kernel(model)
    losses = [_probe_loss(model, probe, loss)]
    step = 0
    for step in range(1, steps + 1):
        inputs, targets = batches(step)
        twin.optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        twin.optimizer.step()
        if step % _LOOK == 0 or step == steps:
            losses.append(_probe_loss(model, probe, loss))
            if not until * losses[0] < losses[-1] < _RUN_AWAY * losses[0]:
                break
    end = dict(model.named_parameters())
    finite = math.isfinite(losses[-1]) and all(bool(value.isfinite().all()) for value in end.values())
    drift = kernel_drift(kernel(model), first) if finite else None
    return FirstSteps(
        steps=step,
        losses=tuple(losses),
        kernel_drift=math.inf if drift is None else float(drift.distance),
        kernel_rotation=math.nan if drift is None else float(drift.rotation),
        pairs=pair_changes(names, start, {name: end[name].detach() for name in names}) if finite else (),
    )


def chain_weights(model: nn.Module) -> list[str]:
    """Return the names of the weights of a chain of linear layers, from the input on; none if it is no chain."""
    chain = dense_chain(model)
    return [stage.weight for stage in chain.affine] if isinstance(chain, DenseChain) else []


@torch.no_grad()
def _probe_loss(model: nn.Module, probe: tuple[Tensor, Tensor], loss: Loss) -> float:
    return float(loss(model(probe[0]), probe[1]).mean())
