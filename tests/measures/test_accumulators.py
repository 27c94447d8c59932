"""Means and moments over steps: the one-shot computation as twin, in any order and chunks; memory; states."""

import math

import hypothesis.strategies as st
import pytest
import torch
from accumulator_cases import chunkings, close, fed, moved, steps
from hypothesis import given
from measure_cases import gaussian, laws, seeds, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import common_directions, gradient_moment, mean_gradient
from cloudchamber.measures.accumulators.base import Accumulator, MeanAccumulator, Mergeable
from cloudchamber.measures.accumulators.moments import MomentAccumulator, as_mean_gradient, moment_bytes
from cloudchamber.measures.accumulators.reservoir import Reservoir
from cloudchamber.measures.accumulators.sketch import SketchAccumulator
from cloudchamber.measures.accumulators.strengths import (
    AlignmentAccumulator,
    MeanChangeAccumulator,
    Theorem1Accumulator,
)
from cloudchamber.measures.accumulators.windows import WindowAccumulator

samples = st.integers(1, 40)
applied = st.sampled_from([1, 1, 2, 5])


def every_accumulator():
    merging = [MeanAccumulator(), MomentAccumulator(3), SketchAccumulator(3)]
    others = [MeanChangeAccumulator(torch.eye(2), 3), Theorem1Accumulator(2), AlignmentAccumulator()]
    return [*merging, *others, WindowAccumulator(MeanAccumulator), Reservoir()]


def test_all_are_accumulators():
    assert [isinstance(one, Mergeable) for one in every_accumulator()] == 3 * [True] + 5 * [False]
    assert all(isinstance(one, Accumulator) for one in every_accumulator())
    assert not isinstance(torch.zeros(1), Accumulator)


@pytest.mark.parametrize("one", every_accumulator(), ids=lambda one: type(one).__name__)
def test_states_are_flat_tensors_and_foreign_ones_are_refused(one):
    assert all(isinstance(value, torch.Tensor) for value in one.state_dict().values())
    moved(one, one)
    with pytest.raises(InvalidInput, match="made with the same arguments"):
        one.load_state_dict({"foreign": torch.zeros(7)})


@laws
@given(samples, chunkings, seeds, st.sampled_from([(), (3,), (2, 2)]))
def test_mean_and_deviation_are_those_of_all_rows(n, sizes, seed, shape):
    rows = (10 * gaussian(n, math.prod(shape), seed) + 1e3).reshape(n, *shape)
    found = fed(MeanAccumulator(*shape), sizes, rows, seed=seed).result()
    close(found.mean, rows.mean(0))
    close(found.std, rows.std(0, correction=0), 1e-9)
    assert (found.count == n).all()


@laws
@given(samples, chunkings, seeds, st.integers(0, 40))
def test_two_means_merge_into_that_of_all_rows(n, sizes, seed, cut):
    rows = gaussian(n, 3, seed)
    one, other = (fed(MeanAccumulator(3), sizes, part) for part in (rows[:cut], rows[cut:]))
    one.merge(other)
    close(one.result().mean, rows.mean(0))
    close(one.result().std, rows.std(0, correction=0), 1e-9)


def test_a_small_deviation_about_a_large_mean_does_not_cancel():
    rows = 1e8 + torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64).repeat(50)
    found = fed(MeanAccumulator(), [7], rows).result()
    assert found.std.item() == pytest.approx(math.sqrt(1.25), rel=1e-9)


def test_unknown_values_spread_or_are_left_out_as_asked():
    rows = torch.tensor([[1.0, math.nan], [3.0, 5.0], [math.nan, math.nan]])
    strict, lenient = fed(MeanAccumulator(2), [1], rows), fed(MeanAccumulator(2, skip_unknown=True), [2], rows)
    assert strict.result().mean.isnan().all()
    assert lenient.result().mean.tolist() == [2.0, 5.0]
    assert lenient.result().count.tolist() == [2.0, 1.0]
    assert lenient.result().std.tolist() == [1.0, 0.0]
    assert MeanAccumulator(2).result().mean.isnan().all()
    assert MeanAccumulator(2).nbytes == 2 * 24


@laws
@given(samples, st.integers(1, 6), st.integers(1, 9), applied, chunkings, seeds)
def test_the_moment_is_that_of_all_samples(n, d, h, P, sizes, seed):
    X, G = steps(n, d, h, P, seed)
    found = fed(MomentAccumulator(h), sizes, X, G, seed=seed)
    close(found.result(), gradient_moment(X, G))
    assert found.nbytes <= moment_bytes(h)


@laws
@given(samples, st.integers(2, 9), applied, chunkings, seeds, st.booleans())
def test_directions_are_those_of_the_moment(n, h, P, sizes, seed, with_primary):
    X, G = steps(n, 4, h, P, seed)
    primary = gaussian(1, h, seed + 5)[0] if with_primary else None
    found = fed(MomentAccumulator(h), sizes, X, G).directions(2, primary=primary)
    wanted = common_directions(gradient_moment(X, G), 2, primary=primary)
    for part in ("vectors", "strengths", "shares"):
        close(getattr(found, part)[:1], getattr(wanted, part)[:1], 1e-7)


@laws
@given(samples, st.integers(1, 9), applied, chunkings, seeds, st.integers(0, 40))
def test_moments_merge_and_go_through_files(n, h, P, sizes, seed, cut):
    X, G = steps(n, 3, h, P, seed)
    one = fed(MomentAccumulator(h), sizes, X[:cut], G[:cut])
    other = fed(MomentAccumulator(h), sizes, X[cut:], G[cut:])
    before = other.result()
    one.merge(moved(other, MomentAccumulator(h)))
    close(one.result(), gradient_moment(X, G))
    assert torch.equal(other.result(), before)
    assert one.nbytes <= moment_bytes(h)


def test_a_state_goes_on_to_the_identical_result():
    X, G = steps(60, 4, 7)
    whole = fed(MomentAccumulator(7), [3], X, G).result()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    first, second = MomentAccumulator(7), MomentAccumulator(7)
    for i in range(0, 30, 3):
        first.update(X[order[i : i + 3]], G[order[i : i + 3]])
    second = moved(first, second)
    for i in range(30, 60, 3):
        second.update(X[order[i : i + 3]], G[order[i : i + 3]])
    assert torch.equal(second.result(), whole)


@laws
@given(st.integers(1, 12), applied, seeds)
def test_a_mean_gradient_is_that_of_one_sample(n, P, seed):
    X, G = steps(n, 4, 5, P, seed)
    found = MomentAccumulator(5)
    found.update(*as_mean_gradient(X, G))
    mean = mean_gradient(X, G)
    close(found.result(), mean @ mean.T)


def test_memory_stays_the_same_over_any_number_of_steps():
    found, sizes = MomentAccumulator(16), []
    for step in range(200):
        found.update(*steps(10, 4, 16, seed=step))
        sizes.append(found.nbytes)
    assert max(sizes) <= moment_bytes(16) == 4096
    assert max(sizes[:20]) == max(sizes)


def test_nothing_and_the_unknown():
    assert torch.equal(MomentAccumulator(3).result(), torch.zeros(3, 3, dtype=torch.float64))
    found = fed(MomentAccumulator(3), [2], torch.empty(0, 4), torch.empty(0, 3))
    assert found.directions(1).vectors.isnan().all()
    found.update(torch.tensor([[math.nan]]), torch.ones(1, 3))
    found.update(torch.ones(9, 1), torch.ones(9, 3))
    assert found.result().isnan().all()
    assert found.directions().vectors.isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_numbers_add_up_in_float64(dtype):
    X, G = (part.to(dtype) for part in steps(50, 3, 8))
    found = fed(MomentAccumulator(8), [9], X, G).result()
    assert found.dtype == torch.float64
    close(found, gradient_moment(X.double(), G.double()), 1e-5)


@pytest.mark.parametrize(
    ("module", "call", "message"),
    [
        ("accumulators/base", lambda m: m.MeanAccumulator(2).update(torch.ones(4, 3)), "`rows` are n rows of shape"),
        ("accumulators/base", lambda m: m.MeanAccumulator(2).merge(m.MeanAccumulator(3)), "has the shapes"),
        ("accumulators/moments", lambda m: m.MomentAccumulator(0), "`width` is at least 1; got 0"),
        (
            "accumulators/moments",
            lambda m: m.MomentAccumulator(2).update(torch.ones(4, 3), torch.ones(4, 3)),
            "a column for each of the layer's 2 neurons; got 3",
        ),
        (
            "accumulators/moments",
            lambda m: m.MomentAccumulator(2).update(torch.ones(4, 3), torch.ones(5, 2)),
            "hold the same samples",
        ),
        ("accumulators/moments", lambda m: m.MomentAccumulator(2).merge(m.MomentAccumulator(3)), "both have 2"),
        (
            "accumulators/moments",
            lambda m: m.MomentAccumulator(2).load_state_dict({"moment": torch.ones(1, 2), "rows": torch.ones(0, 2)}),
            "a moment is square",
        ),
    ],
)
def test_bad_arguments_are_refused(module, call, message):
    with pytest.raises(InvalidInput, match=message):
        call(unchecked(module))
