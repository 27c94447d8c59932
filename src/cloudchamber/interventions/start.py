"""What an initialization gives every layer, and where in the papers' diagram that is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from cloudchamber._core.errors import require
from cloudchamber.interventions.schemes import Scheme

BORDER = 0.5
"""γ of the border between the linear and the condensed regime: all layers together make a signal √m times smaller."""


@dataclass(frozen=True)
class LayerStart:
    """What a layer starts from.

    Attributes:
        name: qualified name.
        owner: that of the module which computes it, with all its gates or projections.
        layer_type: its type.
        fan_in: inputs of a neuron.
        fan_out: outputs that an input has.
        std: standard deviation of its weights; NaN where its module draws them in its own way.
        rate: what its learning rate is multiplied by.
        parameters: names of the parameters of the module that holds it.
    """

    name: str
    owner: str
    layer_type: str
    fan_in: int
    fan_out: int
    std: float
    rate: float
    parameters: tuple[str, ...] = ()

    @property
    def gain(self) -> float:
        """std √fan_in: 1 where sums of independent inputs keep the inputs' size."""
        return self.std * math.sqrt(self.fan_in)


@dataclass(frozen=True)
class Initialization:
    """What an initialization gives, layer by layer.

    Attributes:
        config: the scheme with its numbers.
        layers: in their order.
        width: m, inputs of the last layer.
    """

    config: Scheme
    layers: tuple[LayerStart, ...]
    width: int

    @property
    def gamma(self) -> float:
        """−log_m Π_l std_l √fan_in: how much smaller all layers make a signal, as a power of the width.

        The gates of a recurrent module and the projections of an attention count as one layer, with their mean.
        """
        if self.width < 2 or not all(layer.gain > 0 for layer in self.layers):
            return math.nan
        gains: dict[str, list[float]] = {}
        for layer in self.layers:
            gains.setdefault(layer.owner, []).append(math.log(layer.gain))
        return -sum(sum(each) / len(each) for each in gains.values()) / math.log(self.width)

    @property
    def regime(self) -> str:
        """ "condensed", "critical" or "linear", within a factor of 2 of the border; "unknown" without numbers."""
        if math.isnan(self.gamma):
            return "unknown"
        tolerance = math.log(2) / math.log(self.width)
        if abs(self.gamma - BORDER) <= tolerance:
            return "critical"
        return "condensed" if self.gamma > BORDER else "linear"

    def parameter_groups(self, model: nn.Module, lr: float) -> list[dict[str, Any]]:
        """Return groups for an SGD optimizer, in which each layer has its own learning rate.

        Args:
            model: the initialized one.
            lr: what the factors multiply; also the rate of what is no layer.

        Raises:
            InvalidInput: if the model has none of the layers.

        >>> from cloudchamber.interventions import initialize
        >>> model = nn.Sequential(nn.Linear(3, 100), nn.Tanh(), nn.Linear(100, 1))
        >>> groups = initialize(model, "mean_field").parameter_groups(model, lr=0.1)
        >>> [round(group["lr"], 6) for group in groups]
        [10.0, 0.001]
        """
        rates = {name: layer.rate for layer in self.layers for name in layer.parameters}
        named = dict(model.named_parameters())
        require(bool(rates.keys() & named.keys()), "the model is the initialized one", "another one", "pass that model")
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in named.items():
            groups.setdefault(rates.get(name, 1.0), []).append(parameter)
        return [{"params": parameters, "lr": lr * rate} for rate, parameters in groups.items()]

    def __str__(self) -> str:
        rows = [("layer", "type", "fan in", "fan out", "std", "std·√fan_in", "rate ×"), *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, "", self._in_words()])

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for each in self.layers:
            numbers = (f"{each.std:.4g}", f"{each.gain:.3g}", f"{each.rate:.4g}")
            yield (each.name, each.layer_type, str(each.fan_in), str(each.fan_out), *numbers)

    def _in_words(self) -> str:
        if self.regime == "unknown":
            return "No regime can be named: a layer starts at zero or draws its weights itself, or the width is 1."
        return (
            f"Together the layers multiply a signal by m^{-self.gamma:.2f} (m = {self.width}; activations not counted; "
            f"the border of the condensed regime is m^{-BORDER:g}): {self.regime}."
        )
