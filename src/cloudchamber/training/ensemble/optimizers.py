"""SGD and Adam for stacked members, every number for all members, for each, or for each layer: pure tensor code."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.training.ensemble.layout import Flat, Layout
from cloudchamber.training.ensemble.numbers import Number, Numbers, Range, some_numbers, table

State = dict[str, Tensor]
"""What an optimizer holds, first axis the members (or 1: the same for all): its numbers, and what it remembers."""

_RATE = Range(0.0, torch.inf, "finite and at least 0")
_FRACTION = Range(0.0, 1.0, "at least 0 and below 1")

# What `torch.optim` calls with fused=True; a version of torch without it takes the operations one by one.
_FUSED = {False: getattr(torch, "_fused_adam_", None), True: getattr(torch, "_fused_adamw_", None)}


_O = TypeVar("_O", bound="Optimizer")
_N = TypeVar("_N", bound="_WithNumbers")


@runtime_checkable
class Optimizer(Protocol):
    """Updates all members in place."""

    def some(self: _O, chosen: Int[Tensor, " k"], members: int) -> _O:
        """Return it with the numbers of some of all members.

        Raises:
            InvalidInput: if a number is for another number of members.
        """
        ...

    def state(self, flat: Flat, layout: Layout) -> State:
        """Return the state before the first update.

        Raises:
            InvalidInput: if a number is out of its range, names no parameter, or is not for as many members.
        """
        ...

    def update(self, flat: Flat, gradient: Flat, state: State, step: Float[Tensor, ""]) -> None:
        """Apply update number `step` (from 1; a float64 tensor, so that a compiled step need not be compiled anew).

        `flat` and `state` change in place; `gradient` is used up.
        """
        ...


@dataclass(frozen=True)
class _WithNumbers:
    """What optimizers have in common: fields that are numbers, or flags."""

    def some(self: _N, chosen: Int[Tensor, " k"], members: int) -> _N:
        """Return it with the numbers of some of all members."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(self, **{name: some_numbers(name, value, chosen, members) for name, value in values.items()})


@dataclass(frozen=True)
class SGD(_WithNumbers):
    """Gradient descent, as `torch.optim.SGD`.

    Equation: `v ← momentum·v + ∇L + weight_decay·W`, `W ← W − lr·v`; with `nesterov`, `W ← W − lr·(∇L + momentum·v)`.

    Attributes:
        lr: one number, one per member (K,), or either by name of a parameter or module; "*" names all others.
        momentum: the same.
        weight_decay: the same.
        nesterov: whether the gradient is corrected by the momentum.

    Source: torch.optim.SGD.

    >>> SGD(lr={"linear1": torch.tensor([0.1, 0.2]), "*": 0.01}, momentum=0.9).nesterov
    False
    """

    lr: Numbers
    momentum: Numbers = 0.0
    weight_decay: Numbers = 0.0
    nesterov: bool = False

    def state(self, flat: Flat, layout: Layout) -> State:
        """Return the state before the first update."""
        rates = {
            "lr": table("lr", self.lr, _RATE, flat, layout),
            "momentum": table("momentum", self.momentum, _FRACTION, flat, layout),
            "weight_decay": table("weight_decay", self.weight_decay, _RATE, flat, layout),
        }
        state = {name: values.to(flat) for name, values in rates.items() if name == "lr" or bool(values.any())}
        require(
            not self.nesterov or "momentum" in state,
            "Nesterov's correction needs a momentum",
            self.momentum,
            "pass momentum=0.9",
        )
        if "momentum" in state:
            state["velocity"] = torch.zeros_like(flat)
        return state

    def update(self, flat: Flat, gradient: Flat, state: State, step: Float[Tensor, ""]) -> None:  # noqa: ARG002
        """Apply an update."""
        if "weight_decay" in state:
            gradient.addcmul_(flat, state["weight_decay"])
        if "momentum" not in state:
            flat.sub_(gradient.mul_(state["lr"]))
            return
        velocity = state["velocity"]
        velocity.mul_(state["momentum"]).add_(gradient)
        if self.nesterov:
            gradient.addcmul_(velocity, state["momentum"])
        else:
            gradient.copy_(velocity)
        flat.sub_(gradient.mul_(state["lr"]))


@dataclass(frozen=True)
class Adam(_WithNumbers):
    """Adam, as `torch.optim.Adam`, or with `decoupled=True` as `torch.optim.AdamW`.

    Equation: `m ← β₁m + (1 − β₁)g`, `v ← β₂v + (1 − β₂)g²`, `W ← W − lr · m̂/(√v̂ + ε)` with `m̂ = m/(1 − β₁ᵗ)`,
    `v̂ = v/(1 − β₂ᵗ)`; g = ∇L + weight_decay·W, or decoupled `W ← (1 − lr·weight_decay)W` before it.

    Attributes:
        lr: one number, one per member (K,), or either by name of a parameter or module; "*" names all others.
        beta1: one number, or one per member.
        beta2: the same.
        eps: the same.
        weight_decay: as `lr`.
        decoupled: whether weights decay apart from the gradient.

    Source: torch.optim.Adam, torch.optim.AdamW.

    >>> Adam(lr=torch.tensor([0.1, 0.01])).beta1
    0.9
    """

    lr: Numbers = 0.001
    beta1: Number = 0.9
    beta2: Number = 0.999
    eps: Number = 1e-8
    weight_decay: Numbers = 0.0
    decoupled: bool = False

    def state(self, flat: Flat, layout: Layout) -> State:
        """Return the state before the first update."""
        lr, decay = (
            table(name, values, _RATE, flat, layout)
            for name, values in (("lr", self.lr), ("weight_decay", self.weight_decay))
        )
        beta1, beta2 = (
            table(name, values, _FRACTION, flat, layout)
            for name, values in (("beta1", self.beta1), ("beta2", self.beta2))
        )
        state = {"lr": lr.to(flat), "eps": table("eps", self.eps, _RATE, flat, layout)}
        # In float64, whatever the parameters are: 1 − 0.999 has three digits less in float32.
        state |= {"beta1": beta1, "beta2": beta2, "weight1": (1 - beta1).to(flat), "weight2": (1 - beta2).to(flat)}
        if bool(decay.any()):
            state |= {"shrink": (1 - lr * decay).to(flat)} if self.decoupled else {"weight_decay": decay.to(flat)}
        return state | {"mean": torch.zeros_like(flat), "square": torch.zeros_like(flat)}

    @property
    def is_alike(self) -> bool:
        """Whether all members and layers have the same numbers."""
        return all(isinstance(getattr(self, item.name), float | int) for item in fields(self))

    def update(self, flat: Flat, gradient: Flat, state: State, step: Float[Tensor, ""]) -> None:
        """Apply an update."""
        fused = _FUSED.get(self.decoupled)
        if fused is not None and self.is_alike and flat.dtype in (torch.float32, torch.float64):
            given = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "decoupled"}
            several = [[flat], [gradient], [state["mean"]], [state["square"]], [], [step.to(torch.float32)]]
            fused(*several, **given, amsgrad=False, maximize=False)
            return
        if "weight_decay" in state:
            gradient.addcmul_(flat, state["weight_decay"])
        if "shrink" in state:
            flat.mul_(state["shrink"])
        mean, square = state["mean"], state["square"]
        mean.lerp_(gradient, state["weight1"])
        square.lerp_(gradient.mul_(gradient), state["weight2"])
        # lr m̂/(√v̂ + ε) = (lr r/(1 − β₁ᵗ)) m/(√v + εr), r = √(1 − β₂ᵗ): two passes over the parameters less.
        root = (1 - state["beta2"] ** step).sqrt()
        scale = (root / (state["beta1"] ** step - 1)).to(flat.dtype)
        torch.sqrt(square, out=gradient)
        gradient.add_((state["eps"] * root).to(flat.dtype))
        torch.div(mean, gradient, out=gradient)
        flat.addcmul_(gradient, state["lr"] * scale)
