"""The elementwise functions of dense chains: their values, and how a gradient goes back through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cloudchamber.models.activations import X2Tanh, XTanh
from cloudchamber.training.ensemble.dense.tanh import exact_tanh, rational_tanh

aten = torch.ops.aten
Kept = tuple[Tensor, ...]
Tanh = Callable[[Tensor], Tensor]
TANHS: Mapping[str, Tanh] = {"exact": exact_tanh, "rational": rational_tanh}


@dataclass(frozen=True)
class Elementwise:
    """A function of single entries.

    Attributes:
        name: what it is, with its numbers: functions of one name are the same.
        value: from inputs z and the tanh to use, the outputs and what the gradient needs of them.
        pull: from the gradient by the outputs and what was kept, the gradient by the inputs.
    """

    name: str
    value: Callable[[Tensor, Tanh], tuple[Tensor, Kept]] = field(compare=False, repr=False)
    pull: Callable[..., Tensor] = field(compare=False, repr=False)


def _by_value(name: str, function: Callable[[Tensor], Tensor], pull: Callable[[Tensor, Tensor], Tensor]) -> Elementwise:
    """A function whose slope follows from its value, so that its inputs need not be kept."""

    def value(z: Tensor, _: Tanh) -> tuple[Tensor, Kept]:
        h = function(z)
        return h, (h,)

    return Elementwise(name, value, pull)


def _by_input(name: str, function: Callable[[Tensor], Tensor], pull: Callable[[Tensor, Tensor], Tensor]) -> Elementwise:
    return Elementwise(name, lambda z, _: (function(z), (z,)), pull)


def identity() -> Elementwise:
    """x."""
    return Elementwise("identity", lambda z, _: (z, ()), lambda d: d)


def scale(factor: float) -> Elementwise:
    """`factor` x."""
    return Elementwise(f"times {factor}", lambda z, _: (z * factor, ()), lambda d: d * factor)


def tanh() -> Elementwise:
    """tanh x."""

    def value(z: Tensor, function: Tanh) -> tuple[Tensor, Kept]:
        h = function(z)
        return h, (h,)

    return Elementwise("tanh", value, aten.tanh_backward)


def x_tanh() -> Elementwise:
    """x tanh x."""

    def value(z: Tensor, function: Tanh) -> tuple[Tensor, Kept]:
        t = function(z)
        return z * t, (z, t)

    return Elementwise("x tanh x", value, lambda d, z, t: d * (t + z * (1 - t * t)))


def x2_tanh() -> Elementwise:
    """x² tanh x."""

    def value(z: Tensor, function: Tanh) -> tuple[Tensor, Kept]:
        t = function(z)
        return z * z * t, (z, t)

    return Elementwise("x² tanh x", value, lambda d, z, t: d * (z * (2 * t + z * (1 - t * t))))


def sigmoid() -> Elementwise:
    """1/(1 + exp(−x))."""
    return _by_value("sigmoid", torch.sigmoid, aten.sigmoid_backward)


def relu(inplace: bool = False) -> Elementwise:  # noqa: ARG001
    """x where it is positive, 0 elsewhere."""
    return _by_value("relu", torch.relu, lambda d, h: aten.threshold_backward(d, h, 0))


def leaky_relu(negative_slope: float = 0.01, inplace: bool = False) -> Elementwise:  # noqa: ARG001
    """x where it is positive, `negative_slope` x elsewhere."""

    def value(z: Tensor) -> Tensor:
        return nn.functional.leaky_relu(z, negative_slope)

    return _by_input(
        f"leaky_relu({negative_slope})", value, lambda d, z: aten.leaky_relu_backward(d, z, negative_slope, False)
    )


def hardtanh(min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Elementwise:  # noqa: ARG001
    """x, clamped."""

    def value(z: Tensor) -> Tensor:
        return nn.functional.hardtanh(z, min_val, max_val)

    return _by_input(
        f"hardtanh({min_val}, {max_val})", value, lambda d, z: aten.hardtanh_backward(d, z, min_val, max_val)
    )


def softplus(beta: float = 1.0, threshold: float = 20.0) -> Elementwise:
    """log(1 + exp(βx))/β."""

    def value(z: Tensor) -> Tensor:
        return nn.functional.softplus(z, beta, threshold)

    return _by_input(
        f"softplus({beta}, {threshold})", value, lambda d, z: aten.softplus_backward(d, z, beta, threshold)
    )


def gelu(approximate: str = "none") -> Elementwise:
    """x Φ(x)."""

    def value(z: Tensor) -> Tensor:
        return nn.functional.gelu(z, approximate=approximate)

    return _by_input(f"gelu({approximate})", value, lambda d, z: aten.gelu_backward(d, z, approximate=approximate))


def silu(inplace: bool = False) -> Elementwise:  # noqa: ARG001
    """x σ(x)."""
    return _by_input("silu", nn.functional.silu, aten.silu_backward)


def mish(inplace: bool = False) -> Elementwise:  # noqa: ARG001
    """x tanh(softplus(x))."""
    return _by_input("mish", nn.functional.mish, aten.mish_backward)


def elu(alpha: float = 1.0, inplace: bool = False) -> Elementwise:  # noqa: ARG001
    """x where it is positive, `alpha` (exp(x) − 1) elsewhere."""

    def value(z: Tensor) -> Tensor:
        return nn.functional.elu(z, alpha)

    return _by_input(f"elu({alpha})", value, lambda d, z: aten.elu_backward(d, alpha, 1.0, 1.0, False, z))


def selu(inplace: bool = False) -> Elementwise:  # noqa: ARG001
    """ELU with the two constants that keep mean and variance."""
    alpha, factor = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return _by_input("selu", nn.functional.selu, lambda d, z: aten.elu_backward(d, alpha, factor, 1.0, False, z))


def sin() -> Elementwise:
    """sin x."""
    return _by_input("sin", torch.sin, lambda d, z: d * torch.cos(z))


def cos() -> Elementwise:
    """cos x."""
    return _by_input("cos", torch.cos, lambda d, z: -d * torch.sin(z))


FUNCTIONS: Mapping[str, Callable[..., Elementwise]] = {
    factory.__name__: factory
    for factory in (tanh, sigmoid, relu, leaky_relu, hardtanh, softplus, gelu, silu, mish, elu, selu, sin, cos)
}
"""By the name of torch's function; each takes what follows the tensor there."""

MODULES: Mapping[type[nn.Module], Callable[..., Elementwise]] = {
    nn.Identity: lambda _: identity(),
    nn.Tanh: lambda _: tanh(),
    XTanh: lambda _: x_tanh(),
    X2Tanh: lambda _: x2_tanh(),
    nn.Sigmoid: lambda _: sigmoid(),
    nn.ReLU: lambda _: relu(),
    nn.ReLU6: lambda _: hardtanh(0.0, 6.0),
    nn.LeakyReLU: lambda module: leaky_relu(module.negative_slope),
    nn.Hardtanh: lambda module: hardtanh(module.min_val, module.max_val),
    nn.Softplus: lambda module: softplus(module.beta, module.threshold),
    nn.GELU: lambda module: gelu(module.approximate),
    nn.SiLU: lambda _: silu(),
    nn.Mish: lambda _: mish(),
    nn.ELU: lambda module: elu(module.alpha),
    nn.SELU: lambda _: selu(),
}
"""By the exact type of the module."""
