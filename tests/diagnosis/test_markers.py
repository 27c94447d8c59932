import numpy as np
import pytest
from diagnosis_curves import leaving_loss, noisy, peaking_cosine
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.diagnosis.curves import Curve
from cloudchamber.diagnosis.markers import find_plateau, first_held, peak_step
from cloudchamber.diagnosis.rule import DEFAULT_RULE, PhaseRule

STEPS = np.arange(0, 1000, 10)


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 8))
def test_first_held_equals_its_slow_twin(conditions, hold):
    slow = [i for i in range(len(conditions)) if all(conditions[i : i + hold])]
    assert first_held(np.array(conditions, dtype=bool), hold) == (slow[0] if slow else None)


@pytest.mark.parametrize("deviation", [0.0, 0.001, 0.003, 0.01])
@pytest.mark.parametrize("seed", range(4))
def test_a_peak_is_found_under_noise(deviation, seed):
    curve = Curve(STEPS, noisy(peaking_cosine(STEPS, 400), deviation, seed))
    assert peak_step(curve, DEFAULT_RULE, None) == pytest.approx(400, abs=20 + 6000 * deviation)


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_has_no_peak(seed):
    curve = Curve(STEPS, noisy(np.full(100, 0.7), 0.03, seed))
    assert peak_step(curve, DEFAULT_RULE, None) is None


@pytest.mark.parametrize("seed", range(20))
def test_noise_on_a_steady_rise_has_no_peak(seed):
    curve = Curve(STEPS, noisy(np.linspace(0.5, 0.9, 100), 0.02, seed))
    assert peak_step(curve, DEFAULT_RULE, None) is None


@pytest.mark.parametrize(
    ("start", "top", "end", "peak"),
    [(0.6, 0.8, 0.7, 400), (0.795, 0.8, 0.7, None), (0.6, 0.8, 0.795, None), (0.8, 0.8, 0.6, None)],
)
def test_a_peak_has_risen_and_fallen_enough(start, top, end, peak):
    curve = Curve(STEPS, peaking_cosine(STEPS, 400, start, top, end))
    assert peak_step(curve, DEFAULT_RULE, None) == (peak and pytest.approx(peak, abs=20))


def test_only_what_is_under_way_when_the_loss_leaves_counts():
    two = np.concatenate([peaking_cosine(STEPS[:50], 250), peaking_cosine(STEPS[:50], 300, start=0.7)])
    curve = Curve(STEPS, two)
    assert peak_step(curve, DEFAULT_RULE, None) == pytest.approx(250, abs=20)
    assert peak_step(curve, DEFAULT_RULE, 200) == pytest.approx(250, abs=20)
    assert peak_step(curve, DEFAULT_RULE, 700) == pytest.approx(800, abs=20)


def test_a_later_bump_on_a_falling_curve_is_no_peak():
    falling = np.linspace(0.9, 0.4, 100)
    falling[70:80] += np.linspace(0, 0.2, 10)
    assert peak_step(Curve(STEPS, falling), DEFAULT_RULE, 300) is None


def test_what_is_not_finite_is_left_out_of_a_peak():
    values = peaking_cosine(STEPS, 400)
    values[[3, 50, 51]] = [np.nan, np.inf, np.nan]
    assert peak_step(Curve(STEPS, values), DEFAULT_RULE, None) == pytest.approx(400, abs=20)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_few_values_have_no_peak(count):
    assert peak_step(Curve(STEPS[:count], np.linspace(0, 1, count)), DEFAULT_RULE, None) is None


def test_the_share_of_a_straight_line_is_a_third():
    loss = Curve(STEPS, np.linspace(2.0, 0.0, 100))
    assert find_plateau(loss, 2.0, DEFAULT_RULE).share == pytest.approx(1 / 3, abs=0.05)


def test_the_share_of_a_straight_line_from_above_is_a_half():
    loss = Curve(np.arange(10_000), np.linspace(20.0, 0.0, 10_000))
    assert find_plateau(loss, 2.0, DEFAULT_RULE).share == pytest.approx(1 / 2, abs=0.05)


def test_the_share_of_a_plateau_is_near_one():
    loss = Curve(STEPS, leaving_loss(STEPS, leaves=600, width=5))
    assert find_plateau(loss, np.log(10), DEFAULT_RULE).share > 0.95


@pytest.mark.parametrize(
    "wrong",
    [{"drop": 0.0}, {"drop": 1.5}, {"window": 4}, {"stuck_tolerance": 0.2}, {"hold": -1}, {"rise": float("nan")}],
)
def test_a_rule_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="Remedy"):
        PhaseRule(**wrong)
