"""The count of condensed orientations: laws, known answers, and how each parameter moves it."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from measure_cases import gaussian, laws, matrices, seeds

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import condensed_orientations, orientation_groups

shares = st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0])


def lines(counts, noise=0.0, seed=0):
    """So many neurons on each axis, of either sign, with lengths of their own."""
    rows = []
    for axis, count in enumerate(counts):
        sizes = gaussian(count, 1, seed=seed + axis)
        rows.append(sizes * torch.eye(len(counts), dtype=torch.float64)[axis])
    weight = torch.cat(rows)
    return weight + noise * weight.norm(dim=1, keepdim=True) * gaussian(*weight.shape, seed=seed + 99)


@laws
@given(matrices(), shares)
def test_it_is_the_groups_that_are_large_enough(weight, share):
    sizes = orientation_groups(weight, threshold=0.95).sizes.tolist()
    large = [size for size in sizes if size >= share * sum(sizes)]
    found = condensed_orientations(weight, least_share=share)
    assert (found.count, found.counted) == (len(large), sum(sizes))
    assert math.isnan(found.covered) if not sizes else found.covered == pytest.approx(sum(large) / sum(sizes))


@laws
@given(seeds)
def test_lines_are_found_whatever_the_lengths_and_signs(seed):
    found = condensed_orientations(lines([20, 15, 15], 0.01, seed))
    assert (found.count, found.covered) == (3, 1.0)
    assert condensed_orientations(lines([20, 15, 15], 0.01, seed), signed=True, least_share=0.0).count == 6


def test_stray_neurons_are_no_lines():
    weight = lines([46, 1, 1, 1, 1])
    assert condensed_orientations(weight).count == 1
    assert condensed_orientations(weight, least_share=0.0).count == 5


def test_weak_neurons_can_be_left_out():
    weight = torch.cat([lines([10, 10]), 1e-3 * gaussian(20, 2, seed=5)])
    assert condensed_orientations(weight, norm_cut=0.02).counted <= 20


@laws
@given(seeds, st.sampled_from([0.01, 3.0, 1e4]))
def test_the_scale_of_the_weights_does_not_matter(seed, factor):
    weight = gaussian(30, 4, seed=seed)
    assert condensed_orientations(weight) == condensed_orientations(factor * weight)


def test_bad_shares_are_refused():
    with pytest.raises(InvalidInput, match=r"`least_share` is a fraction in \[0, 1\]; got 1.5"):
        condensed_orientations(torch.ones(2, 2), least_share=1.5)
