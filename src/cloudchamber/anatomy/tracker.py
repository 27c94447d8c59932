"""Follows a layer's output through normalizations to its activation, however the activation is written.

Modules (`nn.ReLU`), functions (`F.relu`, `torch.tanh`, `x.relu_()`) and products such as `x * tanh(x)` are seen; a
module without weights that receives a layer's output is taken as the activation as a whole, so a user's own
activation module counts with everything it does inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ACTIVATIONS = frozenset(
    "relu relu_ relu6 leaky_relu leaky_relu_ rrelu prelu elu elu_ selu selu_ celu gelu silu mish softplus softsign "
    "tanh tanh_ sigmoid sigmoid_ hardtanh hardsigmoid hardswish logsigmoid threshold sin cos erf exp square abs".split()
)
TRANSPARENT = frozenset(
    "batch_norm layer_norm group_norm instance_norm rms_norm dropout dropout2d dropout3d alpha_dropout".split()
)
PRODUCTS = frozenset(("mul", "multiply", "__mul__", "__rmul__"))
TRANSPARENT_MODULES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
NOT_ACTIVATIONS = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.Flatten,
    nn.Unflatten,
    nn.Softmax,
    nn.LogSoftmax,
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
)


class Origin(NamedTuple):
    """Which call of a layer a tensor comes from, and whether an activation lies between."""

    call: int
    activated: bool


class ActivationTracker(TorchFunctionMode):
    """Watches every torch function during one forward pass; `on_feature(call, tensor, name)` reports a feature."""

    def __init__(self, on_feature: Callable[[int, Tensor, str], None]) -> None:
        super().__init__()
        self._on_feature = on_feature
        self._origins: dict[int, Origin] = {}
        self._alive: list[Tensor] = []
        self._inside: list[tuple[nn.Module, int]] = []

    def layer_output(self, call: int, output: Tensor) -> None:
        """Say that `output` is what a layer's call computed."""
        self._mark(output, Origin(call, activated=False))

    def module_hooks(self, model: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        """Hook the modules that could be activations as a whole; the caller removes the hooks."""
        handles = []
        for module in model.modules():
            if _may_be_activation(module):
                handles.append(module.register_forward_pre_hook(self._enter_module))
                handles.append(module.register_forward_hook(self._leave_module))
        return handles

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple = (), kwargs: Mapping | None = None
    ) -> Any:
        # Looked up before the call: an in-place activation returns the tensor that it overwrote.
        origin = None if self._inside else self._origin_of(func, args)
        result = func(*args, **(kwargs or {}))
        if origin is not None and isinstance(result, Tensor):
            self._continue(origin, func.__name__, result)
        return result

    def _origin_of(self, func: Callable[..., Any], args: tuple) -> Origin | None:
        name = getattr(func, "__name__", "")
        if name in PRODUCTS:
            return self._common_origin(args)
        if name in ACTIVATIONS or name in TRANSPARENT:
            origin = self._origins.get(id(args[0])) if args else None
            return origin if origin is not None and not origin.activated else None
        return None

    def _common_origin(self, args: tuple) -> Origin | None:
        known = (self._origins.get(id(arg)) for arg in args)
        origins = [origin for origin in known if origin is not None]
        if len(origins) != 2 or len(args) != 2:
            return None
        first, second = origins
        return first if first.call == second.call and first.activated != second.activated else None

    def _continue(self, origin: Origin, name: str, result: Tensor) -> None:
        if name in TRANSPARENT:
            self._mark(result, origin)
        else:
            self._feature(origin.call, result, "product" if name in PRODUCTS else name.strip("_"))

    def _feature(self, call: int, tensor: Tensor, name: str) -> None:
        self._mark(tensor, Origin(call, activated=True))
        self._on_feature(call, tensor, name)

    def _mark(self, tensor: Tensor, origin: Origin) -> None:
        self._alive.append(tensor)  # an id is only unique while its tensor lives
        self._origins[id(tensor)] = origin

    def _enter_module(self, module: nn.Module, args: tuple) -> None:
        origin = self._origins.get(id(args[0])) if args else None
        if origin is not None and not origin.activated:
            self._inside.append((module, origin.call))

    def _leave_module(self, module: nn.Module, args: tuple, output: Any) -> None:
        if not self._inside or self._inside[-1][0] is not module:
            return
        _, call = self._inside.pop()
        if isinstance(output, Tensor):
            self._feature(call, output, type(module).__name__.lower())


def _may_be_activation(module: nn.Module) -> bool:
    leaf = not any(True for _ in module.children())
    plain = not any(True for _ in module.parameters(recurse=False))
    return leaf and plain and not isinstance(module, (*NOT_ACTIVATIONS, *TRANSPARENT_MODULES))
