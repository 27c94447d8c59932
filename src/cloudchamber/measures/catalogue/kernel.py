"""The empirical neural tangent kernel of some samples: its size, its spectrum, how far it moves, whether it fits.

For all pairs of outputs where samples times outputs are few, else summed over outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from cloudchamber._core.nulls import PERMUTED
from cloudchamber._core.types import Scalar
from cloudchamber.measures.catalogue.entries import FRACTION, POSITIVE, entry
from cloudchamber.measures.kernel_statistics import (
    Kernel,
    KernelDrift,
    Targets,
    kernel_alignment,
    kernel_spectrum,
    kernel_trace,
    permuted_kernel_alignment,
)
from cloudchamber.measures.registry import RARE, Field

EIGENVALUE_COUNT = 10
"""How many eigenvalues have a place in a record."""

_KERNEL: dict[str, Field] = {"kernel": "kernel"}
_DRIFT: dict[str, Field] = {"drift": "kernel_drift"}
_FIT: dict[str, Field] = {"kernel": "kernel", "targets": "kernel_targets"}
_NTK = "jacot2018, Section 4"


def distance(drift: KernelDrift) -> Scalar:
    """Return `‖K − K₀‖ / ‖K₀‖`."""
    return drift.distance


def rotation(drift: KernelDrift) -> Scalar:
    """Return `1 − cos(K, K₀)`."""
    return drift.rotation


def mean_permuted_alignment(kernel: Kernel, targets: Targets, *, centered: bool = False) -> Scalar:
    """Return the mean over draws of `permuted_kernel_alignment`."""
    return permuted_kernel_alignment(kernel, targets, centered=centered).mean()


def _entry(
    name: str,
    long_name: str,
    symbol: str,
    source: str,
    bounds: tuple[float, float],
    function: Callable[..., Tensor],
    takes: dict[str, Field],
    *,
    dims: tuple[str, ...] = ("step",),
) -> None:
    groups = ("kernel",)
    entry(
        name,
        long_name,
        symbol,
        source,
        bounds,
        function,
        takes,
        dims=dims,
        groups=groups,
        scope="network",
        at_most=RARE,
    )


_entry("kernel_trace", "trace of the tangent kernel", "tr Θ", _NTK, POSITIVE, kernel_trace, _KERNEL)
_entry(
    "kernel_spectrum",
    "largest eigenvalues of the tangent kernel",
    "λ_i(Θ)",
    _NTK,
    POSITIVE,
    partial(kernel_spectrum, count=EIGENVALUE_COUNT),
    _KERNEL,
    dims=("step", "eigenvalue"),
)
_entry(
    "kernel_distance",
    "distance of the tangent kernel from its start, relative to its start",
    "‖Θ − Θ₀‖ / ‖Θ₀‖",
    "xu2024, Section 3",
    POSITIVE,
    distance,
    _DRIFT,
)
_entry(
    "kernel_rotation",
    "how far the tangent kernel has turned from its start",
    "1 − cos(Θ, Θ₀)",
    "xu2024, Section 3",
    FRACTION,
    rotation,
    _DRIFT,
)
for _centered, _ending, _words, _sign in ((False, "", "", ""), (True, "_centered", ", both centred", "_c")):
    _source = "cortes2012, Section 2" if _centered else "cristianini2001, Section 2"
    _entry(
        f"kernel_alignment{_ending}",
        f"alignment of the tangent kernel with the targets{_words}",
        f"A{_sign}(Θ, yyᵀ)",
        _source,
        FRACTION,
        partial(kernel_alignment, centered=_centered),
        _FIT,
    )
    _entry(
        f"kernel_alignment{_ending}{PERMUTED}",
        f"alignment of the tangent kernel with the targets of other samples{_words}, mean over 20 draws",
        f"A{_sign}(Θ, yyᵀ) (permuted)",
        _source,
        FRACTION,
        partial(mean_permuted_alignment, centered=_centered),
        _FIT,
    )
