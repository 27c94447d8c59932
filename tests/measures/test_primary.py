"""Theorem 1: the paper's own formulas on materialised weight changes as twin, exactness, laws, edges."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given
from measure_cases import gaussian, laws, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import (
    common_directions,
    gradient_moment,
    noise_components,
    noise_strengths,
    primary_strengths,
    theorem1_factors,
)

RATE = 0.3
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


class Chain:
    """x → W → σ → W' → σ → loss, without biases, and everything that Theorem 1 speaks of, in full."""

    def __init__(self, sizes, seed, activation="relu", n=6):
        d, h, m = sizes
        sigma = ACTIVATIONS[activation]
        self.W, self.above = gaussian(h, d, seed).requires_grad_(), gaussian(m, h, seed + 1).requires_grad_()
        self.X = gaussian(n, d, seed + 2)
        z = self.X @ self.W.T
        self.F = sigma(z)
        z_above = self.F @ self.above.T
        targets = gaussian(n, m, seed + 3)
        losses = ((torch.tanh(z_above) - targets) ** 2).sum(1)
        (self.G_above,) = torch.autograd.grad(losses.sum(), [z_above], retain_graph=True)
        (self.gates,) = torch.autograd.grad(self.F.sum(), [z], retain_graph=True)
        grads = [torch.autograd.grad(loss, [self.W, self.above], retain_graph=True) for loss in losses]
        self.changes = torch.stack([-RATE * own for own, _ in grads])
        self.changes_above = torch.stack([-RATE * above for _, above in grads])
        self.above, self.F = self.above.detach(), self.F.detach()
        self.C = 1.7 * common_directions(gradient_moment(self.F, self.G_above)).vectors[0]

    def slow(self):
        """ΔW_primary and ΔW_noise,k of every sample, (n, h, d) and (n, k, h, d), by the paper's Eq. (13)."""
        C, CC = self.C, self.C @ self.C
        V, eps = self.above.T @ C / CC, self.above.T - torch.outer(self.above.T @ C, C) / CC
        U, S, Vh = torch.linalg.svd(eps, full_matrices=False)
        primary, noise = [], []
        for x, F, D, change in zip(self.X, self.F, self.gates, self.changes_above, strict=True):
            dV = change.T @ C / CC
            d_eps = change.T - torch.outer(change.T @ C, C) / CC
            right = torch.outer(F, x) / (F @ F)
            primary.append(torch.diag(D) @ torch.outer(V, C) @ torch.outer(C, dV) @ right)
            parts = [S[k] * torch.outer(U[:, k], Vh[k]) @ d_eps.T @ right for k in range(len(S))]
            noise.append(torch.stack([torch.diag(D) @ part for part in parts]))
        return torch.stack(primary), torch.stack(noise)

    def factors(self):
        return theorem1_factors(self.gates, self.above, self.C, self.G_above, learning_rate=RATE)

    def strengths(self, count=None):
        components = noise_components(self.above, self.C, count)
        return (
            primary_strengths(self.X, self.gates, self.above, self.C, self.G_above, learning_rate=RATE),
            noise_strengths(self.X, self.gates, components, self.G_above, learning_rate=RATE),
        )


sizes = st.tuples(st.integers(1, 5), st.integers(2, 6), st.integers(2, 6))
activations = st.sampled_from(["relu", "tanh"])


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1.0, float(b.abs().max())))


def alive(chain):
    return (chain.F.norm(dim=1) > 1e-3).all()


@laws
@given(sizes, seeds, activations)
def test_the_parts_are_those_of_the_paper_and_add_up_to_the_change_of_every_sample(sizes, seed, activation):
    chain = Chain(sizes, seed, activation)
    assume(alive(chain))
    found, (primary, noise) = chain.factors(), chain.slow()
    close(found.primary[:, :, None] * chain.X[:, None], primary)
    close(found.noise[:, :, None] * chain.X[:, None], noise.sum(1))
    close((found.primary + found.noise)[:, :, None] * chain.X[:, None], chain.changes)
    close(primary + noise.sum(1), chain.changes)


@laws
@given(sizes, seeds, activations)
def test_strengths_are_the_norms_of_the_parts(sizes, seed, activation):
    chain = Chain(sizes, seed, activation)
    assume(alive(chain))
    (primary, noise), (slow_primary, slow_noise) = chain.strengths(), chain.slow()
    close(primary, torch.linalg.matrix_norm(slow_primary))
    close(noise, torch.linalg.matrix_norm(slow_noise), 1e-7)
    close(primary, chain.factors().primary.norm(dim=1) * chain.X.norm(dim=1))


@pytest.mark.parametrize("sizes", [(4, 6, 5), (3, 5, 6), (20, 30, 30), (7, 90, 80)])
def test_strengths_of_separate_components_to_ten_digits(sizes):
    """Random seeds may draw singular values that lie close; these do not."""
    chain = Chain(sizes, 4)
    noise, slow = chain.strengths(3)[1], torch.linalg.matrix_norm(chain.slow()[1][:, :3])
    close(noise, slow)


@laws
@given(sizes, seeds)
def test_components_are_the_singular_value_decomposition_beside_the_direction(sizes, seed):
    _, h, m = sizes
    weight, direction = gaussian(m, h, seed), gaussian(1, m, seed + 1)[0]
    found = noise_components(weight, direction)
    unit = direction / direction.norm()
    beside = weight.T - torch.outer(weight.T @ unit, unit)
    close(found.left @ found.right.T, beside)
    close(found.values, torch.linalg.svdvals(beside), 1e-7)
    assert (found.values.diff() <= 1e-7).all()
    ends = [torch.outer(found.left[:, k], found.right[:, k]) for k in range(len(found.values))]
    for i, part in enumerate(ends):
        for other in ends[:i]:
            assert abs(float((part * other).sum())) < 1e-8


@laws
@given(sizes, seeds, st.integers(1, 5))
def test_fewer_components_are_the_first_of_all(sizes, seed, count):
    _, h, m = sizes
    assume(count <= min(h, m))
    weight, direction = gaussian(m, h, seed), gaussian(1, m, seed + 1)[0]
    close(noise_components(weight, direction, count).values, noise_components(weight, direction).values[:count], 1e-7)


@laws
@given(sizes, seeds, st.floats(0.1, 10))
def test_strengths_grow_with_inputs_gradients_and_rate_but_not_with_the_direction(sizes, seed, factor):
    chain = Chain(sizes, seed)
    before = chain.strengths()
    X, G = factor * chain.X, 2 * chain.G_above
    primary = primary_strengths(X, chain.gates, chain.above, -3 * chain.C, G, learning_rate=RATE)
    close(primary, 2 * factor * before[0], 1e-9)
    components = noise_components(chain.above, -3 * chain.C)
    close(noise_strengths(X, chain.gates, components, G, learning_rate=RATE), 2 * factor * before[1], 1e-7)


@laws
@given(sizes, seeds)
def test_order_of_samples_and_axes_of_the_inputs_do_not_matter(sizes, seed):
    chain = Chain(sizes, seed)
    order, turn = shuffle(len(chain.X), seed), rotation(sizes[0], seed)
    changed = (chain.X[order] @ turn, chain.gates[order], chain.above, chain.C, chain.G_above[order])
    close(primary_strengths(*changed, learning_rate=RATE), chain.strengths()[0][order])


def test_a_sample_whose_features_are_zero_has_strength_zero_and_not_zero_by_zero():
    chain = Chain((4, 6, 5), 0)
    chain.gates[2] = 0
    primary, noise = chain.strengths()
    assert primary[2] == 0
    assert (noise[2] == 0).all()
    assert (chain.factors().noise[2] == 0).all()
    assert primary.isfinite().all()
    assert noise.isfinite().all()


def test_zero_gradients_and_one_sample():
    chain = Chain((4, 6, 5), 0, n=1)
    chain.G_above = torch.zeros_like(chain.G_above)
    primary, noise = chain.strengths(2)
    assert primary.tolist() == [0.0]
    assert noise.tolist() == [[0.0, 0.0]]


def test_a_weight_along_the_direction_alone_leaves_no_noise():
    C = torch.tensor([1.0, 2.0])
    components = noise_components(torch.outer(C, torch.ones(3)), C)
    close(components.values, torch.zeros(2), 1e-6)
    assert (noise_strengths(torch.ones(1, 2), torch.ones(1, 3), components, torch.ones(1, 2)) < 1e-5).all()


def test_unknown_values_stay_with_their_sample():
    chain = Chain((4, 6, 5), 0)
    chain.G_above[1, 0] = math.nan
    primary, noise = chain.strengths()
    assert primary.isnan().tolist() == [False, True, False, False, False, False]
    assert noise.isnan().any(1).tolist() == [False, True, False, False, False, False]
    chain.C = torch.zeros(5, dtype=torch.float64)
    primary, noise = chain.strengths()
    assert primary.isnan().all()
    assert noise.isnan().all()


def test_precisions():
    chain = Chain((4, 6, 5), 0)
    narrow = [part.detach().float() for part in (chain.X, chain.gates, chain.above)]
    X, gates, above = narrow
    G = chain.G_above.half()
    components = noise_components(above, chain.C, 2)
    primary, noise = primary_strengths(X, gates, above, chain.C, G), noise_strengths(X, gates, components, G)
    assert primary.dtype == noise.dtype == components.left.dtype == torch.float32
    assert theorem1_factors(gates, above, chain.C, G).primary.dtype == torch.float32
    assert primary_strengths(X, gates, above.double(), chain.C, G).dtype == torch.float64
    expected = chain.strengths(2)
    torch.testing.assert_close(RATE * primary, expected[0].float(), rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(RATE * noise, expected[1].float(), rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_any_scale_of_float32(scale):
    chain = Chain((4, 6, 5), 0)
    X, gates, above, G = (part.detach().float() for part in (chain.X, chain.gates, chain.above, chain.G_above))
    expected = primary_strengths(X, gates, above, chain.C, G)
    found = primary_strengths(X / scale, gates, above, chain.C, G * scale)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("noise_components", (torch.ones(2, 3), torch.ones(2), 3), "`count` is from 1 to 2; got 3"),
        ("noise_components", (torch.ones(2), torch.ones(2)), "`next_weight` is a matrix"),
        ("noise_components", (torch.ones(2, 3), torch.ones(3)), "`direction`"),
        (
            "theorem1_factors",
            (torch.ones(4, 3), torch.ones(2, 4), torch.ones(2), torch.ones(4, 2)),
            "a weight from 4 to 2 neurons has gates and output gradients of as many; got 3 and 2.*without its biases",
        ),
        (
            "theorem1_factors",
            (torch.ones(4, 5, 3), torch.ones(2, 3), torch.ones(2), torch.ones(4, 5, 2)),
            "`gates` is a floating-point matrix with one row per sample, as of a layer applied once",
        ),
        (
            "theorem1_factors",
            (torch.ones(4, 3), torch.ones(2, 3), torch.ones(2), torch.ones(5, 2)),
            "pass the same samples everywhere",
        ),
        (
            "primary_strengths",
            (torch.ones(4, 2, 2), torch.ones(4, 3), torch.ones(2, 3), torch.ones(2), torch.ones(4, 2)),
            "`inputs` is a floating-point matrix",
        ),
    ],
)
def test_bad_arguments_are_refused(name, arguments, message):
    with pytest.raises(InvalidInput, match=message):
        getattr(unchecked("primary"), name)(*arguments)


def test_components_of_another_layer_are_refused():
    components = noise_components(torch.ones(2, 3), torch.ones(2), 1)
    with pytest.raises(InvalidInput, match="a weight from 3 to 2 neurons"):
        unchecked("primary").noise_strengths(torch.ones(4, 2), torch.ones(4, 2), components, torch.ones(4, 2))
