"""Mean cosines and cosine matrices: twins by loops, laws, known answers, edges."""

import math
from itertools import combinations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from measure_cases import gaussian, laws, matrices, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import cosine_matrix, flatten_samples, mean_cosine, within_class_cosine
from cloudchamber.measures.partials import cosine_partial, cosine_partials, finished_cosine, shortened

NAN = math.nan


def slow_mean_cosine(vectors):
    rows = [row for row in vectors.tolist() if any(row)]
    cosines = [
        sum(a * b for a, b in zip(u, v, strict=True)) / math.hypot(*u) / math.hypot(*v)
        for u, v in combinations(rows, 2)
    ]
    return sum(cosines) / len(cosines) if cosines else NAN


def slow_within_class_cosine(vectors, labels):
    per_class = [slow_mean_cosine(vectors[labels == label]) for label in set(labels.tolist())]
    per_class = [value for value in per_class if not math.isnan(value)]
    return sum(per_class) / len(per_class) if per_class else NAN


def some_labels(n, classes, seed):
    return shuffle(n, seed) % classes


def same(a, b, tolerance=1e-10):
    return torch.testing.assert_close(
        torch.as_tensor(a, dtype=torch.float64),
        torch.as_tensor(b, dtype=torch.float64),
        rtol=0,
        atol=tolerance,
        equal_nan=True,
    )


@laws
@given(matrices())
def test_mean_cosine_is_the_mean_over_a_loop_of_pairs(vectors):
    same(mean_cosine(vectors), slow_mean_cosine(vectors))


@laws
@given(matrices(), st.integers(1, 5), seeds)
def test_within_class_cosine_is_the_mean_over_loops_of_pairs(vectors, classes, seed):
    labels = some_labels(len(vectors), classes, seed)
    same(within_class_cosine(vectors, labels), slow_within_class_cosine(vectors, labels))


@laws
@given(matrices(min_rows=2))
def test_mean_cosine_is_the_mean_of_the_matrix_off_its_diagonal(vectors):
    off = cosine_matrix(vectors)[~torch.eye(len(vectors), dtype=torch.bool)]
    same(mean_cosine(vectors), off.nanmean())


@laws
@given(matrices(), seeds)
def test_means_do_not_depend_on_order_length_or_axes(vectors, seed):
    n, d = vectors.shape
    order, lengths = shuffle(n, seed), 0.1 + gaussian(n, 1, seed).abs()
    labels = some_labels(n, 3, seed)
    changed = (vectors * lengths)[order] @ rotation(d, seed)
    same(mean_cosine(changed), mean_cosine(vectors))
    same(within_class_cosine(changed, labels[order]), within_class_cosine(vectors, labels))
    same(mean_cosine(-vectors), mean_cosine(vectors))


@laws
@given(matrices(), seeds)
def test_means_are_cosines(vectors, seed):
    for value in (mean_cosine(vectors), within_class_cosine(vectors, some_labels(len(vectors), 3, seed))):
        assert value.isnan() or -1 <= value <= 1


@laws
@given(matrices())
def test_one_class_for_all_gives_the_mean_over_all(vectors):
    same(within_class_cosine(vectors, torch.zeros(len(vectors), dtype=torch.int64)), mean_cosine(vectors))


@laws
@given(matrices(), seeds)
def test_names_of_classes_do_not_matter(vectors, seed):
    labels = some_labels(len(vectors), 4, seed)
    renamed = torch.tensor([-7, 10**12, 3, 0])[labels]
    same(within_class_cosine(vectors, renamed), within_class_cosine(vectors, labels))


@laws
@given(matrices(min_rows=1))
def test_cosine_matrix_is_what_a_loop_gives(vectors):
    cosine = cosine_matrix(vectors)
    for i, u in enumerate(vectors.tolist()):
        for j, v in enumerate(vectors.tolist()):
            if any(u) and any(v):
                expected = sum(a * b for a, b in zip(u, v, strict=True)) / math.hypot(*u) / math.hypot(*v)
                assert math.isclose(cosine[i, j], expected, abs_tol=1e-10)
            else:
                assert cosine[i, j].isnan()


@laws
@given(matrices())
def test_cosine_matrix_is_symmetric_with_ones_on_its_diagonal_and_in_range(vectors):
    cosine = cosine_matrix(vectors)
    usable = vectors.any(1)
    assert torch.equal(cosine.nan_to_num(9.0), cosine.nan_to_num(9.0).T)
    assert (cosine.diagonal()[usable] == 1).all()
    assert (cosine[usable][:, usable].abs() <= 1).all()
    assert cosine[~usable].isnan().all()
    assert cosine[:, ~usable].isnan().all()


@laws
@given(matrices(), seeds)
def test_cosine_matrix_follows_order_and_ignores_length_and_axes(vectors, seed):
    n, d = vectors.shape
    order, lengths = shuffle(n, seed), 0.1 + gaussian(n, 1, seed).abs()
    changed = cosine_matrix((vectors * lengths)[order] @ rotation(d, seed))
    same(changed, cosine_matrix(vectors)[order][:, order])


@pytest.mark.parametrize("n", [2, 3, 10])
def test_known_means(n):
    assert mean_cosine(torch.eye(n)) == 0
    same(mean_cosine(torch.eye(n, dtype=torch.float64) - 1 / n), -1 / (n - 1))
    same(mean_cosine(gaussian(1, 7).expand(n, 7)), 1)
    same(mean_cosine(torch.tensor([[1.0, 2.0], [-2.0, -4.0]])), -1, 1e-6)


def test_classes_count_the_same_whatever_their_size():
    vectors = torch.tensor([[1.0, 0.0]] * 8 + [[0.0, 1.0], [0.0, -1.0]])
    labels = torch.tensor([0] * 8 + [1] * 2)
    assert within_class_cosine(vectors, labels) == 0


def test_classes_without_pairs_are_left_out():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, 1.0], [0.0, 0.0]])
    assert within_class_cosine(vectors, torch.tensor([0, 0, 1, 2, 2])) == 1
    assert within_class_cosine(vectors, torch.arange(5)).isnan()


@pytest.mark.parametrize("n", [0, 1])
def test_no_pairs_give_nan(n):
    assert mean_cosine(torch.ones(n, 3)).isnan()
    assert within_class_cosine(torch.ones(n, 3), torch.zeros(n, dtype=torch.int64)).isnan()
    assert cosine_matrix(torch.ones(n, 3)).tolist() == [[1.0]] * n


def test_zero_vectors_only_give_nan():
    assert mean_cosine(torch.zeros(4, 3)).isnan()
    assert within_class_cosine(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)).isnan()
    assert cosine_matrix(torch.zeros(4, 3)).isnan().all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unknown_directions_give_nan(value, dtype):
    vectors = torch.ones(4, 3, dtype=dtype)
    vectors[1, 2] = value
    assert mean_cosine(vectors).isnan()
    assert within_class_cosine(vectors, torch.tensor([0, 0, 1, 1])).isnan()
    same(within_class_cosine(vectors, torch.tensor([0, 5, 1, 1])), 1, 1e-6)
    cosine = cosine_matrix(vectors)
    assert cosine[1].isnan().all()
    assert cosine[:, 1].isnan().all()
    same(cosine[[0, 2, 3]][:, [0, 2, 3]], torch.ones(3, 3), 1e-6)


@pytest.mark.parametrize("scale", [1e-37, 1e-25, 1e25, 1e37])
def test_lengths_that_overflow_when_squared_are_no_problem(scale):
    vectors = gaussian(30, 10, dtype=torch.float32)
    labels = torch.arange(30) % 3
    same(mean_cosine(vectors * scale), mean_cosine(vectors), 1e-5)
    same(within_class_cosine(vectors * scale, labels), within_class_cosine(vectors, labels), 1e-5)
    same(cosine_matrix(vectors * scale), cosine_matrix(vectors), 1e-5)


def test_float64_vectors_too_long_to_measure_are_unknown():
    assert mean_cosine(torch.full((3, 2), 1e200, dtype=torch.float64)).isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_in_float32(dtype):
    vectors = gaussian(40, 16, dtype=torch.float32).to(dtype)
    labels = torch.arange(40) % 4
    for measured, expected in (
        (mean_cosine(vectors), mean_cosine(vectors.float())),
        (within_class_cosine(vectors, labels), within_class_cosine(vectors.float(), labels)),
        (cosine_matrix(vectors), cosine_matrix(vectors.float())),
    ):
        assert measured.dtype == torch.float32
        assert torch.equal(measured, expected)


def test_autocast_does_not_narrow_the_sums():
    vectors, labels = gaussian(40, 16, dtype=torch.float32), torch.arange(40) % 4
    expected = mean_cosine(vectors), within_class_cosine(vectors, labels), cosine_matrix(vectors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        measured = mean_cosine(vectors), within_class_cosine(vectors, labels), cosine_matrix(vectors)
    for a, b in zip(measured, expected, strict=True):
        assert torch.equal(a, b)


def test_ensembles_are_measured_by_vmap():
    members = torch.stack([gaussian(12, 5, seed) for seed in range(3)])
    same(torch.vmap(mean_cosine)(members), torch.stack([mean_cosine(member) for member in members]))


def test_float64_stays_and_other_labels_are_fine():
    vectors = gaussian(6, 3)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    assert mean_cosine(vectors).dtype == torch.float64
    for dtype in (torch.int16, torch.int32, torch.int64):
        assert within_class_cosine(vectors, labels.to(dtype)) == within_class_cosine(vectors, labels)


def test_float32_is_accurate_for_many_vectors():
    vectors = gaussian(5000, 64, dtype=torch.float32) + 0.1
    same(mean_cosine(vectors), mean_cosine(vectors.double()), 1e-6)


def test_inputs_may_be_strided_and_stay_as_they_are():
    vectors = gaussian(8, 6).T
    before = vectors.clone()
    same(mean_cosine(vectors), mean_cosine(vectors.contiguous()))
    same(cosine_matrix(vectors), cosine_matrix(vectors.contiguous()))
    assert torch.equal(vectors, before)


def test_the_sums_on_accelerators_are_the_same():
    partials = unchecked("partials")
    unit, index = gaussian(20, 5), some_labels(20, 4, 0)
    unit[3] = NAN  # of class `index[3]`: the product must not carry it into the others
    on_cpu, by_product = partials._sums_by_index(unit, index, 5), partials._sums_by_product(unit, index, 5)
    others = torch.arange(5) != index[3]
    same(on_cpu[others], by_product[others])
    assert on_cpu[index[3]].isnan().all()
    assert (by_product[4] == 0).all()


def test_partials_of_many_layers_and_steps_are_finished_at_once():
    many = [gaussian(12, 5, seed) for seed in range(6)]
    many[1][:4], many[2][3, 1], many[3] = 0, math.inf, 0 * many[3]
    labels = [some_labels(12, 4, seed) for seed in range(6)]
    whole = shortened(list(map(cosine_partial, many)))
    stacked = [torch.stack(parts).unflatten(0, (2, 3)) for parts in zip(*whole, strict=True)]
    same(finished_cosine(*stacked), torch.stack(list(map(mean_cosine, many))).view(2, 3))
    by_class = shortened([cosine_partial(vectors, classes, 4) for vectors, classes in zip(many, labels, strict=True)])
    expected = torch.stack([within_class_cosine(v, c) for v, c in zip(many, labels, strict=True)])
    same(finished_cosine(*map(torch.stack, zip(*by_class, strict=True))), expected)


def test_partials_of_several_widths_and_numbers_of_classes_are_shortened_together():
    partials = [
        cosine_partial(gaussian(9, width), torch.arange(9) % count, count) for width in (3, 5) for count in (1, 2)
    ]
    for whole, (squares, counts, lost) in zip(partials, shortened(partials), strict=True):
        same(squares, whole[0].square().sum(1))
        assert torch.equal(counts, whole[1])
        assert torch.equal(lost, whole[2])
    assert shortened([]) == []


def test_partials_of_parts_make_one_of_all():
    vectors, labels = gaussian(14, 5), some_labels(14, 3, 0)
    vectors[4] = 0
    parts = [cosine_partial(vectors[i], labels[i], 3) for i in (slice(6), slice(6, 14))]
    whole = tuple(one + other for one, other in zip(*parts, strict=True))
    same(finished_cosine(*shortened([whole])[0]), within_class_cosine(vectors, labels))


def test_partials_leave_the_graph_alone():
    vectors = gaussian(6, 4).requires_grad_()
    images = (2 * vectors).view(6, 2, 2)
    for part in (*cosine_partial(images), *cosine_partial(images, torch.arange(6) % 2, 2)):
        assert not part.requires_grad
    images.sum().backward()
    assert (vectors.grad == 2).all()


def test_classes_without_vectors_change_nothing():
    vectors, labels = gaussian(9, 4), torch.arange(9) % 2
    same(finished_cosine(*shortened([cosine_partial(vectors, labels, 7)])[0]), within_class_cosine(vectors, labels))


def test_flatten_samples():
    assert flatten_samples(torch.zeros(4)).shape == (4, 1)
    assert flatten_samples(torch.zeros(0, 3, 2)).shape == (0, 6)
    assert torch.equal(flatten_samples(torch.arange(6).reshape(1, 2, 3)), torch.arange(6)[None])


@pytest.mark.parametrize("name", ["mean_cosine", "cosine_matrix"])
@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (torch.ones(3), "`vectors` is a matrix with at least one column; got torch.float32 of shape"),
        (torch.ones(2, 3, 4), r"shape \(2, 3, 4\). Remedy: reshape it \(`flatten_samples`\)"),
        (torch.ones(2, 0), "at least one column"),
        (torch.ones(2, 3, dtype=torch.int64), "`vectors` holds floating-point numbers; got torch.int64"),
        (torch.ones(2, 3, dtype=torch.complex64), "holds floating-point numbers"),
    ],
)
def test_bad_vectors_are_refused(name, vectors, message):
    with pytest.raises(InvalidInput, match=message):
        getattr(unchecked("similarity"), name)(vectors)


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(3), torch.zeros(2, dtype=torch.int64), torch.zeros(3, 1, dtype=torch.int64), torch.ones(3) > 0],
)
def test_bad_labels_are_refused(labels):
    with pytest.raises(InvalidInput, match="`labels` holds one whole number for each of the 3 samples; got"):
        unchecked("similarity").within_class_cosine(torch.ones(3, 2), labels)


def test_a_single_number_is_no_batch():
    with pytest.raises(InvalidInput, match="a batch has a dimension of samples"):
        unchecked("vectors").flatten_samples(torch.tensor(1.0))


@laws
@given(st.integers(1, 6), st.sampled_from([1.0, 1e-20, 1e20, math.nan]), seeds)
def test_sums_of_many_tensors_are_those_of_each(count, scale, seed):
    vectors = [gaussian(7, 3 + number, seed + number).float() for number in range(count)]
    vectors[-1] = vectors[-1] * scale
    vectors[0][2] = 0
    classes = torch.arange(7) % 3
    together = cosine_partials(vectors, vectors, classes, 3)
    alone = [cosine_partial(each) for each in vectors] + [cosine_partial(each, classes, 3) for each in vectors]
    for parts, own in zip(together, alone, strict=True):
        torch.testing.assert_close(*(finished_cosine(*short) for short in shortened([parts, own])), equal_nan=True)
        for a, b in zip(parts, own, strict=True):
            torch.testing.assert_close(a, b, equal_nan=True, rtol=1e-5, atol=1e-6)
    without = cosine_partials(vectors[:1], vectors)
    assert [sums.shape[0] for sums, *_ in without] == [1] * (1 + count)
    assert cosine_partials([]) == []
