"""Windows of steps: sums over the steps in them as twin, spread of the marks, memory, states."""

import hypothesis.strategies as st
import pytest
import torch
from accumulator_cases import close, moved, steps
from hypothesis import given
from measure_cases import gaussian, laws, seeds, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import gradient_moment
from cloudchamber.measures.accumulators.base import MeanAccumulator
from cloudchamber.measures.accumulators.moments import MomentAccumulator, moment_bytes
from cloudchamber.measures.accumulators.windows import WindowAccumulator

counts = st.integers(1, 80)
pieces = st.integers(2, 9)
gaps = st.lists(st.integers(1, 9), min_size=1, max_size=60)


def told(values, most):
    found = WindowAccumulator(MeanAccumulator, most)
    for step, value in values.items():
        found.update(step, value[None])
    return found


def at(times, seed):
    values = gaussian(len(times), 1, seed)[:, 0]
    return dict(zip(torch.tensor(times).cumsum(0).tolist(), values, strict=True))


@laws
@given(gaps, pieces, seeds, st.integers(0, 300), st.integers(0, 300))
def test_a_window_holds_exactly_the_steps_between_its_marks(times, most, seed, start, stop):
    values = at(times, seed)
    found = told(values, most)
    assert len(found.marks) <= most + 1
    assert found.marks[-1] == max(values)
    try:
        window = found.window(min(start, stop), max(start, stop))
    except InvalidInput:
        return
    assert window.start in found.marks
    assert window.stop in found.marks
    inside = torch.stack([value for step, value in values.items() if window.start < step <= window.stop])
    close(window.accumulator.result().mean, inside.mean())
    assert window.accumulator.result().count == len(inside)


@laws
@given(gaps, pieces, seeds)
def test_all_pieces_together_are_all_steps(times, most, seed):
    values = at(times, seed)
    close(told(values, most).result().result().mean, torch.stack([*values.values()]).mean())


@pytest.mark.parametrize("most", [4, 16])
def test_marks_grow_like_powers(most):
    found = told(dict.fromkeys(range(1, 2001), torch.zeros(())), most)
    ratios = [(b + 1) / (a + 1) for a, b in zip(found.marks, found.marks[1:], strict=False)]
    assert max(ratios) <= 2001 ** (1 / ((most + 1) // 2))
    assert found.marks[1] <= 2001 ** (2 / most)


def test_the_nearest_marks_are_taken_as_ratios():
    found = told(dict.fromkeys([10, 100, 1000], torch.zeros(())), 5)
    assert [found.window(0, stop).stop for stop in (10, 30, 33, 320, 10**6)] == [10, 10, 100, 1000, 1000]


@laws
@given(st.integers(2, 30), st.integers(1, 8), seeds)
def test_moments_of_windows(n, h, seed):
    found, all_steps = WindowAccumulator(lambda: MomentAccumulator(h), 4), {}
    for step in range(1, n):
        all_steps[step] = steps(3, 2, h, seed=seed + step)
        found.update(step, *all_steps[step])
    assert found.nbytes <= 5 * moment_bytes(h)
    window = found.window(0, n // 2)
    inside = [all_steps[step] for step in range(1, window.stop + 1)]
    close(window.accumulator.result(), sum(gradient_moment(X, G) for X, G in inside))


def test_a_small_window_after_large_gradients_does_not_cancel():
    """A difference of sums since the start would keep no digit of it."""
    found = WindowAccumulator(lambda: MomentAccumulator(2), 4)
    ones = torch.ones(1, 2, dtype=torch.float64)
    found.update(1, ones, 1e9 * ones)
    found.update(2, ones, 1e-3 * ones)
    close(found.window(1, 2).accumulator.result() / 2e-6, torch.ones(2, 2, dtype=torch.float64))


@laws
@given(gaps, gaps, pieces, seeds)
def test_a_state_goes_on_as_if_nothing_had_happened(times, more, most, seed):
    values = at([*times, *more], seed)
    early = dict(list(values.items())[: len(times)])
    found = moved(told(early, most), WindowAccumulator(MeanAccumulator, most))
    for step, value in list(values.items())[len(times) :]:
        found.update(step, value[None])
    whole = told(values, most)
    assert found.marks == whole.marks
    assert torch.equal(found.result().result().mean, whole.result().result().mean)


def test_an_empty_one():
    found = WindowAccumulator(MeanAccumulator)
    assert found.marks == (0,)
    assert found.nbytes == 0
    assert moved(found, WindowAccumulator(MeanAccumulator)).marks == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.WindowAccumulator(MeanAccumulator, 1), "`pieces` is at least 2"),
        (lambda m: m.WindowAccumulator(MeanAccumulator).update(0, torch.ones(1)), "steps grow .last: 0.; got 0"),
        (lambda m: m.WindowAccumulator(MeanAccumulator).window(0, 5), "between two of the marks .0,."),
        (
            lambda m: m.WindowAccumulator(MeanAccumulator, 2).load_state_dict(
                told(dict.fromkeys(range(1, 5), torch.zeros(())), 4).state_dict()
            ),
            "at most 2 pieces; got 4",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call(unchecked("accumulators/windows"))
