"""How weights along the common direction turn towards the features, and whether samples agree on which way.

Of a single sample, `ΔV|_x = −η (Cᵀg) x / CᵀC` is exactly parallel to its feature, so `cos(ΔV|_x, F|_x) = ±1` says
nothing. What says something is ΔV of a whole step and F of each sample, beside what chance gives: `step_alignment`
and its `shuffled_step_alignment`. The sign α of a class is the one that most of its samples push V with; it is never
taken from a cosine that is then called positive.

C is per class or overall, as the caller passes it; F is what the layer receives (the features below it).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Labels, Scalar
from cloudchamber.measures.factors import (
    Direction,
    Inputs,
    OutputGradients,
    PerApplication,
    as_factors,
    require_once,
    unit_direction,
)
from cloudchamber.measures.vectors import product, require_labels, unit_rows


def step_alignment(
    inputs: Inputs, output_gradients: OutputGradients, direction: Direction, labels: Labels | None = None
) -> PerApplication:
    """Return the cosine of a step's weight change along the common direction with the feature of every sample.

    `cos(α_c ΔV, F_x)` with `ΔV = −(η/n) Σ_x (Cᵀg_x) x / CᵀC` of all samples given, and α_c the sign of class c as
    `class_signs` gives it. Read it beside `shuffled_step_alignment`: features that all have positive entries have a
    large cosine with any sum of them.

    Args:
        inputs: (n, d), or (n, P, d) for a layer applied P times per sample: X, the features below the layer.
        output_gradients: (n, h) or (n, P, h): G = ∂loss_x/∂z of single samples, not divided by n.
        direction: (h,), C, per class or overall, of any length.
        labels: (n,), the class of each sample: any whole numbers. Without them all samples share one α.

    Returns:
        (n,) or (n, P), cosines in [−1, 1]: float64 if X or G is, float32 otherwise. NaN for a feature that is zero,
        for a class that does not push at all, and where a NaN enters.

    Raises:
        InvalidInput: if an argument is not floating-point or the shapes do not fit.

    Source: mlp2024, Figure 4 and Theorem 2.

    >>> inputs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> step_alignment(inputs, torch.tensor([[-3.0], [-4.0], [0.0]]), torch.tensor([1.0]))
    tensor([0.6000, 0.8000, 0.6000])
    """
    X, pushes = _pushes(inputs, output_gradients, direction)
    cosines = _aligned(X, pushes[None], _classes(labels, X))
    return cosines[0].reshape(inputs.shape[:-1])


def shuffled_step_alignment(
    inputs: Inputs,
    output_gradients: OutputGradients,
    direction: Direction,
    labels: Labels | None = None,
    *,
    draws: int = 20,
    seed: int = 0,
) -> Float[Tensor, "draws n *p"]:
    """Return `step_alignment` after dealing the pushes `Cᵀg_x` out to other samples: what chance gives.

    Everything is computed anew from the dealt pushes, the signs of the classes too, so that the null has the same
    freedom as the measure. Positions of one sample stay together.

    Args:
        inputs: as in `step_alignment`.
        output_gradients: as in `step_alignment`.
        direction: as in `step_alignment`.
        labels: as in `step_alignment`.
        draws: how many permutations.
        seed: of the permutations; the global random state is neither used nor changed.

    Returns:
        (draws, n) or (draws, n, P), cosines in [−1, 1]; NaN as in `step_alignment`.

    Raises:
        InvalidInput: as `step_alignment`, and if `draws` is less than 1.

    Source: mlp2024, Figure 4, which shows no null.

    >>> inputs, gradients = torch.tensor([[1.0], [2.0]]), torch.tensor([[-1.0], [-2.0]])
    >>> shuffled_step_alignment(inputs, gradients, torch.tensor([1.0]), draws=1)  # one input: no other direction
    tensor([[1., 1.]])
    """
    require(draws >= 1, "`draws` is at least 1", draws, "ask for one permutation or more")
    X, pushes = _pushes(inputs, output_gradients, direction)
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(len(X), generator=generator) for _ in range(draws)]).to(X.device)
    return _aligned(X, pushes[orders], _classes(labels, X)).reshape(draws, *inputs.shape[:-1])


def class_signs(
    output_gradients: OutputGradients, direction: Direction, labels: Labels | None = None
) -> Float[Tensor, " c"]:
    """Return the sign with which each class pushes the weights along the common direction.

    `α_c = −sign Σ_{x in c} sign(Cᵀg_x)`: minus the sign of Cᵀg that most of its samples have; where as many have the
    one as the other, minus that of `Σ Cᵀg_x`.

    Args:
        output_gradients: (n, h) or (n, P, h): G = ∂loss_x/∂z of single samples.
        direction: (h,), C, of any length.
        labels: (n,), the class of each sample: any whole numbers. Without them all samples are one class.

    Returns:
        (c,), +1 or −1 for each class there is, by rising label: float64 for float64 gradients, float32 otherwise.
        NaN for a class that does not push at all, and where a NaN enters.

    Raises:
        InvalidInput: if an argument is not floating-point or the shapes do not fit.

    Source: mlp2024, Theorem 2.

    >>> gradients, labels = torch.tensor([[1.0], [2.0], [-1.0], [-3.0]]), torch.tensor([0, 0, 0, 7])
    >>> class_signs(gradients, torch.tensor([1.0]), labels)
    tensor([-1.,  1.])
    """
    ones = torch.ones(*output_gradients.shape[:-1], 1, dtype=torch.float32, device=output_gradients.device)
    X, pushes = _pushes(ones, output_gradients, direction)
    return _signs(pushes[None], _classes(labels, X))[0]


def sign_agreement(
    output_gradients: Float[Tensor, "n h"], direction: Direction, labels: Labels | None = None
) -> Scalar:
    """Return how often two samples of a class push the weights the same way along the common direction.

    The rate of `(Cᵀg_x)(Cᵀg_x') > 0` over pairs x ≠ x' of a class, averaged over the classes; for independent random
    signs it is 1/2 on average. It is the condition of Theorem 2, and says how far one α_c per class is justified.

    Args:
        output_gradients: (n, h): G = ∂loss_x/∂z of single samples, of a layer applied once to each.
        direction: (h,), C, of any length.
        labels: (n,), the class of each sample: any whole numbers. Without them all samples are one class.

    Returns:
        A number in [0, 1]: float64 for float64 gradients, float32 otherwise. Samples with Cᵀg = 0 push no way and are
        left out, as are classes with fewer than two others; NaN if nothing is left and where a NaN enters.

    Raises:
        InvalidInput: if an argument is not floating-point or the shapes do not fit.

    Source: mlp2024, Theorem 2.

    >>> sign_agreement(torch.tensor([[1.0], [2.0], [-1.0]]), torch.tensor([1.0]))
    tensor(0.3333)
    """
    require_once(output_gradients=output_gradients)
    X, pushes = _pushes(torch.ones_like(output_gradients[:, :1]), output_gradients, direction)
    signs, classes = _sign(pushes[:, 0])[None], _classes(labels, X)
    balance, counts = _by_class(signs, classes)[0], _by_class(signs.abs(), classes)[0]
    paired = ~(counts < 2)
    rate = (balance.square() + counts.square() - 2 * counts) / (2 * counts * (counts - 1))
    return torch.where(paired, rate, 0).sum() / paired.sum()


def _pushes(inputs: Tensor, output_gradients: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """X (n, P, d) and Ĉᵀg (n, P)."""
    X, G = as_factors(inputs, output_gradients)
    unit = unit_direction(direction, G.shape[2], G.dtype)[0]
    return X, product(G, unit)


def _classes(labels: Tensor | None, X: Tensor) -> Tensor:
    """(n,), for every sample the place of its class among those there are."""
    if labels is None:
        return torch.zeros(len(X), dtype=torch.int64, device=X.device)
    require_labels(labels, len(X))
    return torch.unique(labels, return_inverse=True)[1]


def _by_class(values: Float[Tensor, "r n"], classes: Int[Tensor, " n"]) -> Float[Tensor, "r c"]:
    """Sum over the samples of each class."""
    count = int(classes.max()) + 1 if len(classes) else 0
    return values.new_zeros(len(values), count).index_add_(1, classes, values)


def _sign(values: Tensor) -> Tensor:
    return torch.where(values.isnan(), torch.nan, values.sign())


def _signs(pushes: Float[Tensor, "r n P"], classes: Int[Tensor, " n"]) -> Float[Tensor, "r c"]:
    votes, net = _by_class(_sign(pushes).sum(2), classes), _by_class(pushes.sum(2), classes)
    sign = -_sign(torch.where(votes == 0, net, votes))
    return torch.where(sign == 0, torch.nan, sign)


def _aligned(
    X: Float[Tensor, "n P d"], pushes: Float[Tensor, "r n P"], classes: Int[Tensor, " n"]
) -> Float[Tensor, "r n P"]:
    rows = X.flatten(0, 1)
    change = -product(pushes.flatten(1), rows)
    cosines = product(unit_rows(change), unit_rows(rows).T).clamp(-1, 1).unflatten(1, X.shape[:2])
    return cosines * _signs(pushes, classes)[:, classes, None]
