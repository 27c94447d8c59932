"""The largest eigenvalue of the Gauss–Newton matrix, by power iteration, for any model that autograd can follow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from cloudchamber.predict.replica import Replica

_TOLERANCE = 1e-3
_MOST = 60


def largest_curvature(replica: Replica, weights: Mapping[str, float]) -> float:
    """Return the largest eigenvalue of `P^½ (1/n) Σ_x J_xᵀ B_x J_x P^½`.

    `J_x = ∂f(x)/∂θ` and `B_x = ∂²loss_x/∂f²`: the curvature of the mean loss without that of the network, which
    vanishes where the residuals do; for squared error the largest eigenvalue of the neural tangent kernel over n,
    times 2.
    P holds the learning rates relative to the largest, so that the bound is one on the largest.

    Args:
        replica: the model with its probe.
        weights: P by the name of the parameter; parameters that are not named do not count.

    Returns:
        A number of 0 or more; NaN if autograd cannot differentiate the model's gradient, or it is not finite.

    Source: Jacot et al. (2018) for the kernel; the bound that follows is that of gradient descent on a quadratic.

    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> from cloudchamber.monitor.probe import Probe
    >>> probe = Probe(torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1))
    >>> replica = Replica.of(model, probe, torch.nn.functional.mse_loss, lambda m, x: m(x), None)
    >>> round(largest_curvature(replica, {"weight": 1.0}), 6)  # 2 (1² + 3²)/2
    10.0
    """
    parameters = [replica.trainable[name] for name in weights]
    roots = [math.sqrt(weight) for weight in weights.values()]
    try:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
            return _power_iteration(replica, parameters, roots)
    except RuntimeError:  # a kernel without second derivatives
        return math.nan


def _power_iteration(replica: Replica, parameters: Sequence[Tensor], roots: Sequence[float]) -> float:
    outputs = replica.outputs()
    point = outputs.detach().requires_grad_()
    (residuals,) = torch.autograd.grad(
        replica.loss.summed(point), point, create_graph=True, allow_unused=True, materialize_grads=True
    )
    probe_direction = torch.zeros_like(outputs, requires_grad=True)
    pulled = _gradients(outputs, parameters, probe_direction, create_graph=True)
    if not residuals.requires_grad:
        return 0.0
    random = torch.Generator().manual_seed(0)
    vector = [torch.randn(p.shape, generator=random, dtype=torch.float64).to(p) for p in parameters]
    found = 0.0
    for _ in range(_MOST):
        length = _length(vector)
        if not (math.isfinite(length) and length > 0):
            return length
        vector = [root * part / length for root, part in zip(roots, vector, strict=True)]
        (pushed,) = torch.autograd.grad(
            pulled, probe_direction, vector, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        (curved,) = torch.autograd.grad(
            residuals, point, pushed, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        back = _gradients(outputs, parameters, curved / len(outputs), create_graph=False)
        vector = [root * part for root, part in zip(roots, back, strict=True)]
        last, found = found, _length(vector)
        if abs(found - last) <= _TOLERANCE * found:
            break
    return found


def _gradients(
    outputs: Tensor, parameters: Sequence[Tensor], direction: Tensor, *, create_graph: bool
) -> tuple[Tensor, ...]:
    return torch.autograd.grad(
        outputs,
        parameters,
        direction,
        create_graph=create_graph,
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )


def _length(vector: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(part.square().sum()) for part in vector))
