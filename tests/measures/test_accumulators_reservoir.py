"""The reservoir: the smallest keys of each stratum as twin, uniformity, weights, memory, states."""

import math
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from accumulator_cases import moved, through_a_file
from hypothesis import given
from measure_cases import laws, seeds, unchecked
from scipy.stats import chi2

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures.accumulators.reservoir import Reservoir

schedules = st.lists(st.integers(1, 40), min_size=1, max_size=120)
capacities = st.integers(8, 40)


FAST = unchecked("accumulators/reservoir").Reservoir


def offered(steps, capacity=8, seed=0, reservoir=None, kind=Reservoir):
    found = kind(capacity, seed) if reservoir is None else reservoir
    for step in steps:
        if found.wants(step):
            found.update(step, {"step": torch.tensor([float(step)])})
    return found


def at(gaps):
    return torch.tensor(gaps).cumsum(0).tolist()


def kept(reservoir):
    return [sample.step for sample in reservoir.result()]


def strata_of(reservoir, steps):
    """The steps by powers of two, so many of them together as the reservoir has joined."""
    found = {}
    for step in steps:
        found.setdefault(int(math.log2(max(step, 1))) // 2**reservoir._level, []).append(step)
    return found.values()


@laws
@given(schedules, capacities, seeds)
def test_each_stratum_keeps_the_smallest_of_all_its_keys(gaps, capacity, seed):
    steps = at(gaps)
    found = offered(steps, capacity, seed)
    samples = found.result()
    for members in strata_of(found, steps):
        own = [sample for sample in samples if sample.step in members]
        smallest = sorted(members, key=found._key)[: len(own)]
        assert sorted(smallest) == [sample.step for sample in own]
        assert len(own) == min(len(members), found._most)
        assert all(sample.weight * len(own) == pytest.approx(len(members)) for sample in own)


@laws
@given(schedules, capacities, seeds)
def test_snapshots_are_bounded_and_belong_to_their_steps(gaps, capacity, seed):
    found = Reservoir(capacity, seed)
    for step in at(gaps):
        offered([step], reservoir=found)
        assert len(kept(found)) <= capacity
        assert found.nbytes == 4 * len(kept(found))
    assert all(sample.tensors["step"].item() == sample.step for sample in found.result())
    assert sum(sample.weight for sample in found.result()) == pytest.approx(len(gaps))


@pytest.mark.parametrize(("capacity", "steps"), [(8, 2000), (64, 2000), (8, 300), (20, 64)])
def test_long_runs_stay_within_the_capacity_and_use_half_of_it(capacity, steps):
    assert capacity / 2 <= len(kept(offered(range(1, steps), capacity))) <= capacity


@pytest.mark.parametrize("capacity", [48, 64])
def test_every_window_from_the_start_has_four_samples_of_each_power_of_two(capacity):
    found = offered(range(1, 2000), capacity)
    for power in range(1, 11):
        assert len(found.window(0, 2**power - 1)) >= min(2**power - 1, 4 * (power - 2) + 3)


@pytest.mark.parametrize("last", [63, 50, 200])
def test_every_step_of_a_stratum_is_kept_equally_often(last):
    """Chi-square over 300 seeds; so many steps with so few snapshots join strata and thin them out on the way."""
    runs = [offered(range(1, last + 1), 8, seed, kind=FAST) for seed in range(300)]
    counts = Counter(step for run in runs for step in kept(run))
    for members in strata_of(runs[0], range(1, last + 1)):
        total = sum(counts[step] for step in members)
        share = total / len(members)
        if len(members) < 8:
            continue
        # without replacement, the counts scatter less than a multinomial does, by the part that is left out
        scatter = 1 - total / len(runs) / len(members)
        statistic = sum((counts[step] - share) ** 2 / share for step in members) / scatter
        low, high = chi2.ppf([1e-3, 1 - 1e-3], len(members) - 1)
        assert low < statistic < high


def test_weighted_sums_over_a_window_are_unbiased():
    totals = []
    for seed in range(150):
        window = offered(range(1, 161), 16, seed, kind=FAST).window(20, 150)
        totals.append(sum(sample.weight * sample.tensors["step"].item() for sample in window))
    exact = sum(range(21, 151))
    mean = torch.tensor(totals).mean().item()
    error = torch.tensor(totals).std().item() / len(totals) ** 0.5
    assert abs(mean - exact) < 4 * error
    assert error < 0.05 * exact


def test_seeds_differ_and_one_seed_does_not():
    assert kept(offered(range(1000), seed=1)) == kept(offered(range(1000), seed=1))
    assert kept(offered(range(1000), seed=1)) != kept(offered(range(1000), seed=2))


def test_global_random_states_are_neither_used_nor_changed():
    torch.manual_seed(5)
    one = kept(offered(range(500)))
    torch.manual_seed(6)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    assert kept(offered(range(500))) == one
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_most_snapshots_need_not_be_taken():
    found, wanted = Reservoir(16), 0
    for step in range(1, 1025):
        if found.wants(step):
            found.update(step, {})
            wanted += 1
    assert wanted < 16 * 10


def test_asking_twice_offers_once_and_updating_offers_by_itself():
    one, other = Reservoir(8), Reservoir(8)
    for step in range(200):
        wanted = one.wants(step)
        assert one.wants(step) == wanted
        one.update(step, {"x": torch.ones(1)})
        other.update(step, {"x": torch.ones(1)})
    assert kept(one) == kept(other)
    assert [s.weight for s in one.result()] == [s.weight for s in other.result()]


def test_what_is_kept_is_a_copy():
    tensor = torch.ones(2, requires_grad=True)
    found = Reservoir(8)
    found.update(3, {"x": tensor})
    with torch.no_grad():
        tensor.mul_(5)
    (sample,) = found.result()
    assert sample.tensors["x"].tolist() == [1.0, 1.0]
    assert not sample.tensors["x"].requires_grad


@laws
@given(schedules, schedules, capacities, seeds)
def test_a_state_goes_on_as_if_nothing_had_happened(gaps, more, capacity, seed):
    steps = at([*gaps, *more])
    first = offered(steps[: len(gaps)], capacity, seed)
    second = offered(steps[len(gaps) :], reservoir=moved(first, Reservoir(capacity, seed)))
    whole = offered(steps, capacity, seed)
    assert kept(second) == kept(whole)
    assert [s.weight for s in second.result()] == [s.weight for s in whole.result()]


def test_a_snapshot_that_never_came_is_not_there():
    found = Reservoir(8)
    found.wants(1)
    found.wants(2)
    assert found.result() == []
    assert through_a_file(found.state_dict())["offered"].tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.Reservoir(7), "`capacity` is at least 8; got 7"),
        (lambda m: m.Reservoir().update(-1, {}), "steps grow .last: -1.; got -1"),
        (
            lambda m: m.Reservoir(8).load_state_dict(offered(range(99), 64).state_dict()),
            "at most 8 snapshots",
        ),
        (
            lambda m: m.Reservoir().load_state_dict({**Reservoir().state_dict(), "foreign.x": torch.ones(1)}),
            "called '<step>.<name>'; got 'foreign.x'",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call(unchecked("accumulators/reservoir"))
