"""Critical points of narrow networks, embedded in wide ones: gradients and the inertia of the Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from scipy.optimize import least_squares
from torch import Tensor
from torch.func import jacrev

from cloudchamber._core.errors import require
from cloudchamber._core.seeding import generator
from cloudchamber.models.activations import ActivationName, activation
from cloudchamber.papers.overview2025.loss_times import samples
from cloudchamber.theory import (
    Copies,
    CriticalPoint,
    Inertia,
    chain_output,
    check_embedding,
    hessian_inertia,
    polish,
    widen,
)
from cloudchamber.theory.chains import flatten, unflatten

TOLERANCE = 1e-12
"""of the gradient norm of a narrow network's critical point"""
_STEPS = 40
_ALIVE, _CLEAR, _FIT, _FAR = 1e-3, 1e3, 1e-9, 100.0


@dataclass(frozen=True)
class Problem:
    """A narrow network on samples, in float64: rows (w, b) and output weights without a bias."""

    activation: Callable[[Tensor], Tensor]
    inputs: Tensor
    targets: Tensor
    width: int

    def parts(self, theta: Tensor) -> list[Tensor]:
        """Return parameters as (h, 2) and (1, h)."""
        like = [torch.zeros(self.width, 2), torch.zeros(1, self.width)]
        return unflatten(theta, like)

    def residuals(self, theta: Tensor) -> Tensor:
        """Return output less target, (n,)."""
        return (chain_output(self.parts(theta), self.inputs, self.activation) - self.targets)[:, 0]

    def loss(self, theta: Tensor) -> Tensor:
        """Return the mean squared error."""
        return self.residuals(theta).square().mean()


def embedded_points(
    folder: Path,  # noqa: ARG001 - a study's; nothing is kept on the way
    *,
    target: str,
    act: ActivationName,
    narrow: Sequence[int],
    wide: Sequence[int],
    starts: int,
    count: int,
    seed: int,
) -> xr.Dataset:
    """Find critical points of narrow networks and embed each in wider ones.

    Found by Levenberg–Marquardt on the residuals (minima) and on the gradient (saddles) from random starts, then
    polished. Kept where the gradient norm is below 1e-12, no parameter is above 100, the loss is not zero, every
    neuron has a derivative above 1e-3 on a sample, the eigenvalues counted as zero are apart from the others by a
    factor of 1000, and no narrower network was found at the same loss.

    Args:
        folder: of the study.
        target: as in `samples`.
        act: the activation.
        narrow: widths of the narrow networks, rising.
        wide: how many neurons are added, or (above the largest narrow width) widths.
        starts: random starts for each width.
        count: samples.
        seed: of starts, copies and shares.

    Returns:
        By point: `width`, `loss`, `gradient`, `inertia` (negative, zero, positive); by point and embedding:
        `wide_width`, `wide_gradient`, `output_change`, `wide_inertia`, and `apart`, the factor between the smallest
        eigenvalue that is counted and the largest that is not.

    Raises:
        InvalidInput: if no critical point is found.
    """
    x, y = samples(target, count)
    function, rows, seen = activation(act), [], []
    for width in narrow:
        problem = Problem(function, x, y, width)
        for point, inertia in _critical(problem, starts, seed):
            if all(abs(point.loss - loss) > 1e-6 for loss in seen):
                seen.append(point.loss)
                rows.append(_embedded(problem, point, inertia, wide, seed))
    require(len(rows) > 0, "critical points are found", f"none from {starts} starts", "take more starts")
    return xr.concat(rows, "point").assign_coords(count=["negative", "zero", "positive"])


def _critical(problem: Problem, starts: int, seed: int) -> list[tuple[CriticalPoint, Inertia]]:
    found = []
    jacobian = jacrev(problem.residuals)
    for number in range(starts):
        random = generator(seed, "start", problem.width, number)
        start = 2 * torch.randn(3 * problem.width, generator=random, dtype=torch.float64)
        minimum = least_squares(
            lambda theta: problem.residuals(torch.from_numpy(theta)).numpy(),
            start.numpy(),
            jac=lambda theta: jacobian(torch.from_numpy(theta)).numpy(),  # pyright: ignore
            method="lm",
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
            max_nfev=300,
        )
        for theta in (torch.from_numpy(minimum.x), start):
            point = polish(problem.loss, theta, tolerance=TOLERANCE, steps=_STEPS)
            if point.converged and _sound(problem, point):
                inertia = hessian_inertia(problem.loss, point.theta)
                if _apart(inertia) > _CLEAR:
                    found.append((point, inertia))
    return found


def _sound(problem: Problem, point: CriticalPoint) -> bool:
    """Whether a point is no exact fit, at finite weights, with all neurons alive."""
    w_in = problem.parts(point.theta)[0]
    arguments = problem.inputs @ w_in[:, :1].T + w_in[:, 1]
    slopes = torch.func.vmap(torch.func.vmap(torch.func.grad(problem.activation)))(arguments)
    alive = bool((slopes.abs().amax(0) > _ALIVE).all())
    return alive and point.loss > _FIT and float(point.theta.abs().max()) < _FAR


def _apart(inertia: Inertia) -> float:
    """By what factor the eigenvalues counted as zero are apart from the others."""
    inner, outer = inertia.gap
    return outer / max(inner, 1e-16 * float(inertia.eigenvalues.abs().max()), 1e-300)


def _embedded(problem: Problem, point: CriticalPoint, inertia: Inertia, wide: Sequence[int], seed: int) -> xr.Dataset:
    parts = problem.parts(point.theta)
    return xr.Dataset(
        {
            "width": problem.width,
            "loss": point.loss,
            "gradient": point.gradient_norm,
            "inertia": ("count", _counts(inertia)),
        }
    ).merge(xr.concat([_into(problem, parts, m, seed) for m in wide], "embedding"))


def _into(problem: Problem, parts: list[Tensor], width: int, seed: int) -> xr.Dataset:
    """The network with each further neuron a copy of a random one, and shares of either sign."""
    width = problem.width + width if width <= problem.width else width
    wide = list(widen(parts[0], parts[1], copies(problem.width, width, seed)))

    def loss(output: Tensor) -> Tensor:
        return (output - problem.targets).square().mean()

    check = check_embedding(parts, wide, problem.inputs, problem.activation, loss)
    inertia = hessian_inertia(
        lambda theta: loss(chain_output(unflatten(theta, wide), problem.inputs, problem.activation)), flatten(wide)
    )
    return xr.Dataset(
        {
            "wide_width": width,
            "wide_gradient": check.wide_gradient,
            "output_change": check.output_change,
            "wide_inertia": ("count", _counts(inertia)),
            "apart": _apart(inertia),
        }
    )


def copies(narrow: int, wide: int, seed: int) -> Copies:
    """Return random copies: every neuron in its place once, the others of random ones, shares normal around 1/copies.

    >>> found = copies(2, 6, 0)
    >>> found.origin[:2].tolist(), len(found.share), found.narrow
    ([0, 1], 6, 2)
    """
    random = generator(seed, "copies", narrow, wide)
    origin = torch.cat([torch.arange(narrow), torch.randint(narrow, (wide - narrow,), generator=random)])
    share = torch.randn(wide, generator=random, dtype=torch.float64)
    group = torch.nn.functional.one_hot(origin, narrow).double()
    excess = (share @ group - 1) / group.sum(0)
    return Copies(origin, share - excess[origin])


def _counts(inertia: Inertia) -> np.ndarray:
    return np.array([inertia.negative, inertia.zero, inertia.positive])
