"""Lemma 3: the quantities of the paper on materialised changes as twin, laws, edges."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from layer_cases import LAYERS
from measure_cases import gaussian, laws, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import lemma3_terms, self_enhancement

RATE = 0.2
applied_once = pytest.mark.parametrize("name", [name for name, layer in LAYERS.items() if layer.inputs.ndim == 2])
sizes = st.tuples(st.integers(1, 8), st.integers(1, 6), st.integers(1, 6), seeds)


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


def cosines(a, b):
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))


def layer_of(n, d, h, seed):
    return gaussian(n, d, seed), gaussian(n, h, seed + 1), gaussian(h, d, seed + 2), gaussian(1, h, seed + 3)[0]


def slow_parts(weight, C):
    """V and ε of a weight (h, d) or of many."""
    V = weight.mT @ C / (C @ C)
    return V, weight.mT - V[..., None] * C


@applied_once
@pytest.mark.parametrize("whole_step", [False, True])
def test_it_is_what_the_materialised_changes_give(name, whole_step):
    layer = LAYERS[name]
    X, G = layer.inputs, layer.loss_gradients
    W, C = gaussian(G.shape[1], X.shape[1], 1), gaussian(1, G.shape[1], 2)[0]
    changes = -RATE * (layer.gradients.mean(0, keepdim=True) if whole_step else layer.gradients)
    dV, V = slow_parts(changes, C)[0], slow_parts(W, C)[0]
    for dF in (gaussian(*X.shape, 3), None):
        expected = cosines(dV, X) * cosines(V[None], -G @ W if dF is None else dF)
        close(self_enhancement(X, G, W, C, feature_changes=dF, whole_step=whole_step), expected)


@laws
@given(sizes)
def test_of_single_samples_it_is_minus_the_sign_of_the_push_times_the_second_cosine(size):
    X, G, W, C = layer_of(*size)
    V, _ = slow_parts(W, C)
    close(self_enhancement(X, G, W, C), -(G @ C).sign() * cosines(V[None], -G @ W))


@laws
@given(sizes)
def test_the_terms_are_those_of_the_materialised_changes(size):
    X, G, W, C = layer_of(*size)
    (V, eps), (dV, d_eps) = slow_parts(W, C), slow_parts(-RATE * G[:, :, None] * X[:, None], C)
    along = (dV * X).sum(1)
    noise = torch.stack([V @ eps @ rest.T @ x for rest, x in zip(d_eps, X, strict=True)])
    terms = lemma3_terms(X, G, W, C, learning_rate=RATE)
    close(terms.common, along * (V @ V) * (C @ C) * along)
    close(terms.noise, along * noise, 1e-9)


@laws
@given(sizes)
def test_the_sum_of_the_terms_is_the_product_that_the_cosines_have_the_sign_of(size):
    X, G, W, C = layer_of(*size)
    V, terms = slow_parts(W, C)[0], lemma3_terms(X, G, W, C, learning_rate=RATE)
    dV = -RATE * (G @ C)[:, None] * X / (C @ C)
    gradients = G @ W
    close(terms.common + terms.noise, -RATE * X.square().sum(1) * (dV * X).sum(1) * (gradients @ V), 1e-8)
    sure = (terms.common + terms.noise).abs() > 1e-8 * terms.common
    assert torch.equal((terms.common + terms.noise)[sure].sign(), self_enhancement(X, G, W, C)[sure].sign())


@laws
@given(sizes)
def test_where_the_first_term_is_larger_the_system_enhances_itself(size):
    """Lemma 3."""
    X, G, W, C = layer_of(*size)
    terms = lemma3_terms(X, G, W, C)
    assert (terms.common >= 0).all()
    larger = terms.common > terms.noise.abs() * (1 + 1e-9)
    assert (self_enhancement(X, G, W, C)[larger] > 0).all()


@laws
@given(sizes, st.floats(0.01, 100), st.booleans())
def test_scale_order_and_axes_do_not_matter(size, factor, whole_step):
    n, d, h, seed = size
    X, G, W, C = layer_of(*size)
    found = self_enhancement(X, G, W, C, whole_step=whole_step)
    turn, axes, order = rotation(d, seed), rotation(h, seed), shuffle(n, seed)
    turned = self_enhancement(X @ turn, G @ axes, axes.T @ W @ turn, axes.T @ C, whole_step=whole_step)
    close(turned, found, 1e-8)
    scaled = self_enhancement(factor * X, 3 * G, factor * W, -factor * C, whole_step=whole_step)
    close(scaled, found, 1e-9)
    close(self_enhancement(X[order], G[order], W, C, whole_step=whole_step), found[order], 1e-9)
    assert (found.abs() <= 1).all()


def test_terms_grow_with_the_rate_and_do_not_depend_on_the_length_of_the_direction_but_by_its_unit():
    X, G, W, C = layer_of(4, 3, 5, 0)
    one, two = lemma3_terms(X, G, W, C), lemma3_terms(X, G, W, 2 * C, learning_rate=3.0)
    close(two.common / one.common, torch.full((4,), 9 / 4, dtype=torch.float64))
    close(two.noise / one.noise, torch.full((4,), 9 / 4, dtype=torch.float64))


def test_vectors_that_are_zero_have_no_cosine():
    X, G, W, C = layer_of(3, 4, 2, 0)
    X[0], G[1] = 0, 0
    assert self_enhancement(X, G, W, C).isnan().tolist() == [True, True, False]
    assert self_enhancement(X, G, W, C, feature_changes=torch.zeros_like(X)).isnan().all()
    assert self_enhancement(X, G, 0 * W, C).isnan().all()
    terms = lemma3_terms(X, G, W, C)
    assert terms.common[:2].tolist() == [0.0, 0.0]
    assert terms.noise[:2].tolist() == [0.0, 0.0]
    assert lemma3_terms(X, G, W, 0 * C).common.isnan().all()


def test_unknown_values_stay_with_their_sample_but_for_a_whole_step():
    X, G, W, C = layer_of(3, 4, 2, 0)
    G[1, 0] = math.nan
    assert self_enhancement(X, G, W, C).isnan().tolist() == [False, True, False]
    assert self_enhancement(X, G, W, C, whole_step=True).isnan().all()
    assert lemma3_terms(X, G, W, C).noise.isnan().tolist() == [False, True, False]


def test_precisions_and_gradients():
    X, G, W, C = layer_of(3, 4, 2, 0)
    narrow = self_enhancement(X.half(), G.float(), W.float().requires_grad_(), C)
    assert narrow.dtype == torch.float32
    assert not narrow.requires_grad
    torch.testing.assert_close(narrow, self_enhancement(X, G, W, C).float(), rtol=0, atol=1e-2)
    assert lemma3_terms(X, G, W.float(), C).common.dtype == torch.float64


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_any_scale_of_float32(scale):
    X, G, W, C = (part.float() for part in layer_of(3, 4, 2, 0))
    expected, found = lemma3_terms(X, G, W, C), lemma3_terms(X * scale, G / scale**2, W, C)
    torch.testing.assert_close(found.common, expected.common, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.noise, expected.noise, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["self_enhancement", "lemma3_terms"])
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3, 2), (3, 4), (4, 3), 4), r"`weight` has a row per output gradient and a column per input; got \(4, 3\)"),
        (((3, 2), (3, 4), (4, 2), 3), "`direction`"),
        (((3, 2), (2, 4), (4, 2), 4), "pass the same samples everywhere"),
        (((3, 5, 2), (3, 5, 4), (4, 2), 4), "`inputs` is a floating-point matrix.*applied once"),
    ],
)
def test_bad_arguments_are_refused(name, shapes, message):
    with pytest.raises(InvalidInput, match=message):
        getattr(unchecked("enhancement"), name)(*(torch.ones(shape) for shape in shapes))


def test_feature_changes_of_another_layer_are_refused():
    layer = [torch.ones(shape) for shape in ((3, 2), (3, 4), (4, 2), (4,))]
    with pytest.raises(InvalidInput, match=r"`feature_changes` has the shape of `inputs`; got \(3, 1\)"):
        unchecked("enhancement").self_enhancement(*layer, feature_changes=torch.ones(3, 1))
