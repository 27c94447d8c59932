"""What the types of modules do to channels: make them, consume them, let them pass, mix them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from cloudchamber.anatomy.channels.part import Axis, Kind, Part, Reader, Tensors, own_parameters
from cloudchamber.anatomy.convolutions import CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign),
    *(nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink),
    *(nn.LogSigmoid, nn.Threshold, nn.RReLU),
)
ELEMENTWISE = (*ACTIVATIONS, nn.Identity, nn.Dropout, nn.AlphaDropout)
SPATIAL = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.LPPool1d, nn.LPPool2d, nn.Upsample, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReplicationPad1d, nn.ReplicationPad2d),
)
NONLINEAR = (
    *ACTIVATIONS,
    nn.PReLU,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.LPPool1d,
    nn.LPPool2d,
)
LINEAR_LIKE = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS)
RECURRENT: dict[type[nn.Module], int] = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}
"""Recurrent modules and how many gates they have."""

Chain = tuple[str, Callable[[Any], str], str]
INNER_CHAINS: dict[type[nn.Module], Chain] = {
    kind: (
        "linear1",
        lambda module: getattr(module.activation, "__name__", type(module.activation).__name__),
        "linear2",
    )
    for kind in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
}
"""Modules with a chain of two layers inside that cannot be traced: the first layer, the activation, the second."""


def is_conv1d_of_transformers(module: nn.Module) -> bool:
    """Whether a module is GPT-2's `z = x W + b`."""
    return f"{type(module).__module__}.{type(module).__qualname__}" == "transformers.pytorch_utils.Conv1D"


def is_depthwise(module: Any) -> bool:
    """Whether a convolution has one input and one output channel per group."""
    return isinstance(module, CONVOLUTIONS) and 1 < module.groups == module.in_channels == module.out_channels


def grouped(module: Any) -> bool:
    """Whether a convolution has groups, but is not depthwise."""
    return getattr(module, "groups", 1) != 1 and not is_depthwise(module)


def making(name: str, module: Any) -> tuple[Part, int, Axis] | None:
    """Return the part of a module that makes channels, how many, and where they are in its output; None if it does not.

    >>> part, size, axis = making("fc", nn.Linear(3, 8))
    >>> [(each.name, each.kind) for each in part.tensors], size
    ([('weight', 'row'), ('bias', 'bias')], 8)
    """
    if type(module) in RECURRENT:
        return _recurrent_making(name, module)
    if isinstance(module, nn.Embedding):
        row = Tensors("weight", Axis(1), "row")
        return Part(name, _type(module), (row,), (("embedding_dim", 1),)), module.embedding_dim, Axis(-1)
    if is_conv1d_of_transformers(module):
        part = Part(name, "Conv1D", (Tensors("weight", Axis(1), "row"), Tensors("bias", Axis(0), "bias")), (("nf", 1),))
        return part, module.nf, Axis(-1)
    if not isinstance(module, LINEAR_LIKE) or grouped(module) or is_depthwise(module):
        return None
    dense = isinstance(module, nn.Linear)
    row = Tensors("weight", Axis(1 if isinstance(module, TRANSPOSED_CONVOLUTIONS) else 0), "row")
    size = "out_features" if dense else "out_channels"
    part = Part(name, _type(module), (row, *_each(module, ("bias",), "bias")), ((size, 1),))
    return part, getattr(module, size), Axis(-1 if dense else 1)


def reading(name: str, module: Any, axis: Axis, ndim: int) -> tuple[Part, Reader] | str:
    """Return the part of a module that consumes channels and what it reads, or why it does not just consume them."""
    if type(module) in RECURRENT:
        return _recurrent_reading(name, module, axis, ndim)
    dense = isinstance(module, nn.Linear) or is_conv1d_of_transformers(module)
    if not dense and (not isinstance(module, LINEAR_LIKE) or is_depthwise(module)):
        return f"it goes into {name}, a {_type(module)}, which mixes channels"
    if axis.dim != (ndim - 1 if dense else 1):
        return f"{name} works along another dimension than that of the channels"
    if grouped(module):
        return f"{name} is a convolution with groups"
    transposed = isinstance(module, TRANSPOSED_CONVOLUTIONS) or is_conv1d_of_transformers(module)
    column = Tensors("weight", Axis(0 if transposed else 1, axis.outer, axis.inner), "column")
    size = {"Linear": "in_features", "Conv1D": "nx"}.get(_type(module), "in_channels")
    sizes = ((size, axis.outer * axis.inner),) if hasattr(module, size) else ()
    bias = "bias" if takes_constants(module) else ""
    return Part(name, _type(module), (column,), sizes), Reader(name, axis, (column,), bias)


def passing(name: str, module: Any, axis: Axis, ndim: int) -> Part | str:
    """Return the part of a module that channels pass one by one, or why they do not."""
    if isinstance(module, ELEMENTWISE):
        return Part(name, _type(module), ())
    if isinstance(module, nn.PReLU):
        each = (Tensors("weight", Axis(0), "scale"),) if module.num_parameters > 1 else ()
        return Part(name, "PReLU", each, (("num_parameters", 1),) if each else ())
    spatial = isinstance(module, (*SPATIAL, *BATCH_NORMS, *INSTANCE_NORMS)) or is_depthwise(module)
    if spatial and axis.dim != 1:
        return f"{name} works along another dimension than that of the channels"
    if isinstance(module, SPATIAL):
        return Part(name, _type(module), ()) if ndim > 2 else f"{name} works on the channels themselves"
    if not spatial:
        return f"it goes into {name}, a {_type(module)}, which mixes channels or is not known"
    inner = Axis(0, axis.outer, axis.inner)
    if is_depthwise(module):
        tensors = (*_each(module, ("weight",), "scale"), *_each(module, ("bias",), "bias"))
        return Part(name, _type(module), tensors, (("in_channels", 1), ("out_channels", 1), ("groups", 1)))
    tensors = (
        *_each(module, ("weight",), "scale", inner),
        *_each(module, ("bias",), "bias", inner),
        *_each(module, ("running_mean", "running_var"), "statistic", inner),
    )
    return Part(name, _type(module), tensors, (("num_features", axis.outer * axis.inner),))


def takes_constants(module: Any) -> bool:
    """Whether a constant channel can go into the layer's bias exactly: not where zeros are put around the channels."""
    if isinstance(module, CONVOLUTIONS):
        padded = module.padding == "same" or (module.padding != "valid" and any(module.padding))
        return not padded or module.padding_mode != "zeros"
    return not isinstance(module, TRANSPOSED_CONVOLUTIONS)


def _type(module: nn.Module) -> str:
    return type(module).__name__


def _each(module: nn.Module, names: tuple[str, ...], kind: Kind, axis: Axis | None = None) -> tuple[Tensors, ...]:
    own = own_parameters(module) | {name for name, value in module.named_buffers(recurse=False) if value is not None}
    return tuple(Tensors(name, axis or Axis(0), kind) for name in names if name in own)


def recurrent_obstacle(module: Any) -> str:
    """Return why the units of a recurrent module have to stay, or ""."""
    if module.bidirectional:
        return "its directions share one width"
    if module.num_layers > 1:
        return "its layers share one width"
    return "its outputs are projected" if getattr(module, "proj_size", 0) else ""


def _recurrent_making(name: str, module: Any) -> tuple[Part, int, Axis] | None:
    gates = Axis(0, outer=RECURRENT[type(module)])
    if recurrent_obstacle(module):
        return None
    tensors = (
        *_each(module, ("weight_ih_l0", "weight_hh_l0"), "row", gates),
        *_each(module, ("bias_ih_l0", "bias_hh_l0"), "bias", gates),
        Tensors("weight_hh_l0", Axis(1), "column"),
    )
    return Part(name, _type(module), tensors, (("hidden_size", 1),)), module.hidden_size, Axis(-1)


def own_reader(name: str) -> Reader:
    """Return how a recurrent module reads its own state."""
    return Reader(name, Axis(2), (Tensors("weight_hh_l0", Axis(1), "column"),), own=True)


def _recurrent_reading(name: str, module: Any, axis: Axis, ndim: int) -> tuple[Part, Reader] | str:
    if recurrent_obstacle(module) or axis.dim != ndim - 1:
        return f"it goes into {name}, a {_type(module)} of several layers or directions"
    column = Tensors("weight_ih_l0", Axis(1, axis.outer, axis.inner), "column")
    bias = "bias_ih_l0" if module.bias else ""
    sizes = (("input_size", axis.outer * axis.inner),)
    return Part(name, _type(module), (column,), sizes), Reader(name, axis, (column,), bias)
