"""Mean cosines by native code beside those by torch: the same numbers, whatever the vectors."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from measure_cases import gaussian, laws, seeds, shuffle

from cloudchamber.measures import fused
from cloudchamber.measures.accuracy import class_accuracy
from cloudchamber.measures.fused import fused_class_accuracy, fused_mean_cosines, is_native
from cloudchamber.measures.partials import cosine_partials, finished_cosine, shortened

pytestmark = pytest.mark.skipif(not is_native(), reason="no native code here")
SPECIAL = [0.0, 1e-300, 1e-200, 1e-25, 1e25, 1e200, 1e308, math.inf, math.nan]


def by_torch(*arguments):
    return [finished_cosine(*each).item() for each in shortened(cosine_partials(*arguments))]


def same(found, expected, tolerance):
    assert found is not None
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64), expected, rtol=0, atol=tolerance, equal_nan=True
    )


@laws
@given(st.integers(1, 12), st.lists(st.integers(1, 90), max_size=3), st.lists(st.integers(1, 90), max_size=3), seeds)
def test_it_equals_torch(n, widths, widths_by_class, seed):
    alike = [gaussian(n, width, seed=seed + width) for width in widths]
    by_class = [gaussian(n, width, seed=seed - width) for width in widths_by_class]
    labels = shuffle(n, seed) % 3
    if alike or by_class:
        same(fused_mean_cosines(alike, by_class, labels, 3), by_torch(alike, by_class, labels, 3), 1e-10)
        same(fused_mean_cosines(alike, by_class), by_torch(alike, by_class), 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 15, 16, 17, 5000])
@pytest.mark.parametrize("factor", SPECIAL)
def test_vectors_without_a_direction_and_those_of_any_length(factor, width, dtype):
    vectors = gaussian(9, width, seed=width).to(dtype)
    vectors[2] *= factor
    labels = torch.arange(9) % 2
    arguments = [vectors], [vectors, vectors[:, :1]], labels, 2
    same(fused_mean_cosines(*arguments), by_torch(*arguments), 1e-10 if dtype == torch.float64 else 1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_any_precision_layout_and_shape(dtype):
    vectors = [gaussian(6, 4, seed=1).to(dtype), gaussian(4, 6, seed=2).to(dtype).T, torch.ones(6, 1).expand(6, 3)]
    vectors += [gaussian(6, 8, seed=3).reshape(6, 2, 4).to(dtype).transpose(1, 2)]
    vectors = [each.to(dtype) for each in vectors]
    labels = torch.tensor([0, 0, 1, 1, 1, 2], dtype=torch.int32)
    same(fused_mean_cosines(vectors, vectors, labels, 4), by_torch(vectors, vectors, labels.long(), 4), 1e-6)


def test_many_threads_change_no_bit():
    vectors = [gaussian(100, width, seed=width).float() for width in (300, 301, 302, 303)]
    labels = torch.arange(100) % 10
    alone = fused_mean_cosines(vectors, vectors, labels, 10)
    torch.set_num_threads(2)
    try:
        assert fused_mean_cosines(vectors, vectors, labels, 10) == alone
    finally:
        torch.set_num_threads(1)


def test_what_it_does_not_take_is_left_to_torch(monkeypatch):
    vectors = gaussian(4, 3, seed=0)
    assert fused_mean_cosines([vectors, vectors.float()]) is None
    assert fused_mean_cosines([vectors.to("meta")]) is None
    assert fused_mean_cosines([], [vectors], torch.tensor([0, 1, 2, 0]), 2) is None
    assert fused_mean_cosines([], [vectors], torch.tensor([0, -1, 1, 0]), 2) is None
    assert fused_mean_cosines([]) is None
    monkeypatch.setattr(fused, "_functions", dict)
    assert fused_mean_cosines([vectors]) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@laws
@given(st.integers(1, 30), st.integers(1, 6), seeds)
def test_the_accuracy_equals_torch(dtype, n, k, seed):
    outputs, labels = gaussian(n, k, seed).to(dtype).round(decimals=0), shuffle(n, seed) % (k + 2) - 1
    outputs[shuffle(n, seed) % 7 == 0, 0] = math.nan
    outputs[shuffle(n, seed + 1) % 7 == 0, -1] = math.inf
    found = fused_class_accuracy(outputs, labels)
    assert found is not None
    torch.testing.assert_close(found, class_accuracy(outputs, labels), rtol=0, atol=0, equal_nan=True)


def test_other_outputs_are_left_to_torch():
    labels = torch.zeros(3, dtype=torch.int64)
    for outputs in (
        torch.ones(3),
        torch.ones(4, 3).T[:, :2].T,
        torch.ones(3, 2, dtype=torch.float16),
        torch.ones(4, 2),
    ):
        assert fused_class_accuracy(outputs, labels) is None
    assert fused_class_accuracy(torch.ones(3, 2), labels.int()) is None
