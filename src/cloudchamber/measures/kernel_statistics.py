"""What a kernel of samples says: how far it has moved, whether it fits the targets, its spectrum.

A kernel is (n, n), or (n, n, k, k) for all pairs of k outputs, as `tangent_kernel` and its kin return it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Scalar
from cloudchamber.measures.eigen import top_eigenpairs
from cloudchamber.measures.vectors import precision, wide

Kernel = Float[Tensor, "n n *kk"]
Targets = Float[Tensor, "n *k"]


@dataclass(frozen=True)
class KernelDrift:
    """How far a kernel is from where it was.

    Attributes:
        distance: `‖K − K₀‖_F / ‖K₀‖_F`, from 0 to infinity.
        rotation: `1 − cos(K, K₀)`, from 0 (the same up to scale) to 1 for kernels, which are never opposed.
    """

    distance: Scalar
    rotation: Scalar


def kernel_drift(kernel: Kernel, initial_kernel: Kernel) -> KernelDrift:
    """Return how far a kernel has moved: 0 in the kernel phase, where features are not learned.

    `‖K − K₀‖_F / ‖K₀‖_F` and `1 − ⟨K, K₀⟩_F / (‖K‖_F ‖K₀‖_F)`, the second computed as `½ ‖K/‖K‖ − K₀/‖K₀‖‖²`, which
    is accurate for small rotations.

    Args:
        kernel: (n, n) or (n, n, k, k), K.
        initial_kernel: K₀, of the same samples at the start.

    Returns:
        Both numbers: float64 if a kernel is, float32 otherwise. NaN (or infinity, for the distance) where K₀ is zero,
        NaN for the rotation where K is, and where a NaN enters.

    Raises:
        InvalidInput: if the two are not floating-point kernels of the same shape.

    Source: xu2024, Section 3: in the kernel phase the kernel does not move.

    >>> kernel_drift(torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    KernelDrift(distance=tensor(2.), rotation=tensor(0.))
    """
    now, start = _as_kernel(kernel, "kernel"), _as_kernel(initial_kernel, "initial_kernel")
    require(
        now.shape == start.shape,
        "`kernel` and `initial_kernel` have the same shape",
        f"{tuple(now.shape)} and {tuple(start.shape)}",
        "pass kernels of the same samples and outputs",
    )
    dtype, size = precision(kernel, initial_kernel), torch.linalg.vector_norm(start)
    apart = now / torch.linalg.vector_norm(now) - start / size
    distance, rotation = torch.linalg.vector_norm(now - start) / size, apart.square().sum() / 2
    return KernelDrift(distance.to(kernel.device, dtype), rotation.to(kernel.device, dtype))


def kernel_alignment(kernel: Kernel, targets: Targets, *, centered: bool = False) -> Scalar:
    """Return the alignment of a kernel with the targets.

    `yᵀK y / (‖K‖_F ‖y‖²)` of all targets as one vector y for a kernel of all pairs of outputs, and
    `⟨K, YYᵀ⟩_F / (‖K‖_F ‖YYᵀ‖_F)` for one of samples alone. 1 if the kernel is that of the targets.

    Args:
        kernel: (n, n) or (n, n, k, k), K.
        targets: (n,) or (n, k), y: what the network should give, as numbers (one-hot for classes).
        centered: whether to take the means over samples out of both first, as in centred kernel alignment: without
            it the kernel's and the targets' common part counts.

    Returns:
        A number in [0, 1]: float64 if an argument is, float32 otherwise. NaN where one of them (centred) is zero, and
        where a NaN enters.

    Raises:
        InvalidInput: if the two are not a floating-point kernel and targets of its samples (and outputs).

    Source: kernel alignment of Cristianini et al. (2001); centred, of Cortes et al. (2012).

    >>> kernel_alignment(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), torch.tensor([1.0, -1.0]))
    tensor(1.)
    """
    y = _as_targets(targets)
    return _alignments(kernel, targets, y[None], centered)[0]


def permuted_kernel_alignment(
    kernel: Kernel, targets: Targets, *, centered: bool = False, draws: int = 20, seed: int = 0
) -> Float[Tensor, " draws"]:
    """Return `kernel_alignment` with the targets dealt out to other samples: what chance gives.

    Args:
        kernel: as in `kernel_alignment`.
        targets: as in `kernel_alignment`.
        centered: as in `kernel_alignment`.
        draws: how many permutations.
        seed: of the permutations; the global random state is neither used nor changed.

    Returns:
        (draws,), in [0, 1]; NaN as in `kernel_alignment`.

    Raises:
        InvalidInput: as `kernel_alignment`, and if `draws` is less than 1.

    Source: as `kernel_alignment`, whose papers show no null.

    >>> permuted_kernel_alignment(torch.eye(3), torch.ones(3), draws=2)  # all have the same target
    tensor([0.5774, 0.5774])
    """
    require(draws >= 1, "`draws` is at least 1", draws, "ask for one permutation or more")
    y, generator = _as_targets(targets), torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(len(y), generator=generator) for _ in range(draws)])
    return _alignments(kernel, targets, y[orders.to(y.device)], centered)


def kernel_trace(kernel: Kernel) -> Scalar:
    """Return the trace of a kernel, `Σ_x Σ_o Θ_oo(x, x)`: the sum of its eigenvalues.

    Args:
        kernel: (n, n) or (n, n, k, k), K.

    Returns:
        A number from 0 to infinity, computed in float64: float64 for float64 kernels, float32 otherwise. NaN where a
        NaN enters.

    Raises:
        InvalidInput: if `kernel` is not a floating-point kernel.

    Source: Jacot et al. (2018).

    >>> kernel_trace(torch.tensor([[2.0, 1.0], [1.0, 3.0]]))
    tensor(5.)
    """
    K = _as_kernel(kernel, "kernel")
    return _as_matrix(K).trace().to(kernel.device, precision(kernel))


def kernel_spectrum(kernel: Kernel, count: int | None = None) -> Float[Tensor, " m"]:
    """Return the eigenvalues of a kernel, the largest first.

    Along an eigenvector with eigenvalue λ, gradient flow on `1/(2n) Σ (f − y)²` learns at the rate λ/n while the
    kernel stays.

    Args:
        kernel: (n, n) or (n, n, k, k), K.
        count: how many of them, or all where there are fewer; all by default. A few of many are found faster.

    Returns:
        (n,) or (n·k,) or the first `count` of them, computed in float64: float64 for float64 kernels, float32
        otherwise; those of a kernel are not negative but for rounding. All NaN if a NaN or infinity enters.

    Raises:
        InvalidInput: if `kernel` is not a floating-point kernel, or `count` is less than 1.

    Source: Jacot et al. (2018); xu2024, Eq. (18) for the dynamics.

    >>> kernel_spectrum(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
    tensor([3., 1.])
    """
    require(count is None or count >= 1, "`count` is at least 1", count, "leave it out for all eigenvalues")
    matrix = _as_matrix(_as_kernel(kernel, "kernel"))
    if not bool(matrix.isfinite().all()):
        values = matrix.new_full((len(matrix),), torch.nan)[:count]
    elif count is None or count >= len(matrix):
        values = torch.linalg.eigvalsh(matrix).flip(0)
    else:
        values = top_eigenpairs(matrix, count)[0]
    return values.to(kernel.device, precision(kernel))


def _as_kernel(kernel: Tensor, name: str) -> Tensor:
    """In float64, in which differences of kernels keep their digits."""
    shape = tuple(kernel.shape)
    square = len(shape) in (2, 4) and shape[0] == shape[1] and (len(shape) == 2 or shape[2] == shape[3])
    require(
        kernel.is_floating_point() and square,
        f"`{name}` is a floating-point tensor of shape (n, n) or (n, n, k, k)",
        f"{kernel.dtype} of shape {shape}",
        "pass what `tangent_kernel` or `contracted_kernel` returns",
    )
    return wide(kernel)


def _require_targets(kernel: Tensor, targets: Tensor) -> None:
    shape = tuple(targets.shape)
    right = len(shape) in (1, 2) and shape[:1] == kernel.shape[:1]
    outputs = shape[1] if len(shape) == 2 else 1
    require(
        right and targets.is_floating_point() and (kernel.ndim == 2 or kernel.shape[2] == outputs),
        "`targets` holds floating-point numbers, one per sample (and output) of the kernel",
        f"{targets.dtype} of shape {shape} for a kernel of shape {tuple(kernel.shape)}",
        "pass y as (n,) or (n, k); one-hot for classes",
    )


def _as_matrix(K: Tensor) -> Float[Tensor, "m m"]:
    """A kernel of all pairs of outputs as one of samples and outputs, (n·k, n·k)."""
    return K if K.ndim == 2 else K.transpose(1, 2).flatten(2).flatten(0, 1)


def _as_targets(targets: Tensor) -> Float[Tensor, "n k"]:
    y = wide(targets)
    return y[:, None] if y.ndim == 1 else y


def _centred(K: Tensor) -> Tensor:
    K = K - K.mean(0, keepdim=True)
    return K - K.mean(1, keepdim=True)


def _alignments(
    kernel: Tensor, targets: Tensor, y: Float[Tensor, "draws n k"], centered: bool
) -> Float[Tensor, " draws"]:
    """The alignment of a kernel with each of several targets."""
    K = _as_kernel(kernel, "kernel")
    _require_targets(K, targets)
    if centered:
        y, K = y - y.mean(1, keepdim=True), _centred(K)
    if K.ndim == 2:
        overlap, size = ((K @ y) * y).sum((1, 2)), torch.linalg.matrix_norm(y.mT @ y)
    else:
        flat = y.flatten(1)
        overlap, size = ((flat @ _as_matrix(K)) * flat).sum(1), flat.square().sum(1)
    alignment = overlap / (torch.linalg.vector_norm(K) * size)
    return alignment.clamp(max=1).to(kernel.device, precision(kernel, targets))
