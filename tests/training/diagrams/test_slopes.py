"""Slopes and their standard errors, against plain loops, exact powers and repeated draws."""

import hypothesis.strategies as st
import numpy as np
import pytest
import xarray as xr
from hypothesis import Phase, given, settings
from scipy import stats
from unchecked import refused

from cloudchamber import InvalidInput
from cloudchamber.training.diagrams.slopes import sign, slopes

laws = settings(derandomize=True, max_examples=25, deadline=None, database=None, phases=[Phase.generate])
WIDTHS = [10, 30, 100, 700]


def logs(values, widths=WIDTHS):
    return xr.DataArray(values, dims=("cell", "width", "seed"), coords={"width": widths})


def drawn(seed, cells=3, seeds=5, missing=0.0):
    random = np.random.default_rng(seed)
    values = random.normal(size=(cells, len(WIDTHS), seeds)) + random.normal(size=(cells, 1, 1)) * np.arange(4)[:, None]
    return np.where(random.random(values.shape) < missing, np.nan, values)


def by_loops(values, widths):
    """The slope, its standard error and degrees of freedom, in the plainest words."""
    kept = [(np.log(width), row[np.isfinite(row)]) for width, row in zip(widths, values, strict=True)]
    kept = [(x, row) for x, row in kept if len(row) >= max(1, values.shape[1] / 2)]
    if len(kept) < 2:
        return np.nan, np.nan, np.nan
    x = np.array([x for x, _ in kept])
    slope = np.polyfit(x, [row.mean() for _, row in kept], 1)[0]
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    parts = [weight**2 * row.var(ddof=1) / len(row) for weight, (_, row) in zip(weights, kept, strict=True)]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(row) - 1) for part, (_, row) in zip(parts, kept, strict=True))
    return slope, np.sqrt(sum(parts)), freedom


@laws
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3]))
def test_as_the_plain_loops(seed, missing):
    values = drawn(seed, missing=missing)
    found = slopes(logs(values))
    for cell, rows in enumerate(values):
        slope, error, freedom = by_loops(rows, WIDTHS)
        np.testing.assert_allclose(found.slope[cell], slope, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(found.slope_error[cell], error, rtol=1e-10)
        np.testing.assert_allclose(found.slope_interval[cell], error * stats.t.ppf(0.975, freedom), rtol=1e-10)


@laws
@given(st.floats(-3, 3), st.floats(-5, 5), st.integers(0, 10_000))
def test_a_power_law_has_its_power_and_a_factor_changes_nothing(power, factor, seed):
    exact = power * np.log(WIDTHS)[None, :, None] + factor + np.zeros((3, 4, 5))
    found = slopes(logs(exact))
    assert float(found.slope[0]) == pytest.approx(power, abs=1e-10)
    assert float(found.slope_interval[0]) < 1e-6
    np.testing.assert_allclose(found.local_slope[0], power, atol=1e-9)
    noisy = drawn(seed)
    before, after = slopes(logs(noisy)), slopes(logs(noisy + exact))
    np.testing.assert_allclose(after.slope, before.slope + power, atol=1e-9)
    np.testing.assert_allclose(after.slope_error, before.slope_error, rtol=1e-7)


def test_the_interval_holds_the_truth_in_95_of_100():
    """10 000 cells of 3 seeds with a scatter that differs between widths."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(10_000, 4, 3)) * np.array([0.1, 0.3, 0.2, 0.2])[:, None]
    found = slopes(logs(noise + 0.5 * np.log(WIDTHS)[None, :, None]))
    inside = abs(found.slope - 0.5) <= found.slope_interval
    assert 0.93 < float(inside.mean()) < 0.97
    assert float(found.slope.std()) == pytest.approx(float((found.slope_error**2).mean()) ** 0.5, rel=0.03)


def test_a_size_at_which_most_networks_fail_is_left_out():
    values = drawn(0, cells=1, seeds=4)
    values[0, 0, :3] = np.nan
    left = slopes(logs(values[:, 1:], WIDTHS[1:]))
    found = slopes(logs(values))
    assert float(found.slope[0]) == pytest.approx(float(left.slope[0]))
    assert float(found.slope_error[0]) == pytest.approx(float(left.slope_error[0]))
    values[0, 1:3] = np.nan
    assert bool(slopes(logs(values)).slope.isnull().all())


def test_one_network_of_a_size_gives_no_error_and_no_sign():
    values = drawn(0, cells=1, seeds=2)
    values[0, 2, 0] = np.nan
    found = slopes(logs(values))
    assert np.isfinite(float(found.slope[0]))
    assert np.isnan(float(found.slope_error[0]))
    assert sign(found).values.tolist() == [0]


def test_bad_input_is_refused():
    with pytest.raises(InvalidInput, match="two sizes"):
        slopes(logs(np.zeros((1, 1, 2)), [10]))
    with refused("the dimensions width and seed"):
        slopes(xr.DataArray(np.zeros((2, 2)), dims=("width", "member"), coords={"width": [1, 2]}))
