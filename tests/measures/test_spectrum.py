"""Effective rank: the SVD as twin, laws, known answers, edges."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given
from measure_cases import gaussian, laws, matrices, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import effective_rank


def slow_effective_rank(vectors):
    sigma = [s for s in torch.linalg.svdvals(vectors).tolist() if s > 0]
    return math.exp(-sum(s / sum(sigma) * math.log(s / sum(sigma)) for s in sigma))


def close(a, b, tolerance=1e-10):
    return math.isclose(float(a), float(b), rel_tol=tolerance)


@laws
@given(st.integers(1, 12), st.integers(1, 12), seeds)
def test_it_is_what_the_svd_gives(n, d, seed):
    vectors = gaussian(n, d, seed) + 0.3
    assume(n != d)
    assert close(effective_rank(vectors), slow_effective_rank(vectors))


@laws
@given(matrices(min_rows=1))
def test_it_lies_between_one_and_the_rank(vectors):
    assume(vectors.any())
    rank = effective_rank(vectors)
    assert 1 <= rank <= torch.linalg.matrix_rank(vectors) * (1 + 1e-12)


@laws
@given(st.integers(2, 12), st.integers(1, 8), seeds)
def test_order_scale_signs_and_axes_do_not_matter(n, d, seed):
    vectors = gaussian(n, d, seed)
    changed = -3.0 * vectors[shuffle(n, seed)] @ rotation(d, seed)
    assert close(effective_rank(changed), effective_rank(vectors), 1e-6)
    assert close(effective_rank(vectors.T), effective_rank(vectors), 1e-6)
    assert close(effective_rank(torch.cat([vectors, vectors])), effective_rank(vectors), 1e-6)


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize(("n", "d"), [(40, 20), (20, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_k_even_directions_have_rank_k(k, n, d, dtype):
    vectors = (rotation(n)[:, :k] @ rotation(d, 1)[:k]).to(dtype)
    assert close(effective_rank(vectors), k, 1e-4 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize(("n", "d"), [(500, 100), (100, 500)])
def test_vectors_along_one_line_have_rank_one_although_rounding_hides_it(n, d):
    vectors = gaussian(n, 1) @ gaussian(1, d, 1)
    assert effective_rank(vectors) == 1


def test_uneven_directions_count_less():
    assert 1 < effective_rank(torch.diag(torch.tensor([1.0, 0.1]))) < 2


@pytest.mark.parametrize("vectors", [torch.zeros(3, 2), torch.zeros(0, 2)])
def test_it_is_undefined_without_a_vector_that_is_not_zero(vectors):
    assert effective_rank(vectors).isnan()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_unknown_values_give_nan(value):
    vectors = torch.ones(3, 4)
    vectors[1, 1] = value
    assert effective_rank(vectors).isnan()


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_any_scale(scale):
    vectors = gaussian(9, 5)
    assert close(effective_rank(vectors * scale), effective_rank(vectors), 1e-9)


def test_precisions():
    vectors = gaussian(9, 5)
    assert effective_rank(vectors).dtype == torch.float64
    for dtype in (torch.float16, torch.bfloat16):
        half = vectors.to(dtype)
        assert effective_rank(half).dtype == torch.float32
        assert effective_rank(half) == effective_rank(half.float())


def test_one_vector_has_rank_one():
    assert effective_rank(torch.tensor([[3.0, 4.0]])) == 1


@pytest.mark.parametrize("vectors", [torch.ones(3), torch.ones(3, 0), torch.ones(3, 2, dtype=torch.int64)])
def test_bad_vectors_are_refused(vectors):
    with pytest.raises(InvalidInput, match="`vectors`"):
        unchecked("spectrum").effective_rank(vectors)
