"""The same second moment for wide layers: a sketch of few rows, with a bound on what it misses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.measures.accumulators.base import State, nbytes, require_state
from cloudchamber.measures.accumulators.moments import require_width
from cloudchamber.measures.directions import CommonDirections, common_directions_of_rows
from cloudchamber.measures.factors import Direction, Inputs, OutputGradients, as_factors, chunks, unit_direction
from cloudchamber.measures.moments import gradient_rows
from cloudchamber.measures.vectors import wide


@dataclass(frozen=True)
class Sketch:
    """Few rows B that stand for many rows A.

    Attributes:
        rows: (r, h), B, with `BᵀB ≼ AᵀA ≼ BᵀB + error · I`, float64.
        error: what `‖AᵀA − BᵀB‖₂` is at most: the sum of what was taken from squared singular values.
        total: ‖A‖²_F, exactly.
    """

    rows: Float[Tensor, "r h"]
    error: float
    total: float


class SketchAccumulator:
    """The second moment of weight gradients by frequent directions: few rows, whatever the width and the steps.

    Rows are gathered until there are 2l of them; then the square of the l-th singular value is taken from all squared
    singular values, which leaves fewer than l. With A all rows (`gradient_rows`) and B what is kept,
    `‖AᵀA − BᵀB‖₂ ≤ ‖A − A_k‖²_F / (l − k)` for every k < l, where A_k is the best approximation of rank k; so an A of
    rank below l is kept exactly. `Sketch.error` is the bound that is known at the end, never larger than that.

    Memory: at most `sketch_bytes(h, l)` = 16 l h bytes (h = 8192, l = 64: 8 MiB, where the moment takes 512).

    Args:
        width: h, the neurons of the layer.
        rank: l, at least 2.

    Raises:
        InvalidInput: if an argument is too small.

    Source: Liberty (2013); Ghashami, Liberty, Phillips, Woodruff (2016), Theorem 1.1; mlp2024, Lemma 1.

    >>> found = SketchAccumulator(3, rank=2)
    >>> for step in range(9):
    ...     found.update(torch.tensor([[2.0]]), torch.tensor([[1.0, 3.0, -1.0]]))
    >>> found.directions().vectors
    tensor([[ 0.3015,  0.9045, -0.3015]], dtype=torch.float64)
    >>> round(found.result().error, 12)
    0.0
    """

    def __init__(self, width: int, rank: int = 64) -> None:
        require(width > 0, "`width` is at least 1", width, "pass the number of neurons")
        require(rank > 1, "`rank` is at least 2", rank, "keep more rows")
        self.width, self.rank = width, rank
        self._rows = torch.zeros(0, width, dtype=torch.float64)
        self._error, self._total = 0.0, 0.0

    def update(self, inputs: Inputs, output_gradients: OutputGradients) -> None:
        """Add the gradients of some samples.

        Args:
            inputs: (n, d), or (n, P, d) for a layer applied P times per sample: X.
            output_gradients: (n, h) or (n, P, h): G = ∂loss_x/∂z of single samples, not divided by n.

        Raises:
            InvalidInput: if the two do not fit each other, or have not h neurons.
        """
        X, G = as_factors(inputs, output_gradients)
        require_width(G, self.width)
        for x, g in chunks(X, G, min(X.shape[1:]) * self.width):
            self._append(wide(gradient_rows(x, g)))

    def merge(self, other: SketchAccumulator) -> None:
        """Add all that another sketch of the same width and rank holds; it stays as it is, and the errors add up."""
        same = (other.width, other.rank) == (self.width, self.rank)
        require(same, f"both have {self.width} neurons and rank {self.rank}", (other.width, other.rank), "match them")
        total = self._total + other._total
        self._append(other._rows)
        self._total, self._error = total, self._error + other._error

    def result(self) -> Sketch:
        """Return the sketch so far, of less than 2l rows; all NaN if a NaN or infinity entered."""
        return Sketch(self._rows.clone(), self._error, self._total)

    def directions(self, count: int = 1, *, primary: Direction | None = None) -> CommonDirections:
        """Return the common directions of the sketch, in float64; shares are those of all squares, not of the sketch's.

        Squared strengths are at most `Sketch.error` too small.

        Args:
            count: how many, from 1 to h.
            primary: (h,), a direction to take for the first.

        Raises:
            InvalidInput: if an argument does not fit the width.
        """
        found = _directions(self._rows, count, primary)
        shares = found.strengths.square().nan_to_num(0.0) / self._total
        return replace(found, shares=torch.where(self._rows.isnan().any(), torch.nan, shares))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the rows, and the error and the total as two numbers."""
        numbers = torch.tensor([self._error, self._total], dtype=torch.float64)
        return {"rows": self._rows.clone(), "error_total": numbers}

    def load_state_dict(self, state: State) -> None:
        """Take over a state.

        Raises:
            InvalidInput: if it is that of another accumulator.
        """
        require_state(state, {"rows": (None, self.width), "error_total": (2,)})
        rows = state["rows"]
        require(len(rows) < 2 * self.rank, f"a sketch has less than {2 * self.rank} rows", len(rows), "match the rank")
        self._rows = rows.clone()
        self._error, self._total = state["error_total"].tolist()

    @property
    def nbytes(self) -> int:
        """The memory of its tensors, in bytes."""
        return nbytes(self._rows)

    def _append(self, rows: Tensor) -> None:
        self._total += float(rows.square().sum())
        self._rows = self._rows.to(rows.device)
        while len(rows):
            room = 2 * self.rank - len(self._rows)
            self._rows, rows = torch.cat([self._rows, rows[:room]]), rows[room:]
            if len(self._rows) == 2 * self.rank:
                self._shrink()

    def _shrink(self) -> None:
        if not bool(self._rows.isfinite().all()):
            self._rows = torch.full_like(self._rows[:1], torch.nan)
            return
        # An eigendecomposition of the small Gram matrix is as exact for squares as an SVD, at a fraction of its time.
        squares, turn = (part.flip(-1) for part in torch.linalg.eigh(self._rows @ self._rows.T))
        taken = squares[self.rank - 1].clamp(min=0)
        few = squares[: self.rank - 1]
        left = torch.where(few > taken, (few - taken) / few, 0).sqrt()
        self._rows = left[:, None] * (turn[:, : self.rank - 1].T @ self._rows)
        self._error += float(taken)


def sketch_bytes(width: int, rank: int = 64) -> int:
    """Return how many bytes a `SketchAccumulator` takes at most, whatever the number of steps: 16 l h.

    >>> sketch_bytes(8192) / 2**20
    8.0
    """
    return 16 * rank * width


def _directions(rows: Tensor, count: int, primary: Tensor | None) -> CommonDirections:
    """Of rows, the first one given if there is a primary; its shares are of no use."""
    if primary is None:
        return common_directions_of_rows(rows, count)
    first = unit_direction(primary, rows.shape[1], torch.float64)[0].to(rows.device)
    along = rows @ first
    strength = torch.linalg.vector_norm(along)[None]
    if count == 1:
        return CommonDirections(first[None], strength, strength)
    rest = common_directions_of_rows(rows - torch.outer(along, first), count - 1)
    noise = rows.shape[1] * torch.finfo(torch.float64).eps * rows.square().sum()
    known = torch.where(rest.strengths.square() > noise, 1.0, torch.nan)
    strengths = torch.cat([strength, rest.strengths * known])
    return CommonDirections(torch.cat([first[None], rest.vectors * known[:, None]]), strengths, strengths)
