"""Phase norm: batch norm during the first phase, constants afterwards."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cloudchamber._core.errors import require
from cloudchamber.interventions.batch_norm import NeuronAxis, by_neuron, restored
from cloudchamber.measures.similarity import mean_cosine

Watched = Literal["output", "normalized", "rectified"]
Statistics = Literal["batch", "running"]


class PhaseNorm(nn.Module):
    """Normalize what a layer computed while its features are alike; then go on with constants. The shape stays.

    Equations, for training batch t with features F:

        a_t = 0.99 a_{t−1} + 0.01 E_{x≠x'} cos(F|_x, F|_x')
        μ_t = (1 − m) μ_{t−1} + m E_batch f,  σ_t² = (1 − m) σ_{t−1}² + m Var_batch f   while a_t > τ
        norm(f_i) = (f_i − μ_i)/√(σ_i² + ε)

    Once a_t ≤ τ the first phase is over: μ and σ² are constants from then on, in training too, and each sample is
    normalized by itself. `σ_0² = 1`, `μ_0 = 0`; the variance of a batch is the unbiased one, as in torch's batch norm.
    There is no scale and no shift. In evaluation nothing is updated, and μ and σ² are what they are by then. A batch
    without a mean cosine (all features zero, or a NaN) leaves a as it is.

    What the paper leaves open is an argument:

    Args:
        neurons: h.
        axis: the dimension that counts them.
        threshold: τ.
        start: a_0. With 1, μ and σ² have forgotten their start (0.9¹²⁰ = 3·10⁻⁶) before a can reach 0.3, after 120
            batches at the earliest; with a value up to τ the norm is frozen by the first batches, at (0, 1): no norm.
        smoothing: the weight of a_{t−1}.
        momentum: m.
        eps: ε, which the paper does not have.
        watched: what F is: "output", what the layer computed ("the output feature of the linear layer"); "normalized",
            the same after its normalization by the batch, whose mean cosine is about −1/n from the start, so that the
            norm freezes as soon as a has decayed; "rectified", ReLU of that, about 1/π = 0.318 for independent
            Gaussians, so close above τ that little decides whether and when it freezes.
        statistics: what the batch is normalized by in the first phase: "batch", its own mean and variance (Eq. 30, as
            batch norm does), through which gradients flow; "running", μ_t and σ_t (Eq. 31), as constants.
        once: whether the end of the first phase is final; else updates go on whenever a > τ, as Eq. 31 says literally.

    Attributes:
        similarity: a_t.
        frozen: whether a_t ≤ τ.
        batches: how many training batches updated μ and σ².
        running_mean: (h,), μ.
        running_var: (h,), σ².

    Raises:
        InvalidInput: if a number is out of its range; when called, as `BatchNorm`.

    Source: mlp2024, Appendix K, Eq. (29)–(31).

    >>> norm, apart = PhaseNorm(4), torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    >>> norm(apart + 5).mean(0).abs().max() < 1e-5, norm.frozen  # features that are alike
    (tensor(True), tensor(False))
    >>> for _ in range(200):
    ...     _ = norm(apart)
    >>> norm.frozen, norm.batches
    (tensor(True), tensor(118))
    """

    running_mean: Tensor
    running_var: Tensor
    similarity: Tensor
    frozen: Tensor
    batches: Tensor

    def __init__(
        self,
        neurons: int,
        axis: NeuronAxis = -1,
        *,
        threshold: float = 0.3,
        start: float = 1.0,
        smoothing: float = 0.99,
        momentum: float = 0.1,
        eps: float = 1e-5,
        watched: Watched = "output",
        statistics: Statistics = "batch",
        once: bool = True,
    ) -> None:
        super().__init__()
        _require_ranges(threshold=threshold, start=start, smoothing=smoothing, momentum=momentum, eps=eps)
        self.neurons = neurons
        self.axis: NeuronAxis = axis
        self.threshold, self.start, self.smoothing, self.momentum, self.eps = threshold, start, smoothing, momentum, eps
        self.watched, self.statistics, self.once = watched, statistics, once
        self.register_buffer("running_mean", torch.zeros(neurons))
        self.register_buffer("running_var", torch.ones(neurons))
        self.register_buffer("similarity", torch.tensor(float(start)))
        self.register_buffer("frozen", torch.tensor(False))
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Update what the phase says, and normalize each neuron."""
        learns = self.training and not (self.once and bool(self.frozen))
        rows = by_neuron(x, self.neurons, self.axis, training=learns)
        updates = learns and self._in_first_phase(x.detach(), rows.detach())
        if updates:
            self.batches += 1
        if updates and self.statistics == "running":
            self._normalized(rows.detach(), update=True)
            updates = False
        return restored(self._normalized(rows, update=updates), x, self.axis)

    def extra_repr(self) -> str:
        """Say the settings."""
        settings = ("axis", "threshold", "start", "smoothing", "momentum", "eps", "watched", "statistics", "once")
        return ", ".join([str(self.neurons), *(f"{name}={getattr(self, name)}" for name in settings)])

    def _in_first_phase(self, x: Tensor, rows: Tensor) -> bool:
        """Follow how alike the features are, and tell whether they still are."""
        if self.watched != "output":
            x = nn.functional.batch_norm(rows, None, None, training=True, eps=self.eps).reshape(x.shape)
        if self.watched == "rectified":
            x = x.relu()
        alike = mean_cosine(x.flatten(1)).to(self.similarity)
        blend = self.smoothing * self.similarity + (1 - self.smoothing) * alike
        self.similarity.copy_(torch.where(alike.isfinite(), blend, self.similarity))
        self.frozen.copy_(self.similarity <= self.threshold)
        return not bool(self.frozen)

    def _normalized(self, rows: Tensor, *, update: bool) -> Tensor:
        return nn.functional.batch_norm(
            rows, self.running_mean, self.running_var, training=update, momentum=self.momentum, eps=self.eps
        )


def _require_ranges(**numbers: float) -> None:
    for name, low, high in (
        ("threshold", -1.0, 1.0),
        ("start", -1.0, 1.0),
        ("smoothing", 0.0, 1.0),
        ("momentum", 0.0, 1.0),
        ("eps", 0.0, float("inf")),
    ):
        value = numbers[name]
        require(low <= value <= high, f"`{name}` lies between {low:g} and {high:g}", value, "choose one that does")
