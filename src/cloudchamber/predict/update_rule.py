"""What an optimizer does with a gradient: the step sizes that a prediction needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from cloudchamber._core.errors import InvalidInput, require

Kind = Literal["sgd", "adam", "other"]


@dataclass(frozen=True)
class ParameterRule:
    """What one parameter's group says.

    Attributes:
        lr: the learning rate.
        decay: weight decay: by which part of itself, times lr, a weight shrinks per unit of gradient step.
        momentum: μ (SGD) or β₁ (Adam).
        dampening: of SGD's momentum.
        nesterov: of SGD's momentum.
    """

    lr: float
    decay: float = 0.0
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    @property
    def full_rate(self) -> float:
        """The rate once the velocity has built up: `η(1 − dampening)/(1 − μ)`."""
        return self.lr * (1 - self.dampening) / (1 - self.momentum)


@dataclass(frozen=True)
class UpdateRule:
    """An optimizer, as far as a prediction needs it.

    Attributes:
        kind: "sgd"; "adam" if steps are divided by the gradient's own size; "other" if nothing is known about it.
        name: the class.
        parameters: by qualified name, the trainable parameters that it moves.
        unmoved: names of trainable parameters that it does not hold.
        decoupled: whether the decay acts beside the gradient (AdamW) instead of within it.
    """

    kind: Kind
    name: str
    parameters: Mapping[str, ParameterRule]
    unmoved: tuple[str, ...] = ()
    decoupled: bool = False

    @property
    def momentum(self) -> float:
        """The largest momentum of all groups."""
        return max((rule.momentum for rule in self.parameters.values()), default=0.0)

    @property
    def lr(self) -> float:
        """The largest learning rate of all groups."""
        return max((rule.lr for rule in self.parameters.values()), default=0.0)

    @property
    def full_rate(self) -> float:
        """The largest rate of all groups once velocities have built up; Adam's steps do not build up."""
        rules = self.parameters.values()
        return max((rule.full_rate if self.kind == "sgd" else rule.lr for rule in rules), default=0.0)

    def full_steps(self, steps: int) -> float:
        """Return how many steps at full velocity `steps` updates from rest are worth.

        `T − μ(1 − μ^T)/(1 − μ)`: a constant gradient moves a weight by `η(1−d)/(1−μ)` times this.

        >>> UpdateRule("sgd", "SGD", {"w": ParameterRule(0.1, momentum=0.5)}).full_steps(2)  # 1·½ + 1.5·½
        1.25
        """
        m = self.momentum if self.kind == "sgd" else 0.0
        return steps - m * (1 - m**steps) / (1 - m)


_ADAPTIVE = ("Adam", "AdamW", "NAdam", "RAdam", "RMSprop")


def update_rule(model: nn.Module, optimizer: torch.optim.Optimizer) -> UpdateRule:
    """Read an optimizer.

    Raises:
        InvalidInput: if it holds none of the model's trainable parameters, maximizes, or a setting makes no sense.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters() if parameter.requires_grad}
    held: dict[str, Mapping[str, Any]] = {}
    for group in optimizer.param_groups:
        held |= {names[id(parameter)]: group for parameter in group["params"] if id(parameter) in names}
    require(
        bool(held),
        "`optimizer` holds parameters of the model",
        "none of them, or none that is trainable",
        "make it with `model.parameters()`, and pass the model itself",
    )
    maximizing = any(group.get("maximize", False) for group in held.values())
    require(not maximizing, "the loss is minimized", "maximize=True", "negate the loss")
    unmoved = tuple(name for name in names.values() if name not in held)
    rules = {name: _rule(group) for name, group in held.items()}
    first = next(iter(held.values()))
    name = type(optimizer).__name__
    return UpdateRule(_kind(optimizer), name, rules, unmoved, _decoupled(name, first))


def _kind(optimizer: torch.optim.Optimizer) -> Kind:
    if isinstance(optimizer, torch.optim.SGD):
        return "sgd"
    known = tuple(getattr(torch.optim, name) for name in _ADAPTIVE)
    return "adam" if isinstance(optimizer, known) else "other"


def _decoupled(name: str, group: Mapping[str, Any]) -> bool:
    return name == "AdamW" or bool(group.get("decoupled_weight_decay", False))


def _rule(group: Mapping[str, Any]) -> ParameterRule:
    betas = group.get("betas", (0.0, 0.0))
    rule = ParameterRule(
        lr=float(group.get("lr", math.nan)),
        decay=float(group.get("weight_decay", 0.0)),
        momentum=float(group.get("momentum", 0.0) or betas[0]),
        dampening=float(group.get("dampening", 0.0)),
        nesterov=bool(group.get("nesterov", False)),
    )
    sensible = rule.lr >= 0 and math.isfinite(rule.lr) and rule.decay >= 0 and 0 <= rule.momentum < 1
    if not sensible:
        raise InvalidInput(
            f"an optimizer has a learning rate and a weight decay of 0 or more and a momentum below 1; got {rule}. "
            "Remedy: correct its settings."
        )
    return rule
