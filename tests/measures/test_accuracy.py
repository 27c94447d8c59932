"""Class accuracy: a twin by loops, laws, edges."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from measure_cases import gaussian, laws, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import class_accuracy


def slow_class_accuracy(outputs, labels):
    right = [[] for _ in range(outputs.shape[1])]
    for scores, label in zip(outputs.tolist(), labels.tolist(), strict=True):
        right[label].append(scores.index(max(scores)) == label)
    return [sum(answers) / len(answers) if answers else math.nan for answers in right]


@laws
@given(st.integers(0, 30), st.integers(1, 6), seeds)
def test_it_is_what_a_loop_gives(n, k, seed):
    outputs, labels = gaussian(n, k, seed), shuffle(n, seed) % k
    expected = torch.tensor(slow_class_accuracy(outputs, labels), dtype=torch.float64)
    torch.testing.assert_close(class_accuracy(outputs, labels), expected, equal_nan=True)


@laws
@given(st.integers(1, 30), st.integers(1, 6), seeds)
def test_order_of_samples_and_scale_and_shift_of_outputs_do_not_matter(n, k, seed):
    outputs, labels, order = gaussian(n, k, seed), shuffle(n, seed) % k, shuffle(n, seed + 1)
    changed = class_accuracy((3.0 * outputs + gaussian(n, 1, seed))[order], labels[order])
    assert torch.equal(changed.nan_to_num(-1.0), class_accuracy(outputs, labels).nan_to_num(-1.0))


@laws
@given(st.integers(1, 30), st.integers(2, 6), seeds)
def test_the_mean_over_samples_is_the_accuracy(n, k, seed):
    outputs, labels = gaussian(n, k, seed), shuffle(n, seed) % k
    per_class, counts = class_accuracy(outputs, labels), torch.bincount(labels, minlength=k)
    mean = (per_class.nan_to_num() * counts).sum() / n
    assert math.isclose(mean, (outputs.argmax(1) == labels).double().mean())


def test_classes_without_samples_are_nan_and_foreign_labels_are_left_out():
    accuracy = class_accuracy(torch.eye(4)[:3], torch.tensor([0, 9, -1]))
    assert accuracy[0] == 1
    assert accuracy[1:].isnan().all()
    assert class_accuracy(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)).isnan().all()


def test_a_sample_with_nan_is_not_right_and_infinity_is_the_largest():
    outputs = torch.tensor([[math.nan, 0.0], [1.0, math.nan], [math.inf, 0.0], [-math.inf, 0.0]])
    assert class_accuracy(outputs, torch.tensor([0, 0, 0, 1])).tolist() == pytest.approx([1 / 3, 1])


def test_of_equal_outputs_the_first_counts():
    assert class_accuracy(torch.zeros(2, 2), torch.tensor([0, 1])).tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("whole", [torch.int32, torch.int64])
def test_precisions(dtype, whole):
    torch.set_default_dtype(torch.float64)
    accuracy = class_accuracy(torch.eye(3, dtype=dtype), torch.arange(3).to(whole))
    assert accuracy.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert accuracy.tolist() == [1, 1, 1]


def test_bad_arguments_are_refused():
    function = unchecked("accuracy").class_accuracy
    with pytest.raises(InvalidInput, match="`outputs` is a matrix"):
        function(torch.zeros(3), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(InvalidInput, match="`labels` holds one whole number for each of the 3 samples"):
        function(torch.zeros(3, 2), torch.zeros(3))
