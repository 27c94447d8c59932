"""The order of rows in which a heatmap shows its blocks."""

import pytest
import torch
from hypothesis import given
from measure_cases import gaussian, laws, matrices, on_lines, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import cosine_matrix, heatmap_order


def blocks(names):
    """Runs of equal names."""
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


@laws
@given(matrices())
def test_it_is_a_permutation_with_rows_without_direction_last(vectors):
    order = heatmap_order(cosine_matrix(vectors))
    assert sorted(order.tolist()) == list(range(len(vectors)))
    usable = int(vectors.any(1).sum())
    assert order[usable:].tolist() == (~vectors.any(1)).nonzero()[:, 0].tolist()


@laws
@given(matrices())
def test_the_same_matrix_gives_the_same_order(vectors):
    matrix = cosine_matrix(vectors)
    assert torch.equal(heatmap_order(matrix), heatmap_order(matrix.clone()))


@laws
@given(seeds)
def test_lines_become_blocks_of_one_direction_and_then_the_other(seed):
    mixed = shuffle(24, seed)
    vectors = on_lines(4, 6, 10, noise=0.05, seed=seed, signed=True)[mixed]
    order = heatmap_order(cosine_matrix(vectors))
    line, direction = (mixed // 6)[order].tolist(), (mixed % 2)[order].tolist()
    assert len(blocks(line)) == 4
    assert len(blocks(list(zip(line, direction, strict=True)))) == 8


def test_similar_blocks_are_neighbours():
    angles = torch.deg2rad(torch.tensor([0.0, 80.0, 35.0, 2.0, 82.0, 37.0]))
    order = heatmap_order(cosine_matrix(torch.stack([angles.cos(), angles.sin()], 1))).tolist()
    middle = [order.index(2), order.index(5)]
    assert sorted(middle) == [2, 3]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_rows(n):
    assert heatmap_order(cosine_matrix(gaussian(n, 3))).tolist() == list(range(n))


def test_float32_and_exact_copies():
    matrix = cosine_matrix(torch.ones(5, 3))
    assert sorted(heatmap_order(matrix).tolist()) == list(range(5))


@pytest.mark.parametrize("matrix", [torch.ones(3), torch.ones(2, 3), torch.ones(2, 2, 2)])
def test_bad_matrices_are_refused(matrix):
    with pytest.raises(InvalidInput, match="a cosine matrix is square; got"):
        unchecked("similarity").heatmap_order(matrix)
