"""Initialization schemes. Each says whether its number is a variance or a standard deviation."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from cloudchamber._core.config import Config
from cloudchamber.theory import Exponents, parametrization
from cloudchamber.theory.exact import Number

Role = Literal["first", "between", "last"]


class Fans(NamedTuple):
    """What a scheme is told of a layer.

    Attributes:
        fan_in: inputs of a neuron.
        fan_out: outputs that an input has.
        role: its place among the layers.
        layers: how many there are.
        width: m, inputs of the last layer.
    """

    fan_in: int
    fan_out: int
    role: Role
    layers: int
    width: int


class _Scheme(Config):
    @abstractmethod
    def deviation(self, fans: Fans) -> float:
        """The standard deviation of the weights of a layer."""

    def bias_deviation(self, fans: Fans) -> float:  # noqa: ARG002 - a scheme may need them
        """The standard deviation of its biases; 0 = they are zero."""
        return 0.0

    def rate(self, fans: Fans) -> float:  # noqa: ARG002
        """By what the learning rate of a layer is multiplied."""
        return 1.0


class XavierNormalConfig(_Scheme):
    """W ~ N(0, γ · 2/(fan_in + fan_out)) with zero bias; γ scales the *variance* (mlp2024, Section 3.3)."""

    name: Literal["xavier_normal"] = "xavier_normal"
    variance_scale: PositiveFloat = 1.0

    def deviation(self, fans: Fans) -> float:
        """√(2γ/(fan_in + fan_out))."""
        return self.variance_scale**0.5 * math.sqrt(2 / (fans.fan_in + fans.fan_out))


class KaimingNormalConfig(_Scheme):
    """W ~ N(0, γ · 2/fan_in) with zero bias; γ scales the *variance* (He et al., ICCV 2015)."""

    name: Literal["kaiming_normal"] = "kaiming_normal"
    variance_scale: PositiveFloat = 1.0

    def deviation(self, fans: Fans) -> float:
        """√(2γ/fan_in)."""
        return self.variance_scale**0.5 * math.sqrt(2 / fans.fan_in)


class LecunNormalConfig(_Scheme):
    """W ~ N(0, γ/fan_in) with zero bias; γ scales the *variance* (LeCun et al., 1998)."""

    name: Literal["lecun_normal"] = "lecun_normal"
    variance_scale: PositiveFloat = 1.0

    def deviation(self, fans: Fans) -> float:
        """√(γ/fan_in)."""
        return self.variance_scale**0.5 * math.sqrt(1 / fans.fan_in)


class NormalConfig(_Scheme):
    """Every weight and bias ~ N(0, std²); `std` is a *standard deviation* (zhou2022, Section 4.1)."""

    name: Literal["normal"] = "normal"
    std: NonNegativeFloat = 0.005

    def deviation(self, fans: Fans) -> float:  # noqa: ARG002
        """The same for all."""
        return self.std

    def bias_deviation(self, fans: Fans) -> float:  # noqa: ARG002
        """That of the weights."""
        return self.std


class _PowerConfig(_Scheme):
    exponent: float = 0.5
    """γ"""
    of: Literal["fan_in", "fan_out"] = "fan_in"
    """what m is"""
    bias: bool = False
    """whether biases are drawn from the same distribution; else they are zero"""

    def bias_deviation(self, fans: Fans) -> float:
        """That of the weights, or 0."""
        return self.deviation(fans) if self.bias else 0.0


class PowerStdConfig(_PowerConfig):
    """W ~ N(0, 1/m^(2γ)): the *standard deviation* is m^(−γ) (overview2025, Section 7: γ from 0.1 to 0.8)."""

    name: Literal["power_std"] = "power_std"

    def deviation(self, fans: Fans) -> float:
        """m^(−γ)."""
        return float(getattr(fans, self.of)) ** -self.exponent


class PowerVarianceConfig(_PowerConfig):
    """W ~ N(0, 1/m^γ): the *variance* is m^(−γ) (overview2025, Section 3: variance 1/m⁴)."""

    name: Literal["power_variance"] = "power_variance"

    def deviation(self, fans: Fans) -> float:
        """m^(−γ/2)."""
        return float(getattr(fans, self.of)) ** (-self.exponent / 2)


class PytorchDefaultConfig(_Scheme):
    """What PyTorch's layers do when they are made: uniform in ±1/√fan_in, biases too."""

    name: Literal["pytorch_default"] = "pytorch_default"

    def deviation(self, fans: Fans) -> float:
        """That of a uniform distribution; of linear and convolutional layers."""
        return 1 / math.sqrt(3 * fans.fan_in)


class PresetConfig(_Scheme):
    """Weights as small or as large as the regimes ask for, in a network of any depth.

    With t = Π_l std_l √fan_in, what all layers together do to the size of a signal, the border between the linear and
    the condensed regime is t = m^(−½) for two and for three layers of equal size; here for any number. Every layer
    takes the same part: std_l = t^(1/L)/√fan_in, t = m^(−½ − strength) (condensed) or m^(−½ + strength)
    (anti_condensed).
    """

    name: Literal["condensed", "anti_condensed"]
    strength: PositiveFloat = 0.5
    """distance from the border in γ"""

    def deviation(self, fans: Fans) -> float:
        """m^(−(½ ± strength)/L)/√fan_in."""
        sign = 1 if self.name == "condensed" else -1
        return fans.width ** (-(0.5 + sign * self.strength) / fans.layers) / math.sqrt(fans.fan_in)


class ParametrizationConfig(_Scheme):
    """A named way to scale a network with its width, with the learning rates that belong to it.

    The papers' are of two layers, f = γ uᵀWx. The output scale γ is taken into the last layer here: u' = γu has the
    standard deviation κ^(c_γ + c_u/2) and the rate κ^(2c_γ + c_η), which is the same network under gradient descent.
    The first layer has κ^(c_w/2)/√fan_in and κ^(c_η). Layers between them, of which the papers say nothing, have
    1/√fan_in, and the rate κ^(c_η − 1 − c_w) at which they move the output as much as the first one does.
    """

    name: Literal["parametrization"] = "parametrization"
    scaling: str = "ntk"
    """ntk, mean_field, xavier, kaiming or lazy; with "+" learning features, with "-" in the kernel phase"""
    scale: PositiveFloat = 10.0
    """κ of "lazy", whose width stays finite; the others have the width as κ"""

    @model_validator(mode="after")
    def _known(self) -> ParametrizationConfig:
        parametrization(self.scaling)
        return self

    @property
    def exponents(self) -> Exponents:
        """How everything scales."""
        return parametrization(self.scaling)

    @property
    def zero_output(self) -> bool:
        """Whether the output starts at zero, as lazy training arranges it: the hidden neurons come in pairs."""
        return self.exponents.c_d == 0

    def deviation(self, fans: Fans) -> float:
        """By the layer's role."""
        of = self.exponents
        if fans.role == "between":
            return 1 / math.sqrt(fans.fan_in)
        if fans.role == "first":
            return self._power(of.c_w / 2, fans) / math.sqrt(fans.fan_in)
        finite = math.sqrt(fans.fan_in) if of.c_d == 0 else 1.0
        return self._power(of.c_gamma + of.c_u / 2, fans) / finite

    def rate(self, fans: Fans) -> float:
        """By the layer's role."""
        of = self.exponents
        power = {
            "first": of.c_eta_w,
            "between": of.c_eta_w - 1 - of.c_w if of.c_d else of.c_eta_w,
            "last": 2 * of.c_gamma + of.c_eta_u,
        }
        return self._power(power[fans.role], fans)

    def _power(self, exponent: Number, fans: Fans) -> float:
        return float(fans.width if self.exponents.c_d else self.scale) ** float(exponent)


Scheme = (
    XavierNormalConfig
    | KaimingNormalConfig
    | LecunNormalConfig
    | NormalConfig
    | PowerStdConfig
    | PowerVarianceConfig
    | PytorchDefaultConfig
    | PresetConfig
    | ParametrizationConfig
)
InitializationConfig = Annotated[Scheme, Field(discriminator="name")]
