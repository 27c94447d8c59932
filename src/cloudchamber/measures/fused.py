"""Mean cosines of many tensors in one call of native code, which reads every vector once; and accuracies.

In float32 that is up to ten times faster than operations on whole tensors, which have left the cache in between.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber._core.native import library

_SOURCE = Path(__file__).with_name("fused.cpp")
_NUMBER, _POINTER = ctypes.c_int64, ctypes.c_void_p


class _Native(NamedTuple):
    """The native functions for one precision."""

    mean_cosines: Any
    class_accuracy: Any


@cache
def _functions() -> dict[torch.dtype, _Native]:
    """The native functions for each precision; none where there is no native code."""
    native = library(_SOURCE)
    if native is None:
        return {}
    found = {
        torch.float32: _Native(native.mean_cosines_float32, native.class_accuracy_float32),
        torch.float64: _Native(native.mean_cosines_float64, native.class_accuracy_float64),
    }
    for each in found.values():
        each.mean_cosines.argtypes = [_NUMBER, _POINTER, _POINTER, _NUMBER, _NUMBER, _POINTER, _NUMBER, _POINTER]
        each.class_accuracy.argtypes = [_POINTER, _NUMBER, _NUMBER, _POINTER, _POINTER]
        each.class_accuracy.restype = None
    return found


def is_native() -> bool:
    """Whether there is native code; compiles it where that was not done yet.

    >>> is_native() in (True, False)
    True
    """
    return bool(_functions())


def fused_class_accuracy(outputs: Tensor, labels: Tensor) -> Tensor | None:
    """Return `class_accuracy` of the same arguments; None without native code, and for what it does not take.

    Source: mlp2024, Appendix J (Assumption 1).
    """
    native, samples = _functions().get(outputs.dtype), len(labels)
    plain = outputs.is_cpu and labels.is_cpu and outputs.is_contiguous() and labels.is_contiguous()
    if native is None or not plain or labels.dtype is not torch.int64 or outputs.ndim != 2 or len(outputs) != samples:
        return None
    accuracy = torch.empty(outputs.shape[1], dtype=outputs.dtype)
    native.class_accuracy(outputs.data_ptr(), samples, len(accuracy), labels.data_ptr(), accuracy.data_ptr())
    return accuracy


def fused_mean_cosines(
    vectors: Sequence[Float[Tensor, "n ..."]],
    by_class: Sequence[Float[Tensor, "n ..."]] = (),
    classes: Int[Tensor, " n"] | None = None,
    count: int = 1,
) -> list[float] | None:
    """Return `finished_cosine` of the `shortened` `cosine_partials` of the same arguments, at once and in float64.

    Args:
        vectors: each (n, ...), on the CPU, all float64 or none; all vectors of one are one class.
        by_class: each (n, ...); of these the classes are told apart.
        classes: (n,), the class of each sample, from 0 to `count` − 1; without it all are of class 0.
        count: k, the number of classes.

    Returns:
        The mean cosines of `vectors`, then those of `by_class`; None without native code, and for tensors or classes
        that it does not take.

    Source: mlp2024, Section 2, in O(nd).

    >>> fused_mean_cosines([torch.ones(3, 4)]) in (None, [1.0])
    True
    """
    functions, rows = _functions(), [_plain(each) for each in (*vectors, *by_class)]
    if not functions or not rows or any(row.dtype is not rows[0].dtype or not row.is_cpu for row in rows):
        return None
    if classes is not None:
        classes = classes.to("cpu", torch.int64).contiguous()
    size, samples = len(rows), len(rows[0])
    means = (ctypes.c_double * size)()
    failed = functions[rows[0].dtype].mean_cosines(
        size,
        (_POINTER * size)(*[row.data_ptr() for row in rows]),
        (_NUMBER * size)(*[row.numel() // samples for row in rows]),
        len(vectors),
        samples,
        None if classes is None else classes.data_ptr(),
        count,
        means,
    )
    return None if failed else list(means)


def _plain(tensor: Tensor) -> Tensor:
    """The same numbers side by side in memory, in float32 or float64."""
    if tensor.dtype is not torch.float32 and tensor.dtype is not torch.float64:
        tensor = tensor.detach().to(torch.float32)
    return tensor if tensor.is_contiguous() else tensor.detach().contiguous()
