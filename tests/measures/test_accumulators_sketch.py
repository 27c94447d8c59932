"""Frequent directions: the promised bound against all rows, exactness at low rank, memory, laws, edges."""

import math

import hypothesis.strategies as st
import pytest
import torch
from accumulator_cases import chunkings, close, fed, moved, steps
from hypothesis import given
from measure_cases import gaussian, laws, rotation, seeds, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import common_directions, gradient_rows
from cloudchamber.measures.accumulators.sketch import SketchAccumulator, sketch_bytes

ranks = st.integers(2, 6)


def falling(n, h, ratio, seed):
    """Rows whose singular values fall by a ratio, handed over as gradients of inputs of length 1."""
    scales = ratio ** torch.arange(min(n, h), dtype=torch.float64)
    return rotation(n, seed)[:, : len(scales)] * scales @ rotation(h, seed + 1)[: len(scales)]


def sketched(rows, rank, sizes=(5,)):
    return fed(SketchAccumulator(rows.shape[1], rank), list(sizes), torch.ones(len(rows), 1, dtype=rows.dtype), rows)


def gap(rows, sketch):
    return float(torch.linalg.matrix_norm(rows.T @ rows - sketch.rows.T @ sketch.rows, 2))


@laws
@given(st.integers(1, 60), st.integers(1, 12), ranks, st.sampled_from([0.5, 0.9, 1.0]), chunkings, seeds)
def test_the_error_is_within_every_promised_bound(n, h, rank, ratio, sizes, seed):
    rows = falling(n, h, ratio, seed)
    found = sketched(rows, rank, sizes).result()
    rounding = 1e-12 * float(rows.square().sum())
    assert gap(rows, found) <= found.error + rounding
    tails = torch.linalg.svdvals(rows).square().flip(0).cumsum(0).flip(0).tolist() + [0.0] * rank
    for k in range(rank):
        assert found.error <= tails[k] / (rank - k) + rounding
    assert found.total == pytest.approx(float(rows.square().sum()))


@laws
@given(st.integers(1, 60), st.integers(1, 12), ranks, chunkings, seeds)
def test_the_sketch_never_exceeds_the_moment(n, h, rank, sizes, seed):
    rows = gaussian(n, h, seed)
    found = sketched(rows, rank, sizes).result()
    missing = torch.linalg.eigvalsh(rows.T @ rows - found.rows.T @ found.rows)
    assert missing[0] >= -1e-10 * float(rows.square().sum())


@laws
@given(st.integers(1, 60), st.integers(3, 12), seeds, chunkings)
def test_what_has_a_low_rank_is_kept_exactly(n, h, seed, sizes):
    rows = gaussian(n, 2, seed) @ gaussian(2, h, seed + 1)
    found = sketched(rows, 3, sizes)
    kept = found.result()
    close(kept.rows.T @ kept.rows, rows.T @ rows)
    assert kept.error <= 1e-12 * kept.total


@laws
@given(st.integers(6, 60), st.integers(4, 12), seeds, chunkings, st.booleans())
def test_directions_and_shares_of_dominated_gradients(n, h, seed, sizes, with_primary):
    rows = gaussian(n, 1, seed) * gaussian(1, h, seed + 1) + 1e-3 * gaussian(n, h, seed + 2)
    primary = gaussian(1, h, seed + 3)[0] if with_primary else None
    found = sketched(rows, 4, sizes)
    wanted = common_directions(rows.T @ rows, 2, primary=primary)
    got = found.directions(2, primary=primary)
    error = found.result().error
    for i in range(1 + with_primary):
        assert abs(float(got.vectors[i] @ wanted.vectors[i])) > 1 - 1e-3
        missing = float(wanted.strengths[i].square() - got.strengths[i].square())
        assert -1e-9 * found.result().total <= missing <= error + 1e-6 * found.result().total
    close(got.shares, got.strengths.square() / rows.square().sum())


@laws
@given(st.integers(1, 40), st.integers(0, 40), ranks, seeds)
def test_merged_sketches_keep_the_bound(n, cut, rank, seed):
    rows = gaussian(n, 7, seed)
    one, other = sketched(rows[:cut], rank), sketched(rows[cut:], rank)
    before = other.result().rows
    one.merge(moved(other, SketchAccumulator(7, rank)))
    found = one.result()
    assert gap(rows, found) <= found.error + 1e-10
    assert found.error <= found.total / rank + 1e-10
    assert found.total == pytest.approx(float(rows.square().sum()))
    assert torch.equal(other.result().rows, before)


@pytest.mark.parametrize("P", [1, 3])
def test_rows_are_those_of_the_gradients(P):
    X, G = steps(4, 5, 6, P)
    found = fed(SketchAccumulator(6, 20), [2], X, G).result()
    rows = gradient_rows(X, G)
    close(found.rows.T @ found.rows, rows.T @ rows)


def test_memory_stays_the_same_over_any_number_of_steps():
    found, sizes = SketchAccumulator(40, rank=3), []
    for step in range(100):
        found.update(*steps(10, 4, 40, seed=step))
        sizes.append(found.nbytes)
    assert max(sizes) <= sketch_bytes(40, 3) == 1920


def test_the_unknown_stays_unknown_and_nothing_is_nothing():
    assert SketchAccumulator(3).directions(2).vectors.isnan().all()
    found = SketchAccumulator(3, 2)
    found.update(torch.ones(2, 1), torch.tensor([[1.0, math.inf, 0.0], [0.0, 1.0, 0.0]]))
    for _ in range(4):
        found.update(torch.ones(2, 1), torch.ones(2, 3))
    assert found.result().rows.isnan().any()
    got = found.directions(1)
    assert got.vectors.isnan().all()
    assert got.shares.isnan().all()


def test_a_primary_alone_and_directions_beyond_the_rank():
    rows = torch.tensor([[3.0, 0.0, 0.0]]).double()
    found = sketched(rows, 4)
    alone = found.directions(1, primary=torch.tensor([0.0, 2.0, 0.0]))
    assert alone.vectors.tolist() == [[0.0, 1.0, 0.0]]
    assert alone.strengths.tolist() == [0.0]
    beyond = found.directions(3, primary=torch.tensor([1.0, 0.0, 0.0]))
    assert beyond.strengths.tolist()[0] == 3.0
    assert beyond.vectors[1:].isnan().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.SketchAccumulator(0), "`width` is at least 1"),
        (lambda m: m.SketchAccumulator(2, 1), "`rank` is at least 2"),
        (lambda m: m.SketchAccumulator(2).merge(m.SketchAccumulator(2, 5)), "both have 2 neurons and rank 64"),
        (lambda m: m.SketchAccumulator(2).update(torch.ones(1, 3), torch.ones(1, 3)), "2 neurons; got 3"),
        (
            lambda m: m.SketchAccumulator(2, 2).load_state_dict(
                {"rows": torch.ones(4, 2), "error_total": torch.zeros(2)}
            ),
            "a sketch has less than 4 rows",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call(unchecked("accumulators/sketch"))
