"""Strengths along known directions over many steps: Appendix F, Theorem 1 and the alignment of steps (mlp2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Vector
from cloudchamber.measures.accumulators.base import (
    MeanAccumulator,
    Spread,
    State,
    joined_states,
    nbytes,
    require_state,
    state_part,
)
from cloudchamber.measures.accumulators.moments import require_width
from cloudchamber.measures.factors import Inputs, OutputGradients, PerApplication, as_factors
from cloudchamber.measures.vectors import as_matrix, product, wide


@dataclass(frozen=True)
class MeanChange:
    """How far weights moved along each direction, on average over steps.

    Attributes:
        along: (k, d), E_t[ΔV̄_{i,t}].
        strengths: (k,), `s_i = ‖C_i E_t[ΔV̄_{i,t}]ᵀ‖_F`.
        steps: how many steps.
    """

    along: Float[Tensor, "k d"]
    strengths: Float[Tensor, " k"]
    steps: int


class MeanChangeAccumulator:
    """The mean over steps of batch-mean weight changes along given directions, `E_t[ΔV̄_{i,t}]`.

    `ΔV̄_{i,t} = ΔW̄_tᵀ C_i / ‖C_i‖ = −(η/n) Σ_x (Ĉ_iᵀ g_x) x`: no change of size h×d is formed.

    Memory: 8 k (d + h) bytes.

    Args:
        directions: (k, h), C_1 … C_k, orthogonal, of any length.
        fan_in: d, the inputs of one neuron.

    Raises:
        InvalidInput: if `directions` is not a floating-point matrix, or `fan_in` is not positive.

    Source: mlp2024, Figure 3 and Appendix F.

    >>> found = MeanChangeAccumulator(torch.tensor([[1.0, 0.0]]), fan_in=2)
    >>> found.update(torch.tensor([[3.0, 0.0]]), torch.tensor([[-1.0, 9.0]]))
    >>> found.update(torch.tensor([[0.0, 8.0]]), torch.tensor([[-1.0, 9.0]]), learning_rate=0.5)
    >>> found.result().strengths
    tensor([2.5000], dtype=torch.float64)
    """

    def __init__(self, directions: Float[Tensor, "k h"], fan_in: int) -> None:
        require(fan_in > 0, "`fan_in` is at least 1", fan_in, "pass the number of inputs of one neuron")
        rows = wide(as_matrix(directions, "directions"))
        self._unit = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        self._mean = rows.new_zeros(len(rows), fan_in)
        self._steps = 0

    def update(self, inputs: Inputs, output_gradients: OutputGradients, *, learning_rate: float = 1.0) -> None:
        """Add the change of one step.

        Args:
            inputs: (n, d), or (n, P, d) for a layer applied P times per sample: X of the step's batch, n at least 1.
            output_gradients: (n, h) or (n, P, h): G = ∂loss_x/∂z of single samples, not divided by n.
            learning_rate: η.

        Raises:
            InvalidInput: if the two do not fit each other and the layer.
        """
        X, G = as_factors(inputs, output_gradients)
        require_width(G, self._unit.shape[1])
        wanted = self._mean.shape[1]
        require(X.shape[2] == wanted, f"`inputs` has {wanted} columns", X.shape[2], "pass X without a column of ones")
        pushes = product(self._unit.to(G), G.flatten(0, 1).T)
        along = wide(product(pushes, X.flatten(0, 1))) * (-learning_rate / len(X))
        self._steps += 1
        self._mean += (along.to(self._mean.device) - self._mean) / self._steps

    def result(self) -> MeanChange:
        """Return the mean so far; NaN before the first step, and for a direction that is zero or unknown."""
        mean = self._mean.clone() if self._steps else torch.full_like(self._mean, torch.nan)
        return MeanChange(mean, torch.linalg.vector_norm(mean, dim=1), self._steps)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the directions, the mean and the number of steps."""
        return {"unit": self._unit.clone(), "mean": self._mean.clone(), "steps": torch.tensor(self._steps)}

    def load_state_dict(self, state: State) -> None:
        """Take over a state, and its directions.

        Raises:
            InvalidInput: if it is that of another accumulator.
        """
        require_state(state, {"unit": self._unit.shape, "mean": self._mean.shape, "steps": ()})
        self._unit, self._mean, self._steps = state["unit"].clone(), state["mean"].clone(), int(state["steps"])

    @property
    def nbytes(self) -> int:
        """The memory of its tensors, in bytes."""
        return nbytes(self._unit, self._mean)


@dataclass(frozen=True)
class Theorem1Strengths:
    """Strengths of the components of Theorem 1, over samples and steps.

    Attributes:
        primary: S_primary, of `‖ΔW_primary|_x‖`.
        noise: (r,), S_1, S_2, …, of `‖ΔW_noise,k|_x‖`; they need not fall.
    """

    primary: Spread
    noise: Spread

    @property
    def largest(self) -> Float[Tensor, ""]:
        """The largest of S_1 … S_r."""
        return self.noise.mean.amax()

    @property
    def average(self) -> Float[Tensor, ""]:
        """The mean of S_1 … S_r."""
        return self.noise.mean.mean()

    @property
    def ratio(self) -> Float[Tensor, ""]:
        """S_primary over the largest of S_1 … S_r."""
        return self.primary.mean / self.largest


class Theorem1Accumulator:
    """Mean and standard deviation of the strengths of Theorem 1, over samples and steps.

    `S_primary = E_t E_x ‖ΔW_primary,t|_x‖_F`, `S_k = E_t E_x ‖ΔW_noise,t^(k)|_x‖_F`. Memory: 24 (r + 1) bytes.

    Args:
        components: r, the number of noise components.

    Source: mlp2024, Theorem 1 and Table 1.

    >>> found = Theorem1Accumulator(2)
    >>> found.update(torch.tensor([8.0, 12.0]), torch.tensor([[1.0, 2.0], [1.0, 3.0]]))
    >>> found.result().ratio
    tensor(4., dtype=torch.float64)
    """

    def __init__(self, components: int) -> None:
        self._parts = {"primary": MeanAccumulator(), "noise": MeanAccumulator(components)}

    def update(self, primary: Vector, noise: Float[Tensor, "n r"]) -> None:
        """Add the strengths of some samples: those of `primary_strengths` and `noise_strengths`.

        Raises:
            InvalidInput: if there are not r components.
        """
        self._parts["primary"].update(primary)
        self._parts["noise"].update(noise)

    def result(self) -> Theorem1Strengths:
        """Return the strengths so far; NaN before the first update."""
        return Theorem1Strengths(**{name: part.result() for name, part in self._parts.items()})

    def state_dict(self) -> dict[str, Tensor]:
        """Return the states of its parts."""
        return joined_states((name, part.state_dict()) for name, part in self._parts.items())

    def load_state_dict(self, state: State) -> None:
        """Take over a state.

        Raises:
            InvalidInput: if it is that of another accumulator.
        """
        for name, part in self._parts.items():
            part.load_state_dict(state_part(state, name))

    @property
    def nbytes(self) -> int:
        """The memory of its tensors, in bytes."""
        return sum(part.nbytes for part in self._parts.values())


@dataclass(frozen=True)
class Alignment:
    """How steps turn the weights along C towards features, beside what chance gives.

    Attributes:
        mean: of `cos(α_c ΔV, F_x)` over samples and steps.
        rate: how often it is positive.
        null_mean: the same after dealing the pushes out anew.
        null_rate: the same.
    """

    mean: float
    rate: float
    null_mean: float
    null_rate: float


class AlignmentAccumulator:
    """Mean and rate of positive cosines of steps with features, beside those of shuffled steps.

    Memory: 96 bytes. Cosines that are unknown are left out.

    Source: mlp2024, Figure 4 and Theorem 2.

    >>> found = AlignmentAccumulator()
    >>> found.update(torch.tensor([0.5, -0.1]), torch.tensor([[0.1, -0.1], [0.2, torch.nan]]))
    >>> found.result().rate, round(found.result().null_rate, 4)
    (0.5, 0.6667)
    """

    def __init__(self) -> None:
        self._parts = {name: MeanAccumulator(2, skip_unknown=True) for name in ("cosines", "null")}

    def update(self, cosines: PerApplication, shuffled: Float[Tensor, "draws n *p"]) -> None:
        """Add the cosines of a step: those of `step_alignment` and `shuffled_step_alignment`."""
        for part, values in zip(self._parts.values(), (cosines, shuffled), strict=True):
            flat = wide(values.flatten())
            positive = torch.where(flat.isnan(), torch.nan, (flat > 0).to(flat))
            part.update(torch.stack([flat, positive], 1))

    def result(self) -> Alignment:
        """Return means and rates so far; NaN where nothing was known."""
        return Alignment(*(value for part in self._parts.values() for value in part.result().mean.tolist()))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the states of its parts."""
        return joined_states((name, part.state_dict()) for name, part in self._parts.items())

    def load_state_dict(self, state: State) -> None:
        """Take over a state.

        Raises:
            InvalidInput: if it is that of another accumulator.
        """
        for name, part in self._parts.items():
            part.load_state_dict(state_part(state, name))

    @property
    def nbytes(self) -> int:
        """The memory of its tensors, in bytes."""
        return sum(part.nbytes for part in self._parts.values())
