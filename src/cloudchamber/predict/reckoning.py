"""The numbers that decide whether a network leaves its plateau: two clocks, and how far a step overshoots."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from cloudchamber.anatomy.batch import tensors_of
from cloudchamber.predict.curvature import largest_curvature
from cloudchamber.predict.growth import Layers, Plateau, plateau
from cloudchamber.predict.layer_start import LayerStart, Start
from cloudchamber.predict.replica import Replica
from cloudchamber.predict.thresholds import DROP
from cloudchamber.predict.update_rule import ParameterRule, UpdateRule

Structure = Literal["chain", "batch normalized", "sample normalized", "branched"]

_SCALE_FREE = 1e-3
_IN_CHAIN = 0.3
_COUPLED = 1e-6
_SMALL_PART = 0.1


@dataclass(frozen=True)
class Reckoning:
    """What a network and its optimizer amount to.

    Attributes:
        structure: "chain" if the outputs grow with every layer, "batch normalized" if samples change each other's
            outputs, "sample normalized" if at least half of the hidden layers have a scale that does not matter, else
            "branched".
        constant_loss: of the best constant output.
        loss: at the initialization.
        drop: how far it has to fall: to `1 − DROP` of the constant's, by `DROP` of it at least.
        spread: how far the outputs of different samples lie apart, `(E ‖f − E f‖²)^½`.
        target: the spread at which the loss has left, if outputs follow the residuals: `DROP L_const / ‖r‖`.
        layers: what was integrated.
        plateau: when the loss leaves, in steps at full velocity, and how the layers have grown by then.
        linear_steps: the same if no gradient grew.
        full_steps: what the planned updates are worth in steps at full velocity.
        steps: the planned updates.
        curvature: the largest eigenvalue of the Gauss–Newton matrix at the initialization.
        end_scale: by which factor all weights have to grow until outputs spread as `target`.
        end_curvature: the curvature there.
        full_rate: η(1 − dampening)/(1 − μ), the largest of all groups.
        tested: whether it is of the kind that the verdict was tested on: fully connected, for classes.
        drowned: whether Adam divides the gradient together with an L2 term that is not small beside it.
    """

    structure: Structure
    constant_loss: float
    loss: float
    drop: float
    spread: float
    target: float
    layers: Layers
    plateau: Plateau
    linear_steps: float
    full_steps: float
    steps: int
    curvature: float
    end_scale: float
    end_curvature: float
    full_rate: float
    tested: bool
    drowned: bool

    @property
    def score(self) -> float:
        """Steps over t*."""
        return self.full_steps / self.plateau.steps

    @property
    def linear_score(self) -> float:
        """Steps over the time that it takes if gradients stay as they are and nothing decays."""
        return self.full_steps / self.linear_steps

    @property
    def starts_at_zero(self) -> bool:
        """Whether weights that have a gradient, or all outputs, start from zero, so that no growth follows."""
        still = (self.layers.gains == 0) & (self.layers.gradients > 0)
        return bool(still.any()) or (self.spread == 0 and bool((self.layers.gradients > 0).any()))

    @property
    def overshoot(self) -> float:
        """`η λ/(2(1 − μ))` at the end of the plateau."""
        return self.full_rate * self.end_curvature / 2

    @property
    def depth_overshoot(self) -> float:
        """`η λ/(2(1 − μ)) · (L · target/spread)²` at the initialization."""
        reach = len(self.layers.gains) * self.target / self.spread if self.spread > 0 else math.inf
        return self.full_rate * self.curvature / 2 * reach**2

    def updates(self, share: float = 1.0) -> float:
        """Return the number of updates that `share` of t* takes, the first ones without full velocity."""
        return share * self.plateau.steps + (self.steps - self.full_steps)


def reckon(
    replica: Replica, start: Start, rule: UpdateRule, steps: int, constant_loss: float, classes: int
) -> Reckoning:
    """Measure what the verdict needs, at the initialization and, scaled up, at the end of the plateau.

    Args:
        replica: the model with its probe.
        start: the same, measured.
        rule: of the optimizer.
        steps: the planned updates.
        constant_loss: of the best constant output.
        classes: their number, 0 for values.
    """
    layers = layers_of(start, rule)
    target = DROP * constant_loss / start.residual if start.residual > 0 else math.inf
    loss = start.first_pass.loss / len(start.outputs)
    drop = max(DROP * constant_loss, loss - (1 - DROP) * constant_loss)
    known = drop > 0 and math.isfinite(drop) and rule.kind != "other"
    found = plateau(layers, drop) if known else Plateau(math.nan, np.ones(len(layers.gains)))
    weights = {name: one.lr / rule.lr for name, one in rule.parameters.items() if one.lr > 0} if rule.lr else {}
    scale = replica.scale_for(target) if math.isfinite(target) else math.nan
    end = math.nan
    if math.isfinite(scale):
        with replica.scaled(scale):
            end = largest_curvature(replica, weights)
    return Reckoning(
        structure=_structure(replica, start),
        constant_loss=constant_loss,
        loss=loss,
        drop=drop,
        spread=start.spread,
        target=target,
        layers=layers,
        plateau=found,
        linear_steps=_linear_steps(layers, drop) if known else math.nan,
        full_steps=rule.full_steps(steps),
        steps=steps,
        curvature=largest_curvature(replica, weights),
        end_scale=scale,
        end_curvature=end,
        full_rate=rule.full_rate,
        tested=classes > 0 and all(one.view.layer_type == "Linear" and len(one.keys) == 1 for one in start.layers),
        drowned=rule.kind == "adam" and not rule.decoupled and _drowned(start, rule),
    )


def layers_of(start: Start, rule: UpdateRule) -> Layers:
    """Return the layers as the growth needs them, with the optimizer's steps."""
    own = [_own_rule(layer, rule) for layer in start.layers]
    array = {name: np.array([getattr(layer, name) for layer in start.layers]) for name in _TAKEN}
    entries = np.array([math.sqrt(layer.view.width * layer.view.fan_in) for layer in start.layers])
    adaptive = rule.kind == "adam"
    decays = [one.decay * (one.lr if adaptive else one.full_rate) for one in own]
    return Layers(
        gains=array["gain"],
        gradients=array["gradient"],
        lengths=array["gradient_length"],
        exponents=np.clip(np.nan_to_num(array["exponent"]), 0.0, None),
        rates=np.array([one.lr if adaptive else one.full_rate for one in own]),
        decays=np.array(decays if rule.decoupled or not adaptive else [0.0] * len(own)),
        sizes=array["gradient_length"] / entries if adaptive else None,
    )


_TAKEN = ("gain", "gradient", "gradient_length", "exponent")


def _own_rule(layer: LayerStart, rule: UpdateRule) -> ParameterRule:
    """The rule of a layer's weight: of the matrices of its module, the one with the largest rate."""
    prefix = "" if layer.view.module.startswith("(") else f"{layer.view.module}."
    mine = [one for name, one in rule.parameters.items() if name.startswith(prefix) and not name.endswith("bias")]
    return max(mine, key=lambda one: one.lr, default=ParameterRule(0.0))


def _drowned(start: Start, rule: UpdateRule) -> bool:
    pairs = [(_own_rule(layer, rule).decay * layer.weight_length, layer.gradient_length) for layer in start.layers]
    return any(decay > _SMALL_PART * gradient for decay, gradient in pairs)


def _linear_steps(layers: Layers, drop: float) -> float:
    speed = float(layers.steps(np.ones(len(layers.gains))) @ layers.lengths**2)
    return drop / speed if speed > 0 else math.inf


def _structure(replica: Replica, start: Start) -> Structure:
    if _couples_samples(replica, start.outputs):
        return "batch normalized"
    exponents = np.array([layer.exponent for layer in start.layers])
    free = np.abs(exponents) < _SCALE_FREE
    if len(free) > 1 and free[:-1].mean() >= 0.5:
        return "sample normalized"
    return "chain" if bool((exponents > _IN_CHAIN).all()) else "branched"


def _couples_samples(replica: Replica, outputs: Tensor) -> bool:
    """Whether outputs of some samples change when the others are left out."""
    half = (len(outputs) + 1) // 2
    part = pytree.tree_map_only(Tensor, lambda tensor: tensor[:half], replica.inputs)
    if len(tensors_of(part)[0]) == len(outputs):
        return False
    with torch.no_grad():
        alone = replace(replica, inputs=part).outputs()
    difference = float((alone - outputs[:half]).abs().max())
    size = max(float((outputs - outputs.mean(0)).abs().max()), float(outputs.abs().max()) * 1e-3)
    return difference > _COUPLED * size * (1e3 if outputs.dtype != torch.float64 else 1.0)
