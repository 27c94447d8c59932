"""Convolutions as linear layers: a neuron is an output channel, applied at every output position to a patch.

With groups, an output channel sees the channels of its group alone. Then every position counts as one application per
group: X holds the patch of that group, and G is zero for the channels of the other groups. These rows are made while G,
which is as many times larger as there are groups, holds at most `MAX_ROW_NUMBERS` numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as fn

from cloudchamber.anatomy.view import MAX_ROW_NUMBERS, ONE_SAMPLE, LayerView, read_weight, weight_rows

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED_CONVOLUTIONS = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

_TOO_MANY = "one application per position and group would take more than {} numbers ({} groups)"
_OTHER_SIZE = "it was called with an `output_size` that is not its own"


class Steps(NamedTuple):
    """How a kernel is moved over a padded input, per spatial dimension."""

    kernel: Sequence[int]
    stride: Sequence[int]
    dilation: Sequence[int]


def convolution_view(name: str, module: Any) -> LayerView:
    """View a convolution of any dimension, stride, dilation, padding (also "same") and padding mode.

    >>> import torch
    >>> view = convolution_view("conv", nn.Conv2d(3, 8, 3, padding=1))
    >>> view.input_rows(torch.zeros(5, 3, 4, 4)).shape  # 16 patches of 3 × 3 × 3
    torch.Size([5, 16, 27])
    """

    def input_rows(inputs: Tensor) -> Tensor | None:
        if inputs.ndim != len(module.kernel_size) + 2:
            return None
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        padded = fn.pad(inputs, _reversed_pairs(_padding(module)), mode=mode)
        return _patch_rows(module, _patches(padded, Steps(module.kernel_size, module.stride, module.dilation)))

    def neurons() -> Tensor:
        return weight_rows(read_weight(module, "weight"), _bias(module))

    return _view(name, module, neurons, input_rows, ())


def transposed_convolution_view(name: str, module: Any) -> LayerView:
    """View a transposed convolution: a convolution of the input with zeros between its entries, the kernel reversed.

    >>> import torch
    >>> view = transposed_convolution_view("up", nn.ConvTranspose1d(3, 8, 4, stride=2, padding=1))
    >>> view.input_rows(torch.zeros(5, 3, 6)).shape  # 12 positions
    torch.Size([5, 12, 12])
    """

    def input_rows(inputs: Tensor) -> Tensor | None:
        axes = len(module.kernel_size)
        if inputs.ndim != axes + 2:
            return None
        padded = fn.pad(_spread(inputs, module.stride), _reversed_pairs(_transposed_padding(module)))
        patches = _patches(padded, Steps(module.kernel_size, (1,) * axes, module.dilation))
        return _patch_rows(module, patches.flip(tuple(range(-axes, 0))))

    def neurons() -> Tensor:
        by_group = read_weight(module, "weight").unflatten(0, (module.groups, -1))
        return weight_rows(by_group.transpose(1, 2).flatten(0, 1), _bias(module))

    return _view(name, module, neurons, input_rows, (_OTHER_SIZE,))


def _view(name: str, module: Any, neurons: Any, input_rows: Any, reasons: tuple[str, ...]) -> LayerView:
    grouped = (_TOO_MANY.format(MAX_ROW_NUMBERS, module.groups),) if module.groups > 1 else ()
    return LayerView(
        name,
        module=name,
        layer_type=type(module).__name__,
        width=module.out_channels,
        fan_in=module.in_channels // module.groups * math.prod(module.kernel_size),
        bias=module.bias is not None,
        neurons=neurons,
        input_rows=input_rows,
        output_rows=lambda outputs: _position_rows(module, outputs),
        why_no_rows=", or ".join((*grouped, ONE_SAMPLE, *reasons)),
        neuron_axis=1,
        positions_axis=2 if len(module.kernel_size) == 1 else None,
    )


def _bias(module: Any) -> Tensor | None:
    return None if module.bias is None else read_weight(module, "bias")


def _padding(module: Any) -> list[tuple[int, int]]:
    """Return the padding before and after each spatial dimension."""
    if module.padding == "same":
        totals = [d * (k - 1) for k, d in zip(module.kernel_size, module.dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    if module.padding == "valid":
        return [(0, 0)] * len(module.kernel_size)
    return [(width, width) for width in module.padding]


def _transposed_padding(module: Any) -> list[tuple[int, int]]:
    sizes = zip(module.kernel_size, module.dilation, module.padding, module.output_padding, strict=True)
    return [(d * (k - 1) - p, d * (k - 1) - p + extra) for k, d, p, extra in sizes]


def _reversed_pairs(pairs: list[tuple[int, int]]) -> list[int]:
    """Return the padding in the order of `torch.nn.functional.pad`: last dimension first."""
    return [width for pair in reversed(pairs) for width in pair]


def _spread(inputs: Tensor, stride: Sequence[int]) -> Tensor:
    sizes = [(size - 1) * step + 1 for size, step in zip(inputs.shape[2:], stride, strict=True)]
    spread = inputs.new_zeros(*inputs.shape[:2], *sizes)
    spread[(..., *(slice(None, None, step) for step in stride))] = inputs
    return spread


def _patches(padded: Tensor, steps: Steps) -> Tensor:
    """Return (n, channels, *positions, *kernel), without a copy."""
    for axis, (kernel, stride, dilation) in enumerate(zip(*steps, strict=True), start=2):
        padded = padded.unfold(axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    return padded


def _patch_rows(module: Any, patches: Tensor) -> Tensor | None:
    """Return (n, P · groups, d) of patches (n, channels, *positions, *kernel)."""
    axes = len(module.kernel_size)
    n, positions = len(patches), math.prod(patches.shape[2 : 2 + axes])
    if _too_many(module, n * positions):
        return None
    by_group = patches.unflatten(1, (module.groups, -1))
    position_first = by_group.movedim((1, 2), (1 + axes, 2 + axes))
    return position_first.reshape(n, positions * module.groups, math.prod(by_group.shape[2:3] + patches.shape[-axes:]))


def _position_rows(module: Any, outputs: Tensor) -> Tensor | None:
    """Return (n, P · groups, h) of outputs (n, h, *positions)."""
    if outputs.ndim != len(module.kernel_size) + 2:
        return None
    rows = outputs.flatten(2).mT
    if module.groups == 1:
        return rows
    if _too_many(module, len(rows) * rows.shape[1]):
        return None
    # Copied into zeros, not multiplied by them: a NaN of one group stays in its rows.
    by_group = rows.unflatten(2, (module.groups, -1))
    apart = rows.new_zeros(*by_group.shape[:3], *by_group.shape[2:])
    apart.diagonal(dim1=2, dim2=3).copy_(by_group.mT)
    return apart.flatten(3).flatten(1, 2)


def _too_many(module: Any, applications: int) -> bool:
    return module.groups > 1 and applications * module.groups * module.out_channels > MAX_ROW_NUMBERS
