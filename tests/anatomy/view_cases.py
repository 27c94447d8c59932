"""What the tests of views share: the gradient of a weight by autograd, laid out as the view lays out the weight."""

import copy

import hypothesis.strategies as st
import torch
from hypothesis import settings

laws = settings(derandomize=True, max_examples=40, deadline=None, database=None)
seeds = st.integers(0, 10_000)


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def close(found, expected, tolerance=1e-10):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def from_factors(view, inputs, gradients):
    """Σ_x G_xᵀ X_x, with Σ G as the gradient of the bias in the last column."""
    X, G = view.factors(inputs, gradients)
    assert X.shape[2] == view.fan_in
    assert G.shape[2] == view.width
    weight = torch.einsum("nph,npd->hd", G, X)
    return torch.cat([weight, G.sum((0, 1))[:, None]], 1) if view.bias else weight


def with_gradients_as_weights(module):
    """A copy whose weights are the gradients that autograd left: its views show those as they show weights."""
    twin = copy.deepcopy(module)
    with torch.no_grad():
        for target, source in zip(twin.parameters(), module.parameters(), strict=True):
            target.copy_(torch.zeros_like(source) if source.grad is None else source.grad)
    return twin
