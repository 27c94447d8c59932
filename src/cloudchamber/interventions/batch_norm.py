"""Batch norm and centering norm for vectors, feature maps and sequences."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from cloudchamber._core.errors import require

NeuronAxis = Literal[1, -1]
"""The dimension that counts the neurons: 1 for what convolutions compute, (n, h, ...), −1 for linear layers."""


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm on what a layer computed, whichever dimension counts its neurons; the shape stays.

    Equation: `BN(f_i) = γ_i (f_i − μ_i)/√(σ_i² + ε) + β_i`; in training μ_i and σ_i² are mean and variance of neuron i
    over the samples of the batch and their positions, in evaluation running averages of them:
    `μ ← (1 − m) μ + m E_batch f`, σ² likewise of the unbiased variance, from 0 and 1.

    Computed by torch; `torch.nn.BatchNorm1d` counts neurons along dimension 1, which is that of the positions in a
    sequence (n, T, h).

    Args:
        neurons: h.
        axis: the dimension that counts them.
        affine: whether there are γ and β, trained, from 1 and 0.
        momentum: m.
        eps: ε, beside the variance.

    Raises:
        InvalidInput: when called, if `axis` has another size, or a training batch has one value per neuron.

    Source: mlp2024, Appendix I.2; Ioffe and Szegedy, ICML 2015, Algorithm 1.

    >>> import torch
    >>> BatchNorm(2, affine=False)(torch.tensor([[1.0, 0.0], [3.0, 8.0]])).round(decimals=3)
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """

    def __init__(
        self, neurons: int, axis: NeuronAxis = -1, *, affine: bool = True, momentum: float = 0.1, eps: float = 1e-5
    ) -> None:
        super().__init__(neurons, eps, momentum, affine)
        self.axis: NeuronAxis = axis

    def forward(self, input: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:  # noqa: A002 - torch's name
        """Normalize each neuron."""
        rows = by_neuron(input, self.num_features, self.axis, training=self.training)
        return restored(super().forward(rows), input, self.axis)

    def extra_repr(self) -> str:
        """Say the settings."""
        return f"{super().extra_repr()}, axis={self.axis}"

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        """Nothing is left to check."""


class CenteringNorm(BatchNorm):
    """The paper's norm₁, the centering of features: batch norm without scale and shift.

    Equation: `norm₁(f_i) = (f_i − μ_i)/σ_i`, μ_i and σ_i over different samples; here `√(σ_i² + ε)`.

    The paper leaves open what evaluation does and has no ε. Evaluation uses running averages, as in batch norm, so that
    one sample's output does not depend on the others; ε is torch's by default. It limits what small features are
    multiplied by to 1/√ε: with features below √ε, as behind layers of small weights, norm₁ centers and no more.

    Args:
        neurons: h.
        axis: the dimension that counts them.
        momentum: m of the running averages.
        eps: ε, beside the variance.

    Raises:
        InvalidInput: as `BatchNorm`.

    Source: mlp2024, Appendix I.2 and Figure 55.

    >>> import torch
    >>> features = 5 + torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    >>> CenteringNorm(4)(features).mean(0).abs().max() < 1e-5
    tensor(True)
    """

    def __init__(self, neurons: int, axis: NeuronAxis = -1, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__(neurons, axis, affine=False, momentum=momentum, eps=eps)


def by_neuron(values: Float[Tensor, "n ..."], neurons: int, axis: NeuronAxis, *, training: bool) -> Tensor:
    """Return (n', h, ...): the values with their neurons along dimension 1; positions of a sequence count as samples.

    Args:
        values: (n, h, ...) or (n, ..., h).
        neurons: h.
        axis: which of the two.
        training: whether mean and variance are to be taken.

    Raises:
        InvalidInput: if there are no h neurons, or too few values for a variance.

    >>> import torch
    >>> by_neuron(torch.zeros(5, 7, 3), 3, -1, training=False).shape
    torch.Size([35, 3])
    """
    shape = tuple(values.shape)
    require(
        len(shape) >= 2 and shape[axis] == neurons,
        f"a norm of {neurons} neurons counts them along dimension {axis}",
        f"shape {shape}",
        "make it for the layer that it stands after, with that layer's `axis`",
    )
    require(
        not training or values.numel() > neurons,
        "a norm in training takes two values per neuron or more",
        f"shape {shape}",
        "train on larger batches, or call `eval()` first",
    )
    return values if axis == 1 or len(shape) == 2 else values.reshape(-1, neurons)


def restored(values: Tensor, like: Float[Tensor, "n ..."], axis: NeuronAxis) -> Float[Tensor, "n ..."]:
    """Undo `by_neuron`."""
    return values if axis == 1 or like.ndim == 2 else values.reshape(like.shape)
