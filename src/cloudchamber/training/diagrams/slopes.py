"""The power of the width in a measured quantity: the slope of its logarithm, with a standard error from the seeds."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from cloudchamber._core.errors import require

CONFIDENCE = 0.95
"""of the intervals; a slope whose interval holds 0 has no known sign"""


def slopes(logs: xr.DataArray, over: str = "width") -> xr.Dataset:
    """Return the slope of logarithms over the logarithm of a size, by least squares through the means over seeds.

    `S = Σ_i c_i ȳ_i`, `c_i = (x_i − x̄)/Σ_j (x_j − x̄)²`, `x_i = log m_i`, with the standard error
    `√(Σ_i c_i² s_i²/n_i)` from the scatter s_i of the n_i networks of each size: it says how well the seeds determine
    the slope over these sizes. How far that is from the limit of large sizes, the slopes between neighbours show.

    Args:
        logs: (..., over, seed), natural logarithms; NaN for networks that do not count. A size at which fewer than half
            of the networks count is left out.
        over: the dimension with the sizes m as its coordinate, rising.

    Returns:
        `slope`, `slope_error`, `slope_interval` (half of the 95 % interval, by Student's t with the degrees of freedom
        of Welch and Satterthwaite), each (...); `local_slope` (..., over_pair) between neighbouring sizes, its
        coordinate the geometric mean of the two. NaN where there are too few networks.

    Raises:
        InvalidInput: if a dimension is missing, or there are fewer than two sizes.

    Source: overview2025, Section 5, the slope S of log RD.

    >>> logs = xr.DataArray([[0.0, 0.2], [1.0, 1.2]], dims=("width", "seed"), coords={"width": [1.0, np.e]})
    >>> found = slopes(logs)
    >>> round(float(found.slope), 6), round(float(found.slope_error), 6)
    (1.0, 0.141421)
    """
    has = over in logs.dims and "seed" in logs.dims
    require(has, f"`logs` has the dimensions {over} and seed", logs.dims, "name them")
    require(logs.sizes[over] >= 2, "a slope needs two sizes", logs.sizes[over], "add another width")
    count = logs.notnull().sum("seed")
    used = count >= max(1, logs.sizes["seed"] / 2)
    mean, x = logs.where(used).mean("seed"), log(logs[over].astype(float))
    weights = _weights(x, used, over)
    parts = weights**2 * _variance_of_mean(logs, count).where(used, 0.0)
    variance = parts.sum(over, skipna=False)
    freedom = 1 / ((parts / variance) ** 2 / (count - 1).clip(min=1)).sum(over, skipna=False)
    enough = used.sum(over) >= 2
    error = (variance**0.5).where(enough)
    return xr.Dataset(
        {
            "slope": (weights * mean).sum(over).where(enough),
            "slope_error": error,
            "slope_interval": (error * _quantile(freedom)).where(error > 0, error),
            "local_slope": _between_neighbours(mean, x, over),
        }
    )


def log(values: xr.DataArray) -> xr.DataArray:
    """Return natural logarithms."""
    return xr.apply_ufunc(np.log, values)


def sign(found: xr.Dataset) -> xr.DataArray:
    """Return 1 or −1 where the 95 % interval of a slope lies on one side of 0, else 0 (also where it is NaN).

    >>> sign(xr.Dataset({"slope": ("cell", [0.3, -0.3, 0.3]), "slope_interval": ("cell", [0.1, 0.1, 0.4])})).values
    array([ 1, -1,  0])
    """
    return (xr.apply_ufunc(np.sign, found.slope).where(abs(found.slope) > found.slope_interval, 0.0)).astype(int)


def _weights(x: xr.DataArray, used: xr.DataArray, over: str) -> xr.DataArray:
    away = (x - x.where(used).mean(over)).where(used, 0.0)
    return away / (away**2).sum(over)


def _variance_of_mean(logs: xr.DataArray, count: xr.DataArray) -> xr.DataArray:
    """s²/n; NaN where one network alone cannot tell."""
    scatter = ((logs - logs.mean("seed")) ** 2).sum("seed")
    return scatter / ((count - 1) * count).where(count > 1)


def _quantile(freedom: xr.DataArray) -> xr.DataArray:
    return xr.apply_ufunc(lambda degrees: stats.t.ppf((1 + CONFIDENCE) / 2, degrees), freedom)


def _between_neighbours(mean: xr.DataArray, x: xr.DataArray, over: str) -> xr.DataArray:
    pair = f"{over}_pair"
    local = (mean.diff(over) / x.diff(over)).rename({over: pair})
    middle = np.exp((x.values[1:] + x.values[:-1]) / 2)
    return local.assign_coords({pair: np.round(middle, 6)})
