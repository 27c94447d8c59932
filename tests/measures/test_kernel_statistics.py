"""Statistics of kernels: twins by loops over all pairs, laws, edges."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given
from measure_cases import gaussian, generator, laws, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import (
    kernel_alignment,
    kernel_drift,
    kernel_spectrum,
    kernel_trace,
    permuted_kernel_alignment,
)

sizes = st.tuples(st.integers(1, 7), st.integers(1, 3), seeds)


def kernel_of(n, k, seed):
    """A kernel (n, n, k, k), and the same as a matrix (n·k, n·k)."""
    jacobian = gaussian(n * k, n + 3, seed)
    matrix = jacobian @ jacobian.T
    return matrix.view(n, k, n, k).transpose(1, 2), matrix


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype), rtol=tolerance, atol=tolerance)


@laws
@given(sizes)
def test_drift_is_that_of_the_flat_matrices(size):
    (K, flat), (start, flat_start) = kernel_of(*size), kernel_of(*size[:2], size[2] + 1)
    found = kernel_drift(K, start)
    close(found.distance, (flat - flat_start).norm() / flat_start.norm())
    close(found.rotation, 1 - (flat * flat_start).sum() / (flat.norm() * flat_start.norm()))
    assert 0 <= found.rotation <= 1
    assert found.distance >= 0


@laws
@given(sizes, st.floats(0.1, 10))
def test_drift_by_scale_is_distance_without_rotation(size, factor):
    K, _ = kernel_of(*size)
    found = kernel_drift(factor * K, K)
    close(found.distance, abs(factor - 1))
    assert found.rotation < 1e-15


def test_a_small_rotation_keeps_its_digits():
    start = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    moved = torch.tensor([[1.0, 1e-9], [1e-9, 0.0]], dtype=torch.float64)
    assert math.isclose(kernel_drift(moved, start).rotation, 1e-18, rel_tol=1e-6)


def test_drift_of_and_from_zero():
    one, zero = torch.ones(2, 2), torch.zeros(2, 2)
    assert kernel_drift(one, zero).distance == math.inf
    assert kernel_drift(zero, zero).distance.isnan()
    assert kernel_drift(zero, one).distance == 1
    assert kernel_drift(zero, one).rotation.isnan()
    assert kernel_drift(torch.full((2, 2), math.nan), one).rotation.isnan()


@laws
@given(sizes)
def test_alignment_is_the_cosine_with_the_kernel_of_the_targets(size):
    n, k, seed = size
    K, flat = kernel_of(*size)
    y = gaussian(n, k, seed + 1)
    target = torch.outer(y.flatten(), y.flatten())
    close(kernel_alignment(K, y), (flat * target).sum() / (flat.norm() * target.norm()))
    contracted = torch.einsum("xyoo->xy", K)
    close(kernel_alignment(contracted, y), (contracted * (y @ y.T)).sum() / (contracted.norm() * (y @ y.T).norm()))
    assert -1e-12 <= kernel_alignment(K, y) <= 1


@laws
@given(sizes)
def test_centred_alignment_is_that_of_centred_features_and_targets(size):
    n, k, seed = size
    assume(n > 1)
    center = torch.eye(n, dtype=torch.float64) - 1 / n
    K, _ = kernel_of(*size)
    y = gaussian(n, k, seed + 1)
    centred = torch.einsum("xa,yb,aboq->xyoq", center, center, K)
    close(kernel_alignment(K, y, centered=True), kernel_alignment(centred, center @ y), 1e-9)
    contracted = torch.einsum("xyoo->xy", K)
    expected = kernel_alignment(center @ contracted @ center, center @ y)
    close(kernel_alignment(contracted, y, centered=True), expected, 1e-9)
    close(kernel_alignment(contracted + 5, y + 3, centered=True), expected, 1e-7)


@laws
@given(sizes, st.floats(0.1, 10))
def test_scale_and_order_of_samples_do_not_matter(size, factor):
    n, k, seed = size
    K, _ = kernel_of(*size)
    y, order = gaussian(n, k, seed + 1), shuffle(n, seed)
    close(kernel_alignment(factor * K[order][:, order], -factor * y[order]), kernel_alignment(K, y))
    close(kernel_spectrum(factor * K[order][:, order]), factor * kernel_spectrum(K), 1e-8)


@laws
@given(sizes)
def test_the_kernel_of_the_targets_is_aligned_with_them(size):
    n, k, seed = size
    y = gaussian(n, k, seed)
    close(kernel_alignment(torch.einsum("xo,yq->xyoq", y, y), y), 1)
    close(kernel_alignment(y @ y.T, y), 1)
    close(kernel_alignment(y[:, :1] @ y[:, :1].T, y[:, 0]), 1)


def test_alignment_with_a_single_output_and_targets_without_its_dimension():
    K, _ = kernel_of(4, 1, 0)
    y = gaussian(4, 1)
    close(kernel_alignment(K, y[:, 0]), kernel_alignment(K[:, :, 0, 0], y[:, 0]))


def test_alignment_without_targets_or_kernel_is_undefined():
    K = torch.eye(3)
    assert kernel_alignment(K, torch.zeros(3)).isnan()
    assert kernel_alignment(0 * K, torch.ones(3)).isnan()
    assert kernel_alignment(torch.ones(3, 3), torch.ones(3), centered=True).isnan()
    assert kernel_alignment(K, torch.tensor([1.0, math.nan, 0.0])).isnan()


@laws
@given(sizes)
def test_the_spectrum_is_that_of_the_flat_matrix(size):
    K, flat = kernel_of(*size)
    found = kernel_spectrum(K)
    close(found, torch.linalg.eigvalsh(flat).flip(0), 1e-9)
    close(found.sum(), flat.trace(), 1e-9)
    assert (found.diff() <= 0).all()
    close(kernel_spectrum(flat), found, 1e-9)


def test_axes_do_not_matter_to_the_spectrum_and_unknown_values_give_nan():
    _, flat = kernel_of(5, 1, 0)
    turn = rotation(5)
    close(kernel_spectrum(turn @ flat @ turn.T), kernel_spectrum(flat), 1e-9)
    flat[0, 0] = math.nan
    assert kernel_spectrum(flat).isnan().all()
    assert kernel_spectrum(torch.ones(0, 0)).shape == (0,)


@pytest.mark.parametrize("count", [1, 3, 30, 200])
def test_a_few_eigenvalues_are_the_first_of_all(count):
    K, _ = kernel_of(60, 2, 0)
    close(kernel_spectrum(K, count), kernel_spectrum(K)[:count], 1e-9)
    assert kernel_spectrum(K * math.nan, count).shape == (min(count, 120),)


@laws
@given(sizes)
def test_the_trace_is_the_sum_of_the_eigenvalues(size):
    K, flat = kernel_of(*size)
    close(kernel_trace(K), flat.trace(), 1e-9)
    close(kernel_trace(flat), flat.trace(), 1e-9)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_permuted_alignments_are_those_with_permuted_targets(centered, outputs):
    K, flat = kernel_of(7, outputs, 0)
    y, random = gaussian(7, outputs, 5), generator(4)
    orders = [torch.randperm(7, generator=random) for _ in range(6)]
    state = torch.random.get_rng_state()
    found = permuted_kernel_alignment(K, y, centered=centered, draws=6, seed=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    close(found, torch.stack([kernel_alignment(K, y[order], centered=centered) for order in orders]), 1e-10)
    of_samples = permuted_kernel_alignment(flat[:7, :7], y, centered=centered, draws=6, seed=4)
    expected = [kernel_alignment(flat[:7, :7], y[order], centered=centered) for order in orders]
    close(of_samples, torch.stack(expected), 1e-10)


def test_precisions():
    K, _ = kernel_of(3, 2, 0)
    y = gaussian(3, 2)
    assert kernel_drift(K.float(), K.half()).distance.dtype == torch.float32
    assert kernel_drift(K.float(), K).rotation.dtype == torch.float64
    assert kernel_alignment(K.float(), y.float()).dtype == kernel_spectrum(K.half()).dtype == torch.float32
    assert kernel_alignment(K.float(), y).dtype == kernel_spectrum(K).dtype == torch.float64
    drift = kernel_drift(1e30 * K.float(), 1e30 * K.float())
    assert drift.distance == 0
    assert drift.rotation < 1e-15


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("kernel_drift", (torch.ones(2, 2), torch.ones(3, 3)), "have the same shape"),
        (
            "kernel_drift",
            (torch.ones(2, 3), torch.ones(2, 3)),
            r"`kernel` is a floating-point tensor of shape \(n, n\)",
        ),
        ("kernel_spectrum", (torch.ones(2, 2, 3),), "`kernel`"),
        ("kernel_spectrum", (torch.ones(2, 2), 0), "`count` is at least 1; got 0"),
        ("kernel_trace", (torch.ones(2, 3),), "`kernel`"),
        ("permuted_kernel_alignment", (torch.ones(2, 2), torch.ones(3)), "`targets` holds floating-point numbers"),
        ("kernel_spectrum", (torch.ones(2, 2, 3, 2),), "`kernel`"),
        ("kernel_spectrum", (torch.ones(2, 2, dtype=torch.int64),), "`kernel`"),
        ("kernel_alignment", (torch.ones(2, 2), torch.ones(3)), "`targets` holds floating-point numbers"),
        ("kernel_alignment", (torch.ones(2, 2), torch.ones(2, dtype=torch.int64)), "one-hot for classes"),
        ("kernel_alignment", (torch.ones(2, 2, 3, 3), torch.ones(2, 2)), r"for a kernel of shape \(2, 2, 3, 3\)"),
        ("kernel_alignment", (torch.ones(2, 2, 3, 3), torch.ones(2)), "`targets`"),
    ],
)
def test_bad_arguments_are_refused(name, arguments, message):
    with pytest.raises(InvalidInput, match=message):
        getattr(unchecked("kernel_statistics"), name)(*arguments)
