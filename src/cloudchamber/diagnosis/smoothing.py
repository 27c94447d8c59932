"""Smoothing that keeps edges, and the noise that is left to reckon with."""

from __future__ import annotations

import numpy as np

MAD_OF_UNIT_NORMAL = 0.6745


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Running median: y_i = median(x_{i−r}, ..., x_{i+r}), r = min((window − 1)/2, i, n − 1 − i).

    The window is symmetric and shrinks towards the ends, so that a monotone curve stays as it is. The last value is
    taken by Tukey's end-point rule, y_n = median(x_n, y_{n−1}, 3y_{n−1} − 2y_{n−2}), so that a single last observation
    cannot end a phase. The first value stays: it is the initialization.

    Args:
        values: (n,) finite numbers.
        window: odd number of observations.

    Returns:
        (n,) in the unit of `values`.

    >>> smooth(np.array([5.0, 5.0, 9.0, 5.0, 5.0]), 3)
    array([5., 5., 5., 5., 5.])
    """
    smoothed = np.array(values, dtype=np.float64)
    half = window // 2
    for radius in range(1, half):
        for centre in {radius, len(values) - 1 - radius}:
            if radius <= centre < len(values) - radius:
                smoothed[centre] = np.median(values[centre - radius : centre + radius + 1])
    if half and len(values) >= window:
        inner = np.lib.stride_tricks.sliding_window_view(values, 2 * half + 1)
        smoothed[half : len(values) - half] = np.median(inner, axis=1)
    if half and len(values) >= 3:
        smoothed[-1] = np.median([values[-1], smoothed[-2], 3 * smoothed[-2] - 2 * smoothed[-3]])
    return smoothed


def noise_level(values: np.ndarray) -> float:
    """Standard deviation of the noise on a smooth curve: median |x_{i−1} − 2x_i + x_{i+1}| / (0.6745 √6).

    Second differences remove level and trend; the median ignores spikes and short stretches of fast change.

    Args:
        values: (n,) finite numbers.

    Returns:
        σ in the unit of `values`; 0 for fewer than three.

    >>> noise_level(np.arange(10.0))
    0.0
    """
    if len(values) < 3:
        return 0.0
    return float(np.median(np.abs(np.diff(values, 2))) / (MAD_OF_UNIT_NORMAL * np.sqrt(6)))
