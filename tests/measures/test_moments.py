"""Gradients of weights as factors: norms, moments and rows against the materialised n×h×d tensor; laws, edges."""

import math
from unittest.mock import patch

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from layer_cases import LAYERS
from measure_cases import gaussian, laws, matrices, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import (
    factors,
    gradient_moment,
    gradient_norm,
    gradient_rows,
    mean_gradient,
    moments,
    norms,
    sample_gradient_norms,
    weight_norm,
)

every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())


def slow_moment(gradients):
    return sum(gradient @ gradient.T for gradient in gradients)


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(b.abs().max())))


def factors_of(n, P, d, h, seed):
    return gaussian(n * P, d, seed).view(n, P, d), gaussian(n * P, h, seed + 1).view(n, P, h)


sizes = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 7), st.integers(1, 7), seeds)


@every_layer
def test_factors_are_those_of_autograd(layer):
    X, G = (part if part.ndim == 3 else part[:, None] for part in (layer.inputs, layer.loss_gradients))
    close(G.mT @ X, layer.gradients)


@every_layer
def test_the_moment_is_that_of_the_materialised_gradients(layer):
    close(gradient_moment(layer.inputs, layer.loss_gradients), slow_moment(layer.gradients))


@every_layer
def test_rows_have_the_moment_as_gram_matrix(layer):
    rows = gradient_rows(layer.inputs, layer.loss_gradients)
    n, (P, d) = len(layer.inputs), (layer.inputs.shape[1:] if layer.inputs.ndim == 3 else (1, layer.inputs.shape[1]))
    assert rows.shape == (n * min(P, d), layer.loss_gradients.shape[-1])
    close(rows.T @ rows, slow_moment(layer.gradients))


@every_layer
def test_norms_are_those_of_the_materialised_gradients(layer):
    close(sample_gradient_norms(layer.inputs, layer.loss_gradients), layer.gradients.flatten(1).norm(dim=1))
    close(mean_gradient(layer.inputs, layer.loss_gradients), layer.gradients.mean(0))
    close(gradient_norm(layer.inputs, layer.loss_gradients), layer.gradients.mean(0).norm())


@laws
@given(sizes, st.booleans(), st.sampled_from([1, 2**22]))
def test_both_ways_of_summing_over_positions_agree_in_any_chunks(size, few, chunk):
    X, G = factors_of(*size)
    with patch.object(moments, "_positions_are_few", lambda *_: few), patch.object(factors, "CHUNK", chunk):
        close(gradient_moment(X, G), slow_moment(G.mT @ X))


@laws
@given(sizes, st.sampled_from([1, 2**22]))
def test_both_ways_of_taking_norms_agree(size, chunk):
    X, G = factors_of(*size)
    with patch.object(factors, "CHUNK", chunk):
        close(norms._norms_by_positions(X, G), (G.mT @ X).flatten(1).norm(dim=1), 1e-9)
    close(sample_gradient_norms(X, G), (G.mT @ X).flatten(1).norm(dim=1), 1e-9)


@laws
@given(sizes)
def test_one_position_is_the_layer_applied_once(size):
    n, _, d, h, seed = size
    X, G = factors_of(n, 1, d, h, seed)
    for function in (gradient_moment, gradient_rows, sample_gradient_norms, mean_gradient, gradient_norm):
        assert torch.equal(function(X, G), function(X[:, 0], G[:, 0]))


@laws
@given(sizes, seeds)
def test_order_of_samples_and_positions_does_not_matter_and_samples_add_up(size, seed):
    X, G = factors_of(*size)
    order, places = shuffle(len(X), seed), shuffle(X.shape[1], seed)
    moment = gradient_moment(X, G)
    close(gradient_moment(X[order][:, places], G[order][:, places]), moment)
    close(gradient_moment(X[:1], G[:1]) + gradient_moment(X[1:], G[1:]), moment)


@laws
@given(sizes, seeds)
def test_axes_of_inputs_do_not_matter_and_axes_of_neurons_turn_the_moment(size, seed):
    X, G = factors_of(*size)
    turn, axes = rotation(X.shape[2], seed), rotation(G.shape[2], seed)
    close(gradient_moment(X @ turn, G @ axes), axes.T @ gradient_moment(X, G) @ axes)
    close(sample_gradient_norms(X @ turn, G @ axes), sample_gradient_norms(X, G))


@laws
@given(sizes)
def test_the_moment_is_positive_and_its_trace_sums_the_squared_norms(size):
    X, G = factors_of(*size)
    moment = gradient_moment(X, G)
    assert torch.linalg.eigvalsh(moment)[0] >= -1e-10 * moment.trace()
    close(moment.trace(), sample_gradient_norms(X, G).square().sum())
    assert gradient_norm(X, G) <= sample_gradient_norms(X, G).mean() * (1 + 1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15, 1e30])
@pytest.mark.parametrize("P", [1, 4])
def test_any_scale_of_float32(scale, P):
    X, G = (part.float() for part in factors_of(6, P, 3, 4, 0))
    expected = gradient_moment(X, G)
    assert expected.dtype == torch.float64
    close(gradient_moment(X, G * scale) / scale**2, expected, 1e-5)
    close(gradient_moment(X * scale, G / scale), expected, 1e-5)
    close(sample_gradient_norms(X * scale, G / scale), sample_gradient_norms(X, G), 1e-5)


def test_zero_gradients_and_no_samples():
    assert torch.equal(gradient_moment(torch.ones(3, 2), torch.zeros(3, 4)), torch.zeros(4, 4, dtype=torch.float64))
    assert torch.equal(gradient_moment(torch.ones(0, 2), torch.ones(0, 4)), torch.zeros(4, 4, dtype=torch.float64))
    assert gradient_rows(torch.ones(0, 2), torch.ones(0, 4)).shape == (0, 4)
    assert sample_gradient_norms(torch.ones(0, 5, 2), torch.ones(0, 5, 4)).shape == (0,)
    assert mean_gradient(torch.ones(0, 2), torch.ones(0, 4)).isnan().all()
    assert gradient_norm(torch.ones(0, 2), torch.ones(0, 4)).isnan()


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("P", [1, 4])
def test_unknown_values_give_nan(value, P):
    X, G = factors_of(3, P, 2, 4, 0)
    G[1, 0, 0] = value
    assert gradient_moment(X, G).isnan().all()
    assert not sample_gradient_norms(X, G)[1].isfinite()
    assert sample_gradient_norms(X, G)[[0, 2]].isfinite().all()


def test_precisions_and_gradients():
    X, G = gaussian(3, 2).half().requires_grad_(), gaussian(3, 4).float()
    assert sample_gradient_norms(X, G).dtype == mean_gradient(X, G).dtype == gradient_rows(X, G).dtype == torch.float32
    assert sample_gradient_norms(X.double(), G).dtype == torch.float64
    assert not gradient_moment(X, G).requires_grad
    assert not gradient_norm(X, G).requires_grad


def test_autocast_does_not_narrow_the_moment():
    X, G = (part.float() for part in factors_of(4, 3, 5, 6, 0))
    expected = gradient_moment(X, G)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(gradient_moment(X, G), expected)


@laws
@given(matrices(min_rows=1))
def test_the_weight_norm_is_the_root_of_all_squares(weight):
    expected = math.sqrt(math.fsum((weight**2).flatten().tolist()))
    assert math.isclose(weight_norm(weight), expected, rel_tol=1e-12)
    assert math.isclose(weight_norm(3 * weight), 3 * weight_norm(weight), rel_tol=1e-12)


@pytest.mark.parametrize(
    ("inputs", "gradients", "message"),
    [
        (torch.ones(3), torch.ones(3, 2), r"`inputs` is a floating-point tensor of shape \(n, size\)"),
        (torch.ones(3, 2), torch.ones(3, 2, dtype=torch.int64), "`output_gradients` is a floating-point"),
        (torch.ones(3, 2), torch.ones(4, 2), r"hold the same samples.*got \(3, 2\) and \(4, 2\)"),
        (torch.ones(3, 2, 2), torch.ones(3, 4, 2), "the same positions of each"),
        (torch.ones(3, 2), torch.ones(3, 1, 2), "the same positions of each"),
        (torch.ones(3, 0), torch.ones(3, 2), "`inputs`"),
        (torch.ones(3, 2, 2, 2), torch.ones(3, 2, 2, 2), "unfold a convolution's inputs"),
    ],
)
def test_bad_factors_are_refused(inputs, gradients, message):
    for module, names in (("moments", ("gradient_moment", "gradient_rows")), ("norms", ("mean_gradient",))):
        for name in names:
            with pytest.raises(InvalidInput, match=message):
                getattr(unchecked(module), name)(inputs, gradients)
