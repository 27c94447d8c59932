"""Follows a layer's output through what keeps its neurons apart to its activation, however that is written.

Modules (`nn.ReLU`), functions (`F.relu`, `x.relu_()`) and expressions (`x * tanh(x)`, `x.clamp(min=0)`, `x * (x > 0)`)
are seen alike: an operation is followed while it works entry by entry on the output of one call of a layer, with
nothing beside it that differs between samples. The last such tensor that is not linear in the output is the feature;
but squares, absolute values and exponentials that are averaged belong to a normalization. A user's own module that
cannot be followed is taken as the activation as a whole, or as a normalization if it averages.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cloudchamber.anatomy.layer_types import layer_type_of


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names of torch functions without the underscores around them: `relu_` is the same function as `relu`.
NONLINEAR = _names(
    """relu relu6 leaky_relu rrelu prelu elu selu celu gelu silu mish softplus softsign tanh sigmoid hardtanh
    hardsigmoid hardswish hardshrink softshrink tanhshrink logsigmoid threshold sin cos erf exp square abs pow rpow
    where clamp clip clamp_min clamp_max maximum minimum gt lt ge le sign heaviside sqrt rsqrt log log1p expm1 atan
    reciprocal rdiv rtruediv masked_fill"""
)
PRODUCTS = _names("mul multiply")
NONLINEAR_IN_PAIRS = PRODUCTS | _names("div divide truediv true_divide max min")
LINEAR = _names(
    """mul multiply rmul div divide truediv true_divide add radd sub subtract rsub neg negative positive clone
    contiguous to type type_as float double half bfloat16 cpu cuda zeros_like ones_like full_like"""
)
TRANSPARENT = _names(
    """batch_norm layer_norm group_norm instance_norm rms_norm dropout dropout1d dropout2d dropout3d alpha_dropout
    feature_alpha_dropout max_pool1d max_pool2d max_pool3d view reshape flatten unflatten transpose permute squeeze
    unsqueeze movedim swapaxes"""
)
MIXING = _names(
    """mean var std var_mean std_mean sum norm vector_norm linalg_vector_norm amax amin aminmax median logsumexp softmax
    normalize rand rand_like randn_like bernoulli"""
)
WATCHED = NONLINEAR | NONLINEAR_IN_PAIRS | LINEAR | TRANSPARENT | MIXING
AVERAGED = _names("square abs exp pow")


class Origin(NamedTuple):
    """Which call of a layer a tensor comes from, and the last nonlinear function between, if any."""

    call: int
    function: str = ""


class _Followed(NamedTuple):
    """A followed tensor (weakly: an observation keeps nothing alive) at the version at which it was followed."""

    tensor: weakref.ref[Tensor]
    version: int
    origin: Origin


@dataclass
class _Inside:
    """A user's own module while it runs: what it received, and whether it mixes entries or draws random numbers."""

    module: nn.Module
    received: Tensor
    origin: Origin
    mixes: bool = False


class ActivationTracker(TorchFunctionMode):
    """Watches every torch function during one forward pass.

    `on_feature(call, tensor, name)` reports a feature, or with None that the last one was none after all.
    """

    def __init__(self, on_feature: Callable[[int, Tensor | None, str], None]) -> None:
        super().__init__()
        self._on_feature = on_feature
        self._followed: dict[int, _Followed] = {}
        self._inside: list[_Inside | None] = []

    def layer_output(self, call: int, output: Tensor) -> None:
        """Say that `output` is what a layer's call computed."""
        self._follow(output, Origin(call))

    def module_hooks(self, model: nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Hook the user's own modules that could be activations as a whole; the caller removes the hooks."""
        for module in model.modules():
            if _may_be_activation(module):
                yield module.register_forward_pre_hook(self._enter_module, with_kwargs=True)
                yield module.register_forward_hook(self._leave_module)

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple = (), kwargs: Mapping | None = None
    ) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        if name not in WATCHED:
            return func(*args, **(kwargs or {}))
        arguments = [*args, *(kwargs or {}).values()]
        # Looked up before the call: an in-place activation returns the tensor that it overwrote.
        origins = self._common_origins(arguments)
        result = func(*args, **(kwargs or {}))
        if name in MIXING:
            self._mixed(origins)
        if origins and isinstance(result, Tensor):
            self._continue(name, origins, result)
        return result

    def _origin(self, value: object) -> Origin | None:
        known = self._followed.get(id(value))
        if known is None or known.tensor() is not value or known.version != _version(value):
            return None
        return known.origin

    def _common_origins(self, arguments: list[object]) -> list[Origin]:
        """Return the origins of the arguments if they are of one call and nothing else differs between samples."""
        if not self._followed:
            return []
        tensors = [value for value in arguments if isinstance(value, Tensor)]
        origins = [self._origin(tensor) for tensor in tensors]
        found = [origin for origin in origins if origin is not None]
        ndim = max((t.ndim for t, o in zip(tensors, origins, strict=True) if o is not None), default=0)
        others = [t for t, o in zip(tensors, origins, strict=True) if o is None]
        one_call = len({origin.call for origin in found}) == 1
        return found if one_call and all(other.ndim < ndim or len(other) == 1 for other in others) else []

    def _continue(self, name: str, origins: list[Origin], result: Tensor) -> None:
        call, before = origins[0].call, next((origin.function for origin in origins if origin.function), "")
        pair = len(origins) > 1
        nonlinear = name in NONLINEAR or (pair and name in NONLINEAR_IN_PAIRS)
        if not nonlinear and name not in LINEAR and (before or name not in TRANSPARENT):
            return
        if pair and name in PRODUCTS:
            name = "product" if before else "square"
        feature = nonlinear or (pair and bool(before))
        self._follow(result, Origin(call, name if feature else before))
        if feature and result.is_floating_point():
            self._on_feature(call, result, name)

    def _follow(self, tensor: Tensor, origin: Origin) -> None:
        self._followed[id(tensor)] = _Followed(weakref.ref(tensor), _version(tensor), origin)

    def _mixed(self, origins: list[Origin]) -> None:
        for origin in origins:
            if origin.function in AVERAGED:
                self._on_feature(origin.call, None, "none")
        for inside in self._inside:
            if inside is not None:
                inside.mixes = True

    def _enter_module(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        origin = self._origin(tensors[0]) if len(tensors) == 1 else None
        waiting = origin is not None and not origin.function
        self._inside.append(_Inside(module, tensors[0], origin) if origin is not None and waiting else None)

    def _leave_module(self, module: nn.Module, _: tuple, output: Any) -> None:
        inside = self._inside.pop()
        if inside is None or not isinstance(output, Tensor) or output.shape != inside.received.shape:
            return
        origin = self._origin(output)
        if origin is None:
            origin = self._taken_as_a_whole(inside)
        if origin is None:
            return
        self._follow(output, origin)
        if origin.function:
            self._on_feature(origin.call, output, type(module).__name__.lower())

    def _taken_as_a_whole(self, inside: _Inside) -> Origin | None:
        """Return the origin of the output of a module that could not be followed inside."""
        if inside.mixes:
            return inside.origin
        return None if _has_parameters(inside.module) else Origin(inside.origin.call, "module")


def _may_be_activation(module: nn.Module) -> bool:
    leaf = not any(True for _ in module.children())
    own = not type(module).__module__.startswith("torch.nn.")
    return leaf and own and layer_type_of(module) is None


def _has_parameters(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _version(value: object) -> int:
    return value._version if isinstance(value, Tensor) and not value.is_inference() else 0
