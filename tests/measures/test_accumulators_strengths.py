"""Strengths over steps: all changes at once, materialised, as twin; laws, memory, states, edges."""

import math

import hypothesis.strategies as st
import pytest
import torch
from accumulator_cases import chunkings, close, in_chunks, moved, steps
from hypothesis import given
from measure_cases import gaussian, laws, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import decompose_mean_changes, mean_gradient, shuffled_step_alignment, step_alignment
from cloudchamber.measures.accumulators.strengths import (
    AlignmentAccumulator,
    MeanChangeAccumulator,
    Theorem1Accumulator,
)

RATE = 0.3


def batches(count, n, P, seed):
    return [steps(n, 4, 5, P, seed + 10 * i) for i in range(count)]


def moved_along(directions, some, scale=1.0):
    found = MeanChangeAccumulator(scale * directions, 4)
    for X, G in some:
        found.update(X, G, learning_rate=RATE)
    return found


@laws
@given(st.integers(1, 9), st.integers(1, 6), st.sampled_from([1, 3]), seeds)
def test_mean_changes_are_those_of_the_materialised_decomposition(count, n, P, seed):
    some = batches(count, n, P, seed)
    changes = torch.stack([-RATE * mean_gradient(X, G) for X, G in some])
    twin = decompose_mean_changes(changes, 3, primary=gaussian(1, 5, seed + 1)[0])
    known = ~twin.directions.vectors.isnan().any(1)
    vectors = twin.directions.vectors[known]
    found = moved_along(vectors, some).result()
    close(found.along, twin.along[:, known].mean(0))
    close(found.strengths, twin.strengths[known])
    assert found.steps == count


@laws
@given(st.integers(2, 9), seeds)
def test_neither_the_order_of_steps_nor_the_length_of_directions_matters(count, seed):
    some, vectors = batches(count, 4, 1, seed), rotation(5, seed)[:2]
    wanted = moved_along(vectors, some).result()
    found = moved_along(vectors, [some[i] for i in shuffle(count, seed).tolist()], scale=3.0).result()
    close(found.along, wanted.along)


def test_memory_is_that_of_the_coefficients_and_directions():
    found = moved_along(rotation(5)[:3], batches(20, 4, 1, 0))
    assert found.nbytes == 8 * 3 * (4 + 5)


def test_states_of_strengths_go_on_to_the_identical_result():
    some, vectors = batches(8, 4, 1, 0), rotation(5)[:2]
    whole = moved_along(vectors, some).result()
    resumed = moved(moved_along(vectors, some[:3]), MeanChangeAccumulator(rotation(5, 9)[:2], 4))
    for X, G in some[3:]:
        resumed.update(X, G, learning_rate=RATE)
    assert torch.equal(resumed.result().along, whole.along)


def test_unknown_directions_and_no_steps_stay_unknown():
    vectors = torch.stack([torch.zeros(5), torch.full((5,), math.nan), torch.ones(5)])
    found = moved_along(vectors, batches(2, 3, 1, 0)).result()
    assert found.strengths.isnan().tolist() == [True, True, False]
    assert moved_along(vectors, []).result().strengths.isnan().all()


@laws
@given(st.integers(1, 30), chunkings, st.integers(1, 5), seeds)
def test_strengths_of_theorem_1_are_means_over_samples_and_steps(n, sizes, r, seed):
    primary, noise = 10 * gaussian(n, 1, seed)[:, 0].abs(), gaussian(n, r, seed + 1).abs()
    accumulator = Theorem1Accumulator(r)
    for part in in_chunks(sizes, primary, noise, seed=seed):
        accumulator.update(*part)
    found = moved(accumulator, Theorem1Accumulator(r)).result()
    close(found.primary.mean, primary.mean())
    close(found.primary.std, primary.std(correction=0), 1e-9)
    close(found.noise.mean, noise.mean(0))
    close(found.noise.std, noise.std(0, correction=0), 1e-9)
    close(found.largest, noise.mean(0).max())
    close(found.average, noise.mean())
    close(found.ratio, primary.mean() / noise.mean(0).max())
    assert accumulator.nbytes == 24 * (r + 1)


def test_strengths_before_any_step_are_unknown():
    assert Theorem1Accumulator(3).result().ratio.isnan()
    assert math.isnan(AlignmentAccumulator().result().rate)


@laws
@given(st.integers(1, 5), st.integers(3, 8), st.sampled_from([1, 2]), seeds)
def test_alignment_beside_its_null(count, n, P, seed):
    accumulator, seen = AlignmentAccumulator(), ([], [])
    for i, (X, G) in enumerate(batches(count, n, P, seed)):
        X = X.clone()
        X[i % n] = 0
        pair = step_alignment(X, G, torch.ones(5)), shuffled_step_alignment(X, G, torch.ones(5), draws=3)
        accumulator.update(*pair)
        for all_values, values in zip(seen, pair, strict=True):
            all_values.append(values.flatten())
    found = moved(accumulator, AlignmentAccumulator()).result()
    cosines, null = (torch.cat(values) for values in seen)
    cosines, null = cosines[~cosines.isnan()], null[~null.isnan()]
    wanted = [f(values) for values in (cosines, null) for f in (torch.mean, lambda v: (v > 0).double().mean())]
    got = [found.mean, found.rate, found.null_mean, found.null_rate]
    close(torch.tensor(got, dtype=torch.float64), torch.stack(wanted))
    assert accumulator.nbytes == 96


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.MeanChangeAccumulator(torch.eye(2), 0), "`fan_in` is at least 1"),
        (lambda m: m.MeanChangeAccumulator(torch.ones(2), 3), "`directions` is a matrix"),
        (lambda m: m.MeanChangeAccumulator(torch.eye(2), 3).update(torch.ones(4, 3), torch.ones(4, 3)), "2 neurons"),
        (lambda m: m.MeanChangeAccumulator(torch.eye(2), 3).update(torch.ones(4, 4), torch.ones(4, 2)), "3 columns"),
        (lambda m: m.Theorem1Accumulator(3).update(torch.ones(2), torch.ones(2, 4)), "`rows` are n rows"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call(unchecked("accumulators/strengths"))
