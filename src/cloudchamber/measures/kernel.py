"""The empirical neural tangent kernel of a chain of linear layers, without its Jacobian.

`Θ_{oo'}(x, x') = ⟨∂f_o(x)/∂θ, ∂f_o'(x')/∂θ⟩`. A layer adds `(x·x' + 1_bias)(g_o·g'_o')` where it is applied once, and
the sum of that over all pairs of positions where it is applied P times: taken pair by pair while these are few, and
through the gradients of some neurons at a time once they are many. The kernel is symmetric; half of it is computed.

Kernels of layers add up. For a learning rate per layer (xu2024, Eq. (18)), give √η G for G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as pairs

import torch
from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber.measures.factors import CHUNK, as_factors
from cloudchamber.measures.norms import sample_gradient_norms
from cloudchamber.measures.vectors import precision, product

AnyInputs = Float[Tensor, "n ..."]
PerOutput = Float[Tensor, "n k ..."]

_BLOCKS = 6
_FEWEST_ROWS = 64


@dataclass(frozen=True)
class _Layer:
    """X (n, P, d), and G (n, k, P, h): one for each of the k outputs of the network."""

    X: Tensor
    G: Tensor
    bias: bool

    def folded(self) -> _Layer:
        """The outputs as more neurons of one output: their kernel is the sum of the kernels of the outputs."""
        return _Layer(self.X, self.G.transpose(1, 2).flatten(2)[:, None], self.bias)


def tangent_kernel(
    inputs: Sequence[AnyInputs], output_gradients: Sequence[PerOutput], *, biases: bool | Sequence[bool] = False
) -> Float[Tensor, "n n k k"]:
    """Return the empirical neural tangent kernel of a network's linear layers, for all pairs of its outputs.

    `Θ_{oo'}(x, x') = Σ_layers ⟨G_{x,o}ᵀX_x, G_{x',o'}ᵀX_x'⟩_F`, with 1 added to every `X_x X_x'ᵀ` for biases.

    Args:
        inputs: for each layer X, (n, d), or (n, P, d) where it is applied P times per sample.
        output_gradients: for each layer G, (n, k, h) or (n, k, P, h): `∂f_o(x)/∂z` of each of the k outputs of the
            network, f_o itself in place of the loss.
        biases: whether the layers have biases that are trained, or that of each layer.

    Returns:
        (n, n, k, k), exactly symmetric under exchange of both pairs; float64 if a tensor is, float32 otherwise. NaN
        where a NaN enters.

    Raises:
        InvalidInput: if there is no layer, a tensor is not floating-point, or the shapes do not fit.

    Source: Jacot et al. (2018), cited by zhou2022 and xu2024; in closed form.

    >>> X, G = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[[3.0]], [[1.0]]])
    >>> tangent_kernel([X], [G])[:, :, 0, 0]
    tensor([[45.,  6.],
            [ 6.,  1.]])
    """
    return _kernel(_layers(inputs, output_gradients, biases)).transpose(1, 2)


def contracted_kernel(
    inputs: Sequence[AnyInputs], output_gradients: Sequence[PerOutput], *, biases: bool | Sequence[bool] = False
) -> Float[Tensor, "n n"]:
    """Return the empirical neural tangent kernel summed over outputs, at a k-th of the cost of all their pairs.

    `Θ(x, x') = Σ_o Θ_{oo}(x, x')`.

    Args:
        inputs: as in `tangent_kernel`.
        output_gradients: as in `tangent_kernel`.
        biases: as in `tangent_kernel`.

    Returns:
        (n, n), exactly symmetric; float64 if a tensor is, float32 otherwise. NaN where a NaN enters.

    Raises:
        InvalidInput: as `tangent_kernel`.

    Source: as `tangent_kernel`.

    >>> X, G = torch.tensor([[1.0], [2.0]]), torch.ones(2, 3, 1)
    >>> contracted_kernel([X], [G], biases=True)
    tensor([[ 6.,  9.],
            [ 9., 15.]])
    """
    return _kernel([layer.folded() for layer in _layers(inputs, output_gradients, biases)])[:, 0, :, 0]


def kernel_diagonal(
    inputs: Sequence[AnyInputs], output_gradients: Sequence[PerOutput], *, biases: bool | Sequence[bool] = False
) -> Float[Tensor, "n k"]:
    """Return the diagonal of the empirical neural tangent kernel; its sum is the trace.

    `Θ_{oo}(x, x) = ‖∂f_o(x)/∂θ‖²`, from the samples one by one.

    Args:
        inputs: as in `tangent_kernel`.
        output_gradients: as in `tangent_kernel`.
        biases: as in `tangent_kernel`.

    Returns:
        (n, k), from 0 to infinity; float64 if a tensor is, float32 otherwise. NaN where a NaN enters.

    Raises:
        InvalidInput: as `tangent_kernel`.

    Source: as `tangent_kernel`.

    >>> kernel_diagonal([torch.tensor([[3.0, 4.0]])], [torch.tensor([[[1.0], [2.0]]])])
    tensor([[ 25., 100.]])
    """
    return sum((_diagonal(layer) for layer in _layers(inputs, output_gradients, biases)), start=torch.zeros(()))


def _layers(
    inputs: Sequence[Tensor], output_gradients: Sequence[Tensor], biases: bool | Sequence[bool]
) -> list[_Layer]:
    each = [biases] * len(inputs) if isinstance(biases, bool) else list(biases)
    received = (len(inputs), len(output_gradients), len(each))
    require(
        received[0] > 0 and len(set(received)) == 1,
        "there is an X, a G and (if a sequence) a bias for each of one or more layers",
        received,
        "pass sequences of equal length",
    )
    layers = [_layer(*parts) for parts in zip(inputs, output_gradients, each, strict=True)]
    sizes = {tuple(layer.G.shape[:2]) for layer in layers}
    require(len(sizes) == 1, "all layers have the same n samples and k outputs", sizes, "pass layers of one network")
    dtype = precision(*(layer.G for layer in layers))
    return [_Layer(layer.X.to(dtype), layer.G.to(dtype), layer.bias) for layer in layers]


def _layer(inputs: Tensor, output_gradients: Tensor, bias: bool) -> _Layer:
    require(
        output_gradients.ndim in (3, 4) and output_gradients.shape[1] > 0,
        "`output_gradients` has the shape (n, k, h) or (n, k, P, h)",
        tuple(output_gradients.shape),
        "stack G of each of the k outputs along the second dimension",
    )
    X, first = as_factors(inputs, output_gradients[:, 0])
    G = output_gradients.detach().to(first)
    return _Layer(X, G if G.ndim == 4 else G[:, :, None], bias)


def _kernel(layers: list[_Layer]) -> Float[Tensor, "n k n k"]:
    n, k = layers[0].G.shape[:2]
    kernel = layers[0].G.new_zeros(n, k, n, k)
    few = max(1, -(-_FEWEST_ROWS // k), -(-n // _BLOCKS))
    rows = [slice(start, min(start + few, n)) for start in range(0, n, few)]
    for layer in layers:
        add = _add_pairs if _positions_are_few(layer) else _add_gradients
        add(kernel, layer, rows)
    for part in rows:
        square = kernel[part, :, part]
        kernel[part, :, part] = (square + square.permute(2, 3, 0, 1)) / 2
        kernel[part.stop :, :, part] = kernel[part, :, part.stop :].permute(2, 3, 0, 1)
    return kernel


def _positions_are_few(layer: _Layer) -> bool:
    """Whether products of all pairs of positions cost less than gradients of all neurons."""
    (n, k, P, h), d = layer.G.shape, layer.X.shape[2]
    return P * P * (k * k * h + d) * n <= 2 * k * P * h * d + k * k * n * h * d


def _add_pairs(kernel: Tensor, layer: _Layer, rows: list[slice]) -> None:
    """Add `Σ_{p,q} (X_p X_qᵀ + 1_bias) ⊙ (G_p G_qᵀ)` to the upper half."""
    X, G = layer.X, layer.G
    for (p, q), part in pairs(pairs(range(X.shape[1]), repeat=2), rows):
        overlap = product(X[part, p], X[part.start :, q].T) + layer.bias
        gradients = product(G[part, :, p].flatten(0, 1), G[part.start :, :, q].flatten(0, 1).T)
        upper = kernel[part, :, part.start :]
        upper.addcmul_(gradients.view(upper.shape), overlap[:, None, :, None])


def _add_gradients(kernel: Tensor, layer: _Layer, rows: list[slice]) -> None:
    """Add `J Jᵀ` to the upper half, where J holds the gradients of some neurons at a time, and of all biases."""
    n, k, _, d = *layer.G.shape[:3], layer.X.shape[2]
    for G in layer.G.split(max(1, CHUNK // (n * k * d)), 3):
        gradients = product(G.mT.flatten(1, 2), layer.X)
        _add_square(kernel, gradients.reshape(n, k, -1), rows)
    if layer.bias:
        _add_square(kernel, layer.G.sum(2), rows)


def _add_square(kernel: Tensor, J: Float[Tensor, "n k m"], rows: list[slice]) -> None:
    for part in rows:
        upper = kernel[part, :, part.start :]
        upper += product(J[part].flatten(0, 1), J[part.start :].flatten(0, 1).T).view(upper.shape)


def _diagonal(layer: _Layer) -> Float[Tensor, "n k"]:
    norms = [sample_gradient_norms(layer.X, G) for G in layer.G.unbind(1)]
    squares = torch.stack(norms, 1).square()
    return squares + layer.G.sum(2).square().sum(2) if layer.bias else squares
