"""The empirical neural tangent kernel of any model, from its Jacobian: general, and slower than `tangent_kernel`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.func import jacrev, vmap

from cloudchamber._core.errors import require
from cloudchamber.measures.vectors import precision, product

Parameters = Mapping[str, Tensor]
Function = Callable[[dict[str, Tensor], Tensor], Tensor]


def functional_kernel(
    function: Function,
    parameters: Parameters,
    samples: Shaped[Tensor, "n ..."],
    *,
    chunk_size: int | None = None,
    batched: bool = True,
) -> Float[Tensor, "n n k k"]:
    """Return the empirical neural tangent kernel of a function of parameters, for all pairs of its outputs.

    `Θ_{oo'}(x, x') = Σ_θ ∂f_o(x)/∂θ · ∂f_o'(x')/∂θ`, all parameters given included: those of norms, embeddings and
    biases too.

    Args:
        function: takes the parameters and a batch (m, ...) to outputs (m, k), each sample by itself: no batch norm in
            training mode, no randomness. For a module: `lambda p, x: torch.func.functional_call(module, p, (x,))`.
        parameters: by name; what the kernel sums over.
        samples: (n, ...), x.
        chunk_size: how many samples' Jacobians are held twice at a time; all, once, by default. With chunks, memory is
            bounded by twice k times the number of parameters times this, and Jacobians are computed again for every
            pair of chunks.
        batched: whether `torch.func` can transform the function; if not (fused recurrent modules), a backward pass is
            made for every sample and output.

    Returns:
        (n, n, k, k): float64 if a parameter is, float32 otherwise. NaN where a NaN enters.

    Raises:
        InvalidInput: if there is no parameter or sample, `chunk_size` is less than 1, or the outputs are not (m, k).

    Source: Jacot et al. (2018), cited by zhou2022 and xu2024.

    >>> parameters, samples = {"w": torch.tensor([[2.0, 1.0]])}, torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    >>> functional_kernel(lambda p, x: x @ p["w"].T, parameters, samples)[:, :, 0, 0]
    tensor([[5., 2.],
            [2., 1.]])
    """
    received = (len(parameters), len(samples))
    require(min(received) > 0, "there are parameters and samples", f"{received[0]} and {received[1]}", "pass some")
    size = len(samples) if chunk_size is None else chunk_size
    require(size >= 1, "`chunk_size` is at least 1", size, "use None for all samples at once")
    held = {name: value.detach() for name, value in parameters.items()}
    starts = range(0, len(samples), size)
    jacobian = _jacobian if batched else _jacobian_by_loops
    blocks: dict[tuple[int, int], Tensor] = {}
    for i in starts:
        left = jacobian(function, held, samples[i : i + size])
        for j in range(i, len(samples), size):
            right = left if i == j else jacobian(function, held, samples[j : j + size])
            blocks[i, j] = _contracted(left, right)
            blocks[j, i] = blocks[i, j].permute(1, 0, 3, 2)
    return torch.cat([torch.cat([blocks[i, j] for j in starts], 1) for i in starts])


def _jacobian(function: Function, parameters: dict[str, Tensor], samples: Tensor) -> dict[str, Tensor]:
    """For every parameter (m, k, its size)."""

    def of_one(given: dict[str, Tensor], sample: Tensor) -> Tensor:
        outputs = function(given, sample[None])
        require(
            outputs.ndim == 2 and len(outputs) == 1,
            "`function` returns (m, k) for m samples",
            f"{tuple(outputs.shape)} for 1",
            "flatten the outputs of each sample",
        )
        return outputs[0]

    jacobian = vmap(jacrev(of_one), (None, 0))(parameters, samples)
    dtype = precision(*parameters.values())
    return {name: part.detach().flatten(2).to(dtype) for name, part in jacobian.items()}


def _jacobian_by_loops(function: Function, parameters: dict[str, Tensor], samples: Tensor) -> dict[str, Tensor]:
    dtype = precision(*parameters.values())
    given = {name: value.requires_grad_() for name, value in parameters.items()}
    rows: dict[str, list[Tensor]] = {name: [] for name in given}
    with torch.enable_grad():
        for sample in samples:
            outputs = function(given, sample[None])[0]
            for number in range(len(outputs)):
                found = torch.autograd.grad(outputs[number], list(given.values()), retain_graph=True, allow_unused=True)
                for (name, value), gradient in zip(given.items(), found, strict=True):
                    rows[name].append((torch.zeros_like(value) if gradient is None else gradient).flatten().to(dtype))
    return {name: torch.stack(parts).unflatten(0, (len(samples), -1)) for name, parts in rows.items()}


def _contracted(left: dict[str, Tensor], right: dict[str, Tensor]) -> Tensor:
    terms = (product(left[name].flatten(0, 1), right[name].flatten(0, 1).T) for name in left)
    total = reduce(torch.add, terms)
    (a, k), b = next(iter(left.values())).shape[:2], len(next(iter(right.values())))
    return total.view(a, k, b, k).transpose(1, 2)
