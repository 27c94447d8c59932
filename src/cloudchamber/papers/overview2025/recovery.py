"""Section 7.1's networks: wide ones learn from few samples what a narrow one computes, from a small initialization."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from cloudchamber._core.seeding import derive_seed, generator
from cloudchamber.models import activation
from cloudchamber.training import SGD, LossBelow, train_ensemble

_TESTS = 1000
_NORM = 1.5
"""of the input weights of the target's neurons"""


def parameters(neurons: int, inputs: int) -> int:
    """Return the parameter count of `Σ a_k σ(w_k·x)`: the optimistic sample size of what it represents.

    Source: overview2025, Section 7.1; Zhang et al., Optimistic estimate (2023).

    >>> parameters(2, 5)
    12
    """
    return neurons * (inputs + 1)


def recovered(
    folder: Path,  # noqa: ARG001 - nothing is kept on the way
    *,
    function: Literal["tanh", "xtanh"],
    neurons: int,
    width: int,
    inputs: int,
    samples: Sequence[int],
    std: float,
    lr: float,
    steps: int,
    groups: int,
    trials: int,
) -> xr.Dataset:
    """Train networks on n samples of a target by gradient descent, each trial with a target and samples of its own.

    Target: `Σ_k ± σ(w_k·x)`, signs in turn, ‖w_k‖ = 1.5, its directions and x ~ N(0, I) drawn anew in every trial;
    for more samples, those of fewer and others.

    Args:
        folder: of the study.
        function: σ.
        neurons: of the target.
        width: of the networks, which have no biases either.
        inputs: d.
        samples: every n.
        std: of all initial weights.
        lr: of gradient descent on all samples, mean squared error.
        steps: updates at most; a network stops at a loss of 1e-8.
        groups: in each of which a threshold is looked for, so that its spread is known.
        trials: of each group.

    Returns:
        `error` (samples, group, trial): mean squared error on 1000 other x, over the target's mean square;
        `train_loss` likewise.
    """
    cases = [_Case(function, neurons, width, inputs, std, max(samples), trial) for trial in range(groups * trials)]
    found = [_trained([case.first(count) for case in cases], cases, lr, steps) for count in samples]
    shape = (len(samples), groups, trials)
    variables = {
        name: (("samples", "group", "trial"), np.array([one[place] for one in found]).reshape(shape))
        for place, name in enumerate(("error", "train_loss"))
    }
    return xr.Dataset(variables, {"samples": list(samples)})


class _Case:
    """A trial: target, samples, tests, and the network as it starts."""

    def __init__(
        self,
        function: Literal["tanh", "xtanh"],
        neurons: int,
        width: int,
        inputs: int,
        std: float,
        most: int,
        trial: int,
    ) -> None:
        random = generator(trial, "overview2025", "section7.1", neurons)
        inward = torch.randn(neurons, inputs, generator=random)
        inward = _NORM * inward / inward.norm(dim=1, keepdim=True)
        target = _network(function, inward, torch.tensor([(-1.0) ** k for k in range(neurons)]))
        with torch.no_grad():
            self.tests = torch.randn(_TESTS, inputs, generator=random)
            self.truth = target(self.tests)
            self.x = torch.randn(most, inputs, generator=random)
            self.y = target(self.x)
        start = generator(derive_seed(trial, "section7.1", width), "start")
        self.model = _network(
            function, std * torch.randn(width, inputs, generator=start), std * torch.randn(width, generator=start)
        )

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """Return so many samples."""
        return self.x[:count].clone(), self.y[:count].clone()

    @torch.no_grad()
    def error(self, model: nn.Module) -> float:
        """Return the relative error of a network."""
        return float((model(self.tests) - self.truth).square().mean() / self.truth.square().mean())


def _network(
    function: Literal["tanh", "xtanh"], inward: Float[Tensor, "h d"], outward: Float[Tensor, " h"]
) -> nn.Sequential:
    width, inputs = inward.shape
    chain = nn.Sequential(nn.Linear(inputs, width, bias=False), activation(function), nn.Linear(width, 1, bias=False))
    with torch.no_grad():
        for place, value in zip(chain.parameters(), (inward, outward[None]), strict=True):
            place.copy_(value)
    return chain


def _trained(
    data: Sequence[tuple[Tensor, Tensor]], cases: Sequence[_Case], lr: float, steps: int
) -> tuple[list[float], list[float]]:
    stack = train_ensemble(
        [case.model for case in cases],
        data,
        loss="mse",
        optimizer=SGD(lr=lr),
        steps=steps,
        stop=LossBelow(1e-8),
        losses_every=steps,
        compile=False,
    )
    return [case.error(stack.member(k)) for k, case in enumerate(cases)], stack.loss.tolist()


def threshold(found: xr.Dataset, tolerance: float) -> list[float]:
    """Return of each group the fewest samples from which on most trials have an error of at most this; else infinity.

    >>> error = ("samples", "group", "trial"), np.array([[[1.0, 0.001]], [[0.001, 0.002]]])
    >>> threshold(xr.Dataset({"error": error}, {"samples": [6, 12]}), 0.01)
    [12.0]
    """
    most = ((found.error <= tolerance).mean("trial") > 0.5).values
    from_here = np.logical_and.accumulate(most[::-1])[::-1]
    first = np.where(from_here, found.samples.values[:, None].astype(float), np.inf)
    return first.min(0).tolist()
