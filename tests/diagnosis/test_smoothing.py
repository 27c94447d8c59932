import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cloudchamber.diagnosis.smoothing import noise_level, smooth

curves = arrays(np.float64, st.integers(0, 40), elements=st.floats(-1e6, 1e6))
windows = st.sampled_from([1, 3, 5, 7, 11])


def slow_smooth(values, window):
    n, out = len(values), list(values)
    for i in range(n):
        radius = min(window // 2, i, n - 1 - i)
        out[i] = np.median(values[i - radius : i + radius + 1])
    if n >= 3 and window > 1:
        out[-1] = np.median([values[-1], out[-2], 3 * out[-2] - 2 * out[-3]])
    return np.array(out)


@given(curves, windows)
def test_equals_its_slow_twin(values, window):
    np.testing.assert_array_equal(smooth(values, window), slow_smooth(values, window))


@given(curves, windows)
def test_a_monotone_curve_stays_but_for_its_last_value(values, window):
    values = np.sort(values)
    np.testing.assert_array_equal(smooth(values, window)[:-1], values[:-1])


@given(curves, windows)
def test_stays_within_the_range_of_the_curve_but_for_its_last_value(values, window):
    if len(values) > 1:
        smoothed = smooth(values, window)[:-1]
        assert values.min() <= smoothed.min()
        assert smoothed.max() <= values.max()


def test_two_neighbouring_spikes_vanish():
    values = np.full(20, 2.3)
    values[8:10] = [0.0, 40.0]
    np.testing.assert_array_equal(smooth(values, 5), np.full(20, 2.3))


def test_a_spike_at_the_end_vanishes():
    values = np.full(20, 2.3)
    values[-1] = 0.0
    np.testing.assert_array_equal(smooth(values, 5), np.full(20, 2.3))


@pytest.mark.parametrize("deviation", [1e-3, 1.0, 30.0])
def test_noise_level_finds_the_noise_under_a_trend(deviation):
    x = np.linspace(0, 1, 4000)
    values = 50 * np.sin(6 * x) + np.random.default_rng(0).normal(0, deviation, 4000)
    assert noise_level(values) == pytest.approx(deviation, rel=0.05)


def test_spikes_do_not_count_as_noise():
    values = np.linspace(0, 1, 100)
    values[10::20] += 100
    assert noise_level(values) < 1e-12


def test_two_values_have_no_noise():
    assert noise_level(np.array([1.0, 9.0])) == 0
