"""Inputs in two halves, outputs as numbers or as what was raised, and how far two networks' outputs are apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from cloudchamber._core.errors import Unsupported, require
from cloudchamber.anatomy.batch import count_samples


def halves(inputs: Any) -> tuple[Any, Any, int]:
    """Return every other sample, the others, and how many others are held out: none if there is but one sample."""
    n = count_samples(inputs)
    require(n > 0, "`example_inputs` hold at least one sample", n, "pass more, for example 500")
    if n == 1:
        return inputs, inputs, 0
    first, second = (_rows(inputs, slice(start, None, 2)) for start in (0, 1))
    return first, second, n // 2


def few(inputs: Any) -> Any:
    """Return the first two samples."""
    return _rows(inputs, slice(0, 2))


def _rows(inputs: Any, rows: slice) -> Any:
    return pytree.tree_map_only(Tensor, lambda tensor: tensor[rows], inputs)


def numbers_of(output: Any) -> list[Tensor]:
    """Return the real-valued tensors that a model returned.

    Raises:
        Unsupported: if there are none.
    """
    found = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not found and hasattr(output, "values"):
        found = [each for each in output.values() if isinstance(each, Tensor) and each.is_floating_point()]
    if not found:
        raise Unsupported(
            f"a model returns real-valued tensors; got {type(output).__name__}. "
            "Remedy: pass forward= that returns them."
        )
    return found


def failure(call: Callable[[], Any]) -> str:
    """Call something of the user's, that can raise anything; return in one line what it raised, or ""."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}".split("\n")[0]
    return ""


@dataclass(frozen=True)
class Difference:
    """How far a narrowed network's outputs are from the given one's.

    Attributes:
        relative: `‖f' − f‖/‖f‖` over all samples and outputs.
        largest: the largest change of one output.
        agreement: share of samples with the same largest output; NaN where the output is not one row per sample.
    """

    relative: float
    largest: float
    agreement: float


def difference(narrow: Any, wide: Any) -> Difference:
    """Compare two outputs of the same form."""
    pairs = [(a.double(), b.double()) for a, b in zip(numbers_of(narrow), numbers_of(wide), strict=True)]
    change = torch.cat([(a - b).flatten() for a, b in pairs])
    size = torch.cat([b.flatten() for _, b in pairs]).norm()
    relative = change.norm() / size if size > 0 else change.norm().sign() * torch.inf if change.norm() > 0 else size
    a, b = pairs[0]
    classes = b.ndim >= 2 and b.shape[-1] > 1
    agreement = (a.argmax(-1) == b.argmax(-1)).double().mean() if classes else torch.nan
    return Difference(float(relative), float(change.abs().max()), float(agreement))
