"""Data on one line through the origin, reduced to what the two-layer linear network sees of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.theory.line_start import numbers


@dataclass(frozen=True)
class LineData:
    """A data set `x_i = a_i n` with targets y_i, as a network linear in x sees it.

    Attributes:
        n: (d,), the unit vector along the inputs.
        rho: `ρ = √E[a²]`.
        y: `E[a y]/ρ`, the best output at x = ρn.
        least_loss: `E[y²] − (E[a y]/ρ)²`, what every network keeps of E(f − y)².
    """

    n: Float[Tensor, " d"]
    rho: float
    y: float
    least_loss: float


def line_data(x: Float[Tensor, "n d"], targets: Float[Tensor, " n"], *, tolerance: float = 1e-6) -> LineData:
    """Return direction, length and target of data on a line, for `LinearModel.from_weights`.

    `E(f(x) − y)² = (f(ρn) − E[a y]/ρ)² + E[y²] − (E[a y]/ρ)²` for every f that is linear in x.

    Args:
        x: (n, d), one row per sample, all multiples of one vector.
        targets: (n,), one number per sample.
        tolerance: how far the rows may be off the line, in units of the longest row.

    Returns:
        The reduced data, in float64; n points along the longest row.

    Raises:
        InvalidInput: if there is no sample that is not zero, a number is NaN or infinite, the shapes do not fit or
            the inputs are not on a line.

    Source: xu2024, Section 2.1, Eq. (2)–(4).

    >>> data = line_data(torch.tensor([[0.0, 1.0], [0.0, -1.0]]), torch.tensor([2.0, -1.0]))
    >>> data.rho, data.y, data.least_loss
    (1.0, 1.5, 0.25)
    """
    rows, values = numbers(x, "x"), numbers(targets, "targets")
    shapes = f"{tuple(rows.shape)} and {tuple(values.shape)}"
    fit = rows.ndim == 2 and values.shape == rows.shape[:1]
    require(fit, "`x` is (n, d) and `targets` (n,)", shapes, "pass one row and one target per sample")
    require(bool(rows.any()), "one input at least is not zero", shapes, "pass the inputs")
    lengths = torch.linalg.vector_norm(rows, dim=1)
    n = rows[lengths.argmax()] / lengths.max()
    along = rows @ n
    off = (torch.linalg.vector_norm(rows - along[:, None] * n, dim=1).max() / lengths.max()).item()
    require(off <= tolerance, "the inputs are on one line", f"inputs {off:.2g} off it", "use data of rank one")
    rho = along.square().mean().sqrt()
    y = (along * values).mean() / rho
    return LineData(n, rho.item(), y.item(), (values.square().mean() - y**2).clamp(min=0).item())
