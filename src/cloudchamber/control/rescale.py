"""Rescaling: larger weights in the directions that they have, so that outputs of different samples lie apart again."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cloudchamber.anatomy import choose_views, layer_type_of
from cloudchamber.control.samples import Samples

GOAL = 0.3
"""How far apart outputs are brought, in units of how far apart the targets lie."""
LARGEST = 50.0
"""The largest factor of one layer."""
EXACT = 1e-3
"""Relative error up to which outputs count as multiplied by one number."""


@dataclass(frozen=True)
class Rescale:
    """All weight matrices times one number, so that each neuron keeps its direction and only grows.

    Equation: `W_l ← s W_l`, `b_l ← s^l b_l`: a chain of layers with activations that are positively homogeneous (ReLU)
    then computes s^L f, L layers. In other networks the biases stay. The last bias takes back what the mean output has
    moved by, so that the constant that was learned stays as well.

    Attributes:
        factor: s.
        layers: of the chain in their order, by name; empty where biases stay.
        shift: (k,), what is added to the last bias; None where there is none, or none that only shifts.
        spread: how far apart outputs lie before and after, `(E ‖f − E f‖²)^½`.

    Source: mlp2024, Section 3.3 and Appendix C: networks of larger weights have a shorter first phase.
    """

    factor: float
    layers: tuple[str, ...]
    shift: tuple[float, ...] | None
    spread: tuple[float, float]

    @property
    def name(self) -> str:
        """Its name."""
        return "rescale"

    @property
    def words(self) -> str:
        """By what, and what for."""
        kept = "; each neuron keeps its direction" if self.layers else "; biases stay"
        before, after = self.spread
        return (
            f"Multiply all weights by {self.factor:.3g}{kept}: outputs of different samples then lie {after:.2g} apart "
            f"instead of {before:.2g}."
        )

    def apply(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Rescale; the optimizer forgets its averages, which are those of other weights."""
        scale(model, self.factor, self.layers)
        last = _last_bias(model)
        if self.shift is not None and last is not None:
            with torch.no_grad():
                last.add_(torch.tensor(self.shift, dtype=torch.float64).to(last))
        optimizer.state.clear()


def rescaled(model: nn.Module, samples: Samples) -> Rescale | None:
    """Return the rescaling after which outputs lie `GOAL` times as far apart as targets.

    Args:
        model: stays as it is.
        samples: on which outputs are compared.

    Returns:
        None where no factor up to `LARGEST` does, or none is needed.
    """
    goal = GOAL * samples.target_spread
    return _brought_to(goal, model, samples) if 0 < spread(samples.outputs(model)) < goal else None


def shrunk(model: nn.Module, samples: Samples) -> Rescale | None:
    """Return the rescaling to smaller weights after which outputs lie only `GOAL` times as far apart as targets.

    Features then have to grow from small outputs, as in the condensed regime. Arguments as `rescaled`; None where
    outputs are that near already.

    Source: overview2025, Section 5: smaller initial weights leave the linear regime.
    """
    goal = GOAL * samples.target_spread
    return _brought_to(goal, model, samples) if spread(samples.outputs(model)) > goal else None


def _brought_to(goal: float, model: nn.Module, samples: Samples) -> Rescale | None:
    tried, layers = copy.deepcopy(model), _chain(model, samples)
    before, factor = samples.outputs(tried), _factor(model, samples, layers, goal)
    if factor is None:
        return None
    scale(tried, factor, layers)
    after = samples.outputs(tried)
    return Rescale(factor, layers, _shift(tried, samples, before, after), (spread(before), spread(after)))


def scale(model: nn.Module, factor: float, layers: Sequence[str] = ()) -> None:
    """Multiply all weight matrices, kernels and embeddings by a number, and biases of a chain by its powers.

    >>> layer = nn.Linear(2, 1)
    >>> before = layer.weight.detach().clone()
    >>> scale(layer, 2.0)
    >>> bool((layer.weight == 2 * before).all())
    True
    """
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)
        for depth, name in enumerate(layers, 1):
            bias = getattr(model.get_submodule(name), "bias", None)
            if bias is not None:
                bias.mul_(factor**depth)


def spread(outputs: Tensor) -> float:
    """Return how far outputs of different samples lie apart: `(E ‖f − E f‖²)^½`.

    >>> spread(torch.tensor([[1.0], [3.0]]))
    1.0
    """
    flat = outputs.detach().double().flatten(1)
    return float((flat - flat.mean(0)).square().sum(1).mean().sqrt())


def _factor(model: nn.Module, samples: Samples, layers: Sequence[str], goal: float) -> float | None:
    """Bisect for the factor at which outputs lie `goal` apart."""

    def apart(factor: float) -> float:
        tried = copy.deepcopy(model)
        scale(tried, factor, layers)
        return spread(samples.outputs(tried))

    low, high = (1.0, LARGEST) if apart(1.0) < goal else (1 / LARGEST, 1.0)
    while high > 2 and apart(high / 2) >= goal:
        high /= 2
    if not apart(high) >= goal:
        return None
    for _ in range(12):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if apart(middle) < goal else (low, middle)
    return high


def _chain(model: nn.Module, samples: Samples) -> tuple[str, ...]:
    """Return the layers if scaling them and their biases multiplies the outputs by one number, else nothing."""
    names = tuple(name for name, chosen in choose_views(model, None).items() if layer_type_of(chosen.module))
    if not all(name in dict(model.named_modules()) for name in names):
        return ()
    tried, factor = copy.deepcopy(model), 1.25
    expected = samples.outputs(model) * factor ** len(names)
    scale(tried, factor, names)
    error = (samples.outputs(tried) - expected).norm()
    return names if error <= EXACT * expected.norm() else ()


def _shift(model: nn.Module, samples: Samples, before: Tensor, after: Tensor) -> tuple[float, ...] | None:
    """Return what the last bias is to take back of how far the mean output has moved."""
    bias, outputs = _last_bias(model), after
    if bias is None or bias.shape != outputs.shape[1:]:
        return None
    step = torch.ones_like(bias)
    moved = copy.deepcopy(model)
    last = _last_bias(moved)
    if last is None:
        return None
    with torch.no_grad():
        last.add_(step)
    only_shifts = torch.allclose(samples.outputs(moved) - outputs, step.expand_as(outputs), atol=EXACT)
    return tuple((before.mean(0) - after.mean(0)).tolist()) if only_shifts else None


def _last_bias(model: nn.Module) -> Tensor | None:
    chosen = list(choose_views(model, None).values())
    bias = getattr(chosen[-1].module, "bias", None)
    return bias if isinstance(bias, Tensor) else None
