"""Two-layer networks of one input, trained with dropout, its explicit regularizer, or neither, as one stack."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.seeding import generator

KINDS = ("dropout", "regularizer", "none")
"""What acts on the hidden neurons, in the order in which networks are stacked."""
ActivationName = Literal["tanh", "relu"]
DEGREES = 5.0
"""within which two orientations are one"""
_TARGETS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda x: (x - 6).tanh() + (x + 6).tanh(),
    "relu": lambda x: (-x - 1 / 3).relu() / 2 + (x - 1 / 3).relu() / 2,
}
SPANS = {"tanh": 10.0, "relu": 2.0}
"""The samples are even in ± this."""


@dataclass(frozen=True)
class Stack:
    """K networks `f = Σ_j a_j σ(w_j x + b_j)` in one batched operation: the first with dropout, the next penalized.

    Attributes:
        activation: σ.
        x: (n,).
        y: (n,), the targets.
        keep: p, the chance of a neuron to stay.
        dropped: how many networks have dropout.
        penalized: how many have R₁ in its place.
    """

    activation: ActivationName
    x: Float[Tensor, " n"]
    y: Float[Tensor, " n"]
    keep: float
    dropped: int
    penalized: int

    def hidden(self, parameters: Float[Tensor, "k 3 m"]) -> Float[Tensor, "k n m"]:
        """Return σ(w_j x_i + b_j); parameters are (w, b, a)."""
        before = torch.addcmul(parameters[:, 1, None], self.x[:, None], parameters[:, 0, None])
        return before.tanh_() if self.activation == "tanh" else before.relu_()

    def losses(self, parameters: Float[Tensor, "k 3 m"]) -> Float[Tensor, " k"]:
        """Return `1/2n Σ (f − y)²` of whole networks."""
        return self._errors(self.hidden(parameters), parameters[:, 2]).square().mean(1) / 2

    def mask(self, width: int, random: torch.Generator) -> Float[Tensor, "d n m"]:
        """Draw what hidden neurons are multiplied with in networks with dropout: 1/p with chance p, else 0."""
        drawn = torch.rand(self.dropped, len(self.x), width, generator=random, dtype=self.x.dtype)
        return drawn.lt_(self.keep).mul_(1 / self.keep)

    def gradient(
        self, parameters: Float[Tensor, "k 3 m"], mask: Float[Tensor, "d n m"], out: Float[Tensor, "k 3 m"]
    ) -> None:
        """Write the gradient of each network's objective.

        `1/2n Σ_i (f(x_i) − y_i)²`, with f's neurons masked where there is dropout; where there is R₁ in its place, plus
        `(1−p)/(2np) Σ_i Σ_j (a_j σ(w_j x_i + b_j))²`, which is what dropout adds to the loss on average.

        Source: overview2025, Section 6.3; Zhang and Xu, Implicit regularization of dropout (2024), R₁.
        """
        hidden, output, n = self.hidden(parameters), parameters[:, 2], len(self.x)
        seen = hidden.clone()
        seen[: self.dropped].mul_(mask)
        errors = self._errors(seen, output) / n
        torch.bmm(errors[:, None], seen, out=out[:, 2:])
        of_hidden = errors[:, :, None] * output[:, None]
        of_hidden[: self.dropped].mul_(mask)
        some, rate = slice(self.dropped, self.dropped + self.penalized), (1 - self.keep) / (self.keep * n)
        of_hidden[some].addcmul_(hidden[some], output[some, None].square(), value=rate)
        out[some, 2].addcmul_(output[some], hidden[some].square().sum(1), value=rate)
        if self.activation == "tanh":
            of_hidden.addcmul_(of_hidden * hidden, hidden, value=-1)
        else:
            of_hidden.mul_(hidden > 0)
        torch.matmul(torch.stack([self.x, torch.ones_like(self.x)]), of_hidden, out=out[:, :2])

    def _errors(self, hidden: Float[Tensor, "k n m"], output: Float[Tensor, "k m"]) -> Float[Tensor, "k n"]:
        return torch.bmm(hidden, output[:, :, None])[:, :, 0] - self.y


def effective_orientations(parameters: Float[Tensor, "3 m"], *, signed: bool) -> float:
    """Return on how many orientations the output of a network rests: `1 / Σ_jk p_j p_k [angle(j, k) ≤ 5°]`.

    `p_j` is the share of neuron j in `Σ |a_j| ‖(w_j, b_j)‖`, so that neurons which do nothing do not count: k equally
    strong orientations give k, neurons of random orientation about 180°/10° = 18 lines or 36 directions.

    Args:
        parameters: rows w, b, a.
        signed: False counts lines (an odd activation's neurons (w, b, a) and (−w, −b, −a) are the same).

    >>> w_b_a = torch.tensor([[1.0, 0.0, -2.0], [0.0, 1.0, 0.01], [1.0, 3.0, 1.0]])
    >>> round(effective_orientations(w_b_a, signed=False), 3)
    2.0
    """
    inward, output = parameters[:2].double(), parameters[2].double()
    lengths = inward.norm(dim=0)
    shares = output.abs() * lengths
    shares = shares / shares.sum()
    cosines = (inward / lengths).T @ (inward / lengths)
    near = (cosines if signed else cosines.abs()) >= math.cos(math.radians(DEGREES))
    return float(1 / (shares @ near.to(shares) @ shares))


@torch.no_grad()
def trained(
    folder: Path,  # noqa: ARG001 - nothing is kept on the way
    *,
    activation: ActivationName,
    ways: Sequence[tuple[str, float]],
    width: int,
    samples: int,
    optimizer: Literal["adam", "gd"],
    lr: float,
    keep: float,
    steps: int,
    looks: int,
    seed: int,
) -> xr.Dataset:
    """Train a network in each way on all samples, all from the same random numbers but for their size.

    Args:
        folder: of the study.
        activation: σ, which sets the target too.
        ways: of `KINDS`, and γ of the start: all parameters are N(0, 1/m^γ), a *variance*.
        width: m.
        samples: n.
        optimizer: Adam, or gradient descent.
        lr: learning rate.
        keep: p of dropout and of R₁.
        steps: updates.
        looks: how often is looked on the way, at steps that grow evenly in their logarithm.
        seed: of start and dropout.

    Returns:
        `loss` and `orientations` (way, step); `parameters` (way, end, row, neuron) at start and end; `loss_of_zero`.

    Raises:
        InvalidInput: if the ways are not in the order of `KINDS`.
    """
    order = [KINDS.index(kind) for kind, _ in ways]
    require(order == sorted(order), f"ways are in the order of {KINDS}", [kind for kind, _ in ways], "sort them")
    stack = _stack(activation, [kind for kind, _ in ways], samples, keep)
    drawn = torch.randn(3, width, generator=generator(seed, "overview2025", "dropout", "start"))
    start = torch.stack([drawn * width ** (-exponent / 2) for _, exponent in ways])
    random = generator(seed, "overview2025", "dropout", "mask")
    at = sorted({0, *np.geomspace(min(10, steps), steps, looks).astype(int).tolist()})
    end, seen = _train(stack, start, _optimizer(optimizer, lr), at, random)
    names = [f"{kind}, γ = {exponent:g}" for kind, exponent in ways]
    return xr.Dataset(
        {
            "loss": (("way", "step"), np.stack([losses for losses, _ in seen], 1)),
            "orientations": (("way", "step"), np.stack([counts for _, counts in seen], 1)),
            "parameters": (("way", "end", "row", "neuron"), torch.stack([start, end], 1).numpy()),
            "loss_of_zero": float(stack.y.square().mean() / 2),
        },
        {"way": names, "step": at, "end": ["start", "end"], "row": ["w", "b", "a"]},
    )


def _stack(activation: ActivationName, kinds: Sequence[str], samples: int, keep: float) -> Stack:
    x = torch.linspace(-SPANS[activation], SPANS[activation], samples)
    return Stack(activation, x, _TARGETS[activation](x), keep, kinds.count("dropout"), kinds.count("regularizer"))


def _optimizer(name: str, lr: float) -> Callable[[Tensor], torch.optim.Optimizer]:
    if name == "adam":
        return lambda flat: torch.optim.Adam([flat], lr=lr, fused=True)
    return lambda flat: torch.optim.SGD([flat], lr=lr)


def _train(
    stack: Stack,
    start: Float[Tensor, "k 3 m"],
    make: Callable[[Tensor], torch.optim.Optimizer],
    at: Sequence[int],
    random: torch.Generator,
) -> tuple[Float[Tensor, "k 3 m"], list[tuple[np.ndarray, np.ndarray]]]:
    now = start.clone()
    now.grad = torch.empty_like(now)
    optimizer = make(now)
    seen = [_seen(stack, now)]
    for step in range(1, at[-1] + 1):
        stack.gradient(now, stack.mask(now.shape[2], random), now.grad)
        optimizer.step()
        if step == at[len(seen)]:
            seen.append(_seen(stack, now))
    return now, seen


def _seen(stack: Stack, parameters: Float[Tensor, "k 3 m"]) -> tuple[np.ndarray, np.ndarray]:
    counts = [effective_orientations(one, signed=stack.activation == "relu") for one in parameters]
    return stack.losses(parameters).numpy(), np.array(counts)


def first_below(found: xr.Dataset, way: str, share: float) -> float:
    """Return the first step looked at with a loss of at most a share of the zero function's; infinity if none."""
    below = found.loss.sel(way=way).values <= share * float(found.loss_of_zero)
    return float(found.step.values[below.argmax()]) if below.any() else math.inf
