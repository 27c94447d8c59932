"""Whether a layer reads the direction that the layer below it writes."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from cloudchamber._core.errors import require
from cloudchamber._core.types import Scalar
from cloudchamber.measures.eigen import oriented, top_singular
from cloudchamber.measures.vectors import as_matrix, precision, wide


def layer_alignment(
    weight: Float[Tensor, "h d"], next_weight: Float[Tensor, "m h"], inputs: Float[Tensor, "n d"] | None = None
) -> Scalar:
    """Return the alignment ζ of two consecutive layers: the cosine of the direction written with the one read.

    `ζ = cos(u, v')`, where v' is the leading right singular vector of the next weight W', and u the leading left one
    of W, or of W Xᵀ where inputs X are given. Of a network `uᵀW x` with one output and inputs along a line, x = a n,
    it is `u·w / (‖u‖‖w‖)` with w = W n, which is the ζ of xu2024; give the inputs then, because the rest of W is
    frozen and not read. Leading vectors, and not `‖W'W‖_F / (‖W'‖_F ‖W‖_F)`, because they keep the sign, and reach ±1
    for any number of outputs. Two random directions have `|ζ|` of about `1/√h`. Where the two largest singular values
    of a weight are close, its leading vector, and so ζ, is ill-conditioned.

    Args:
        weight: (h, d), W, without its biases.
        next_weight: (m, h), W' of the layer above, without its biases.
        inputs: (n, d), X: what the lower layer receives; without them all directions of its input count the same.

    Returns:
        A number in [−1, 1]: float64 if a tensor is, float32 otherwise. Its sign is that with which W' writes the
        response to the direction n it reads, both n and what W' writes taken with the sign that makes the first of
        their largest entries positive. NaN where a weight (or W Xᵀ) is zero, and where a NaN enters.

    Raises:
        InvalidInput: if an argument is not a floating-point matrix or the shapes do not fit.

    Source: xu2024, Eq. (20), for one output and inputs along a line; the rest is this library's.

    >>> import torch
    >>> w, u = torch.tensor([[3.0], [4.0]]), torch.tensor([[0.0, 2.0]])
    >>> layer_alignment(w, u)  # 4 · 2 / (5 · 2)
    tensor(0.8000)
    """
    W, above = as_matrix(weight, "weight"), as_matrix(next_weight, "next_weight")
    _require_fit(W, above, inputs)
    written, source = top_singular(W) if inputs is None else _written(wide(W), wide(as_matrix(inputs, "inputs")))
    target, read = top_singular(above)
    sign = _orientation(source) * _orientation(target)
    dtype = precision(*(part for part in (W, above, inputs) if part is not None))
    return (sign * (written @ read)).clamp(-1, 1).to(W.device, dtype)


def _written(W: Tensor, X: Tensor) -> tuple[Tensor, Tensor]:
    """The leading direction of the responses, and the direction of the inputs that causes it."""
    written, samples = top_singular(W @ X.T)
    return written, X.T @ samples


def _orientation(vector: Tensor) -> Tensor:
    """The sign of the first of the largest entries."""
    return (vector @ oriented(vector[:, None])[:, 0]).sign()


def _require_fit(W: Tensor, above: Tensor, inputs: Tensor | None) -> None:
    require(
        above.shape[1] == len(W),
        "`next_weight` has a column for every neuron of `weight`",
        f"{tuple(above.shape)} after {tuple(W.shape)}",
        "pass consecutive layers without their biases; flatten a convolution's (m, h, positions) to (m·positions, h)",
    )
    require(
        inputs is None or (inputs.ndim == 2 and inputs.shape[1] == W.shape[1]),
        "`inputs` has a column for every column of `weight`",
        None if inputs is None else tuple(inputs.shape),
        "pass what the layer receives",
    )
