"""The embedding principle: how a narrow network lies in a wider one, with its output and its critical points.

Every wide neuron j stands for a narrow neuron ι(j): it has the same feature, and a share β_j of its error,
`F_j = F_ι(j)`, `∂R/∂z_j = β_j ∂R/∂z_ι(j)`, with `Σ_{ι(j)=i} β_j = 1`. Then the output is the same, and
`∂R/∂W_jj' = β_j ∂R/∂W_ι(j)ι(j')`: a critical point stays one, whatever the loss and the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.theory.chains import Activation, Matrix, chain_output, flatten, require_chain, require_fit, unflatten
from cloudchamber.theory.criticality import gradient_norm

Origins = Int[Tensor, " m"]
Shares = Float[Tensor, " m"]


@dataclass(frozen=True)
class Copies:
    """Which narrow neuron each wide neuron of a layer stands for, and with which share of its output weight.

    Attributes:
        origin: (m,), ι(j) in 0 … h − 1; every narrow neuron has a copy.
        share: (m,), β_j, of any sign; those of one narrow neuron sum to 1.

    Raises:
        InvalidInput: if a narrow neuron is missing or its shares do not sum to 1.

    >>> Copies(torch.tensor([0, 1, 1]), torch.tensor([1.0, 0.25, 0.75])).narrow
    2
    """

    origin: Origins
    share: Shares

    def __post_init__(self) -> None:
        fits = self.origin.ndim == 1 and self.origin.shape == self.share.shape and len(self.origin) > 0
        require(fits, "there is one share per copy", (tuple(self.origin.shape), tuple(self.share.shape)), "pass both")
        require(int(self.origin.min()) >= 0, "origins are indices from 0", int(self.origin.min()), "count from 0")
        total = self.share.new_zeros(self.narrow).index_add_(0, self.origin, self.share)
        rounding = 64 * torch.finfo(self.share.dtype).eps * float(self.share.abs().sum())
        require(
            bool(((total - 1).abs() <= rounding).all()),
            "every neuron has copies whose shares sum to 1",
            total.tolist(),
            "leave out none, and let the last share be 1 minus the others",
        )

    @property
    def narrow(self) -> int:
        """How many narrow neurons there are."""
        return int(self.origin.max()) + 1

    @classmethod
    def same(cls, h: int, like: Tensor) -> Copies:
        """Every neuron once."""
        return cls(torch.arange(h, device=like.device), like.new_ones(h))

    def groups(self) -> Float[Tensor, "m h"]:
        """One where row j is a copy of column i."""
        return torch.nn.functional.one_hot(self.origin, self.narrow).to(self.share)


def widen(w_in: Matrix, w_out: Matrix, copies: Copies) -> tuple[Matrix, Matrix]:
    """Return a hidden layer with each neuron replaced by copies that share its output weights.

    `w_j = w_ι(j)`, `a_j = β_j a_ι(j)`. The same share goes to all outputs of a copy: with several outputs, copies
    whose output weights only sum to the original's keep the output but not the critical point.

    Args:
        w_in: (h, d), input weights, rows are neurons, a bias as a last column.
        w_out: (k, h) or (k, h + 1), the next layer's weights; a last column beyond h is its bias and stays.
        copies: of the h neurons.

    Returns:
        The wider (m, d) and (k, m) or (k, m + 1).

    Raises:
        InvalidInput: if the matrices and copies do not fit each other.

    Source: overview2025, Section 6.2; Zhang et al., Embedding principle (2021), one-step splitting.

    >>> copies = Copies(torch.tensor([0, 0]), torch.tensor([0.25, 0.75]))
    >>> widen(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0]]), copies)
    (tensor([[1., 2.],
            [1., 2.]]), tensor([[1., 3.]]))
    """
    require_fit(w_out, len(w_in))
    require(copies.narrow == len(w_in), f"copies are of {len(w_in)} neurons", copies.narrow, "give each neuron a copy")
    kept = w_out[:, len(w_in) :]
    return w_in[copies.origin], torch.cat([w_out[:, copies.origin] * copies.share, kept], 1)


def split_neuron(w_in: Matrix, w_out: Matrix, neuron: int, shares: Sequence[float]) -> tuple[Matrix, Matrix]:
    """Return a hidden layer with one neuron split into copies with output weights `δ_1 a, δ_2 a, …`.

    The first copy stays in its place, the others come last.

    Args:
        w_in: (h, d), as in `widen`.
        w_out: (k, h) or (k, h + 1), as in `widen`.
        neuron: which, from 0.
        shares: δ, of any sign, one per copy, summing to 1: (δ, 1 − δ) for two.

    Raises:
        InvalidInput: if there is no such neuron, or the shares do not sum to 1.

    Source: overview2025, Section 6.2.

    >>> split_neuron(torch.tensor([[1.0], [2.0]]), torch.tensor([[4.0, 8.0]]), 0, (-0.5, 1.5))[1]
    tensor([[-2.,  8.,  6.]])
    """
    require(0 <= neuron < len(w_in), f"`neuron` is from 0 to {len(w_in) - 1}", neuron, "name a neuron of the layer")
    require(len(shares) > 0, "there is a share for each copy", len(shares), "use (1.0,) for one copy")
    origin = torch.tensor([*range(len(w_in)), *[neuron] * (len(shares) - 1)], device=w_in.device)
    share = w_in.new_tensor([1.0] * len(w_in) + list(shares[1:]))
    share[neuron] = shares[0]
    return widen(w_in, w_out, Copies(origin, share))


def add_null_neurons(w_in: Matrix, w_out: Matrix, input_weights: Float[Tensor, "q d"]) -> tuple[Matrix, Matrix]:
    """Return a hidden layer with neurons added that have zero output weights.

    The output never changes. `∂R/∂w` of a null neuron is zero, but `∂R/∂a = Σ_x g_x σ(w·x)` need not be. A critical
    point stays one where w is that of another neuron of the layer; where w = 0 and σ(0) = 0; where w is zero but for
    its bias and the next layer has a bias (then `Σ_x g_x = 0`); where `σ(w·x) = 0` on all samples; and at zero
    residual. For any other w see with `check_embedding`.

    Args:
        w_in: (h, d), as in `widen`.
        w_out: (k, h) or (k, h + 1), as in `widen`.
        input_weights: (q, d), one row per neuron added.

    Raises:
        InvalidInput: if the rows do not fit those of `w_in`.

    Source: Zhang et al., Embedding principle (2021), null embedding.

    >>> add_null_neurons(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 5.0]]), torch.zeros(1, 2))[1]
    tensor([[4., 0., 5.]])
    """
    require_fit(w_out, len(w_in))
    fits = input_weights.ndim == 2 and input_weights.shape[1] == w_in.shape[1]
    require(fits, f"rows have {w_in.shape[1]} entries", tuple(input_weights.shape), "pass one row per neuron added")
    zeros = w_out.new_zeros(len(w_out), len(input_weights))
    return torch.cat([w_in, input_weights]), torch.cat([w_out[:, : len(w_in)], zeros, w_out[:, len(w_in) :]], 1)


def embed_chain(
    weights: Sequence[Matrix], copies: Sequence[Copies], *, free: Sequence[Matrix] | None = None
) -> list[Matrix]:
    """Return a chain with all hidden layers widened: the general compatible embedding.

    `W_jj' = β_j' W_ι(j)ι(j') + N_jj'`, where N is free but for `Σ_{j' of one narrow neuron} N_jj' = 0` (features stay)
    and `Σ_{j of one narrow neuron} β_j N_jj' = 0` (errors keep their shares). Splitting layer after layer gives N = 0.

    Args:
        weights: the narrow chain, as in `chain_output`.
        copies: for each hidden layer.
        free: for each matrix between two hidden layers, any (m_l, m_{l−1}) matrix; its projection onto what is allowed
            is N. Zero by default.

    Returns:
        The wide chain, its biases those of the narrow neurons.

    Raises:
        InvalidInput: if the parts do not fit each other.

    Source: Zhang et al., Embedding principle: a hierarchical structure of loss landscape (2022), general compatible
    embedding.

    >>> twice = Copies(torch.tensor([0, 0]), torch.tensor([0.5, 0.5]))
    >>> [part.tolist() for part in embed_chain([torch.ones(1, 1), torch.ones(1, 1)], [twice])]
    [[[1.0], [1.0]], [[0.5, 0.5]]]
    """
    require_chain(weights)
    require(len(copies) == len(weights) - 1, "there are copies for each hidden layer", len(copies), "pass all")
    ends = [*copies, Copies.same(len(weights[-1]), weights[-1])]
    parts = [*_free_parts(copies, free), None]
    wide = [weights[0][ends[0].origin]]
    for weight, (before, after), part in zip(weights[1:], pairwise(ends), parts, strict=True):
        wide.append(_between(weight, before, after, part))
    return wide


@dataclass(frozen=True)
class EmbeddingCheck:
    """What an embedding did to a network.

    Attributes:
        output_change: the largest change of an output on the samples, relative to the largest output.
        narrow_gradient: the norm of the loss gradient before.
        wide_gradient: and after.
    """

    output_change: float
    narrow_gradient: float
    wide_gradient: float


def check_embedding(
    narrow: Sequence[Matrix],
    wide: Sequence[Matrix],
    samples: Float[Tensor, "n d"],
    activation: Activation,
    loss: Callable[[Tensor], Tensor],
) -> EmbeddingCheck:
    """Return by how much an embedding changed the output, and the gradient norm before and after.

    Args:
        narrow: the chain before, as in `chain_output`.
        wide: the chain after.
        samples: (n, d), x.
        activation: σ.
        loss: of outputs (n, k), one number.

    Raises:
        InvalidInput: if a chain does not fit the samples.

    Source: overview2025, Section 6.2.

    >>> narrow, x = [torch.ones(1, 1), torch.ones(1, 1)], torch.tensor([[1.0]])
    >>> wide = list(split_neuron(*narrow, 0, (0.25, 0.75)))
    >>> check_embedding(narrow, wide, x, torch.tanh, torch.sum).output_change < 1e-15
    True
    """
    held = samples.to(torch.float64)

    def output(theta: Tensor, chain: Sequence[Matrix]) -> Tensor:
        return chain_output(unflatten(theta, chain), held, activation)

    def gradient(chain: Sequence[Matrix]) -> float:
        return gradient_norm(lambda theta: loss(output(theta, chain)), flatten(chain))

    before, after = (output(flatten(chain).to(torch.float64), chain) for chain in (narrow, wide))
    change = (after - before).abs().max() / before.abs().max()
    return EmbeddingCheck(float(change), gradient(narrow), gradient(wide))


def _free_parts(copies: Sequence[Copies], free: Sequence[Matrix] | None) -> list[Matrix | None]:
    """The free part between each two hidden layers, checked, or None."""
    if free is None:
        return [None] * (len(copies) - 1)
    expected = [(len(after.origin), len(before.origin)) for before, after in pairwise(copies)]
    received = [tuple(part.shape) for part in free]
    require(received == expected, f"`free` has the shapes {expected}", received, "one matrix between two hidden layers")
    return list(free)


def _between(weight: Matrix, before: Copies, after: Copies, free: Matrix | None) -> Matrix:
    """The wide matrix between two widened layers."""
    h = weight.shape[1]
    require(
        before.narrow in (h, h - 1),
        f"copies are of {h} neurons, or {h - 1} and a bias",
        before.narrow,
        "give every neuron of the layer a copy",
    )
    rows = weight[after.origin]
    core = rows[:, before.origin] * before.share
    core = core if free is None else core + _allowed(free, before, after)
    return torch.cat([core, rows[:, before.narrow :]], 1)


def _allowed(free: Matrix, before: Copies, after: Copies) -> Matrix:
    """The part of a matrix whose sums over copies vanish, weighted by the shares along its rows."""
    columns, rows = before.groups(), after.groups()
    balanced = free - free @ (columns / columns.sum(0)) @ columns.T
    return balanced - rows @ (rows * after.share[:, None]).T @ balanced
