"""The second moment of the samples' weight gradients over many steps, of which common directions are made."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.measures.accumulators.base import State, nbytes, require_state
from cloudchamber.measures.directions import CommonDirections, common_directions, common_directions_of_rows
from cloudchamber.measures.factors import Direction, Inputs, OutputGradients, as_factors
from cloudchamber.measures.moments import gradient_moment, gradient_rows
from cloudchamber.measures.vectors import wide


class MomentAccumulator:
    """The second moment of weight gradients, `Σ_t Σ_x G_xᵀ (X_x X_xᵀ) G_x`, exactly and in any order of the steps.

    While the samples are fewer than the neurons it keeps `gradient_rows`, from which common directions are cheaper;
    afterwards the moment itself in float64, and up to h rows that wait to be multiplied together.

    Memory: at most `moment_bytes(h)` = 16 h² bytes (h = 512: 4 MiB).

    Args:
        width: h, the neurons of the layer.

    Raises:
        InvalidInput: if `width` is not positive.

    Source: mlp2024, Lemma 1, in closed form.

    >>> found = MomentAccumulator(2)
    >>> found.update(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    >>> found.update(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 3.0]]))
    >>> found.result()
    tensor([[ 4.,  4.],
            [ 4., 13.]], dtype=torch.float64)
    """

    def __init__(self, width: int) -> None:
        require(width > 0, "`width` is at least 1", width, "pass the number of neurons")
        self.width = width
        self._rows: list[Tensor] = []
        self._moment: Tensor | None = None

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
        n, P, d = X.shape
        rows = n * min(P, d)
        if rows > self.width or (P > 1 and (self._moment is not None or self._waiting + rows > self.width)):
            self._add(gradient_moment(X, G))
        elif rows:
            self._append(gradient_rows(X, G))

    def merge(self, other: MomentAccumulator) -> None:
        """Add all that another accumulator of the same width holds; it stays as it is."""
        require(other.width == self.width, f"both have {self.width} neurons", other.width, "merge those of one layer")
        for rows in other._rows:
            self._append(rows.clone())
        if other._moment is not None:
            self._add(other._moment)
        if self._moment is not None:
            self._multiply()

    def result(self) -> Float[Tensor, "h h"]:
        """Return the moment so far, float64: zero before the first update, all NaN if a NaN or infinity entered."""
        total = self._moment
        for rows in self._rows:
            found = _gram(rows)
            total = found if total is None else total + found
        return torch.zeros(self.width, self.width, dtype=torch.float64) if total is None else total.clone()

    def directions(self, count: int = 1, *, primary: Direction | None = None) -> CommonDirections:
        """Return the common directions so far, in float64: `common_directions` of the moment.

        Args:
            count: how many, from 1 to h.
            primary: (h,), a direction to take for the first.

        Raises:
            InvalidInput: if an argument does not fit the width.
        """
        if self._moment is None and self._rows and primary is None:
            return common_directions_of_rows(wide(torch.cat(self._rows)), count)
        return common_directions(self.result(), count, primary=primary)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the moment (0 × h before there is one) and the rows that are not yet in it."""
        moment = torch.zeros(0, self.width, dtype=torch.float64) if self._moment is None else self._moment.clone()
        return {"moment": moment, "rows": torch.cat(self._rows) if self._rows else moment.new_zeros(0, self.width)}

    def load_state_dict(self, state: State) -> None:
        """Take over a state.

        Raises:
            InvalidInput: if it is that of another accumulator.
        """
        require_state(state, {"moment": (None, self.width), "rows": (None, self.width)})
        moment, rows = state["moment"], state["rows"]
        require(len(moment) in (0, self.width), "a moment is square", tuple(moment.shape), "load a whole state")
        self._moment = moment.clone() if len(moment) else None
        self._rows = [rows.clone()] if len(rows) else []

    @property
    def nbytes(self) -> int:
        """The memory of its tensors, in bytes."""
        return nbytes(*self._rows, *([] if self._moment is None else [self._moment]))

    @property
    def _waiting(self) -> int:
        return sum(map(len, self._rows))

    def _append(self, rows: Tensor) -> None:
        if self._waiting + len(rows) > self.width:
            self._multiply()
        self._rows = [*(before.to(rows.device) for before in self._rows), rows]

    def _multiply(self) -> None:
        if self._rows:
            rows, self._rows = torch.cat(self._rows), []
            self._add(_gram(rows))

    def _add(self, moment: Tensor) -> None:
        self._moment = moment.clone() if self._moment is None else self._moment.to(moment.device).add_(moment)


def moment_bytes(width: int) -> int:
    """Return how many bytes a `MomentAccumulator` takes at most, whatever the number of steps: 16 h².

    >>> moment_bytes(512) / 2**20
    4.0
    """
    return 16 * width**2


def as_mean_gradient(inputs: Inputs, output_gradients: OutputGradients) -> tuple[Tensor, Tensor]:
    """Return factors of the mean gradient of a batch, as if it were that of one sample.

    `ΔW̄/−η = (1/n) Σ_x G_xᵀX_x` is the gradient of a layer that is applied to all samples as positions of one. So
    the moment of mean changes (mlp2024, Appendix F) is that of single samples' changes, of other factors.

    Args:
        inputs: (n, d) or (n, P, d): X.
        output_gradients: (n, h) or (n, P, h): G.

    Returns:
        (1, nP, d) and (1, nP, h).

    Raises:
        InvalidInput: if the two do not fit each other.

    Source: mlp2024, Section 3.1.1.

    >>> X, G = as_mean_gradient(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [1.0]]))
    >>> gradient_moment(X, G)  # (1/2 + 3/2)²
    tensor([[4.]], dtype=torch.float64)
    """
    X, G = as_factors(inputs, output_gradients)
    return X.flatten(0, 1)[None], G.flatten(0, 1)[None] / max(len(X), 1)


def require_width(G: Float[Tensor, "n P h"], width: int) -> None:
    """Raise `InvalidInput` unless output gradients have a column for each of the layer's neurons."""
    require(
        G.shape[2] == width,
        f"`output_gradients` has a column for each of the layer's {width} neurons",
        G.shape[2],
        "give each layer an accumulator of its own",
    )


def _gram(rows: Tensor) -> Tensor:
    """`rowsᵀ rows`, scaled as `gradient_moment` does it: the rows as gradients of inputs of length 1."""
    return gradient_moment(rows.new_ones(len(rows), 1), rows)
