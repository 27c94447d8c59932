"""Made-up curves of runs whose phases are known."""

import numpy as np

LEVEL = np.log(10.0)


def leaving_loss(steps, leaves, width=20.0, level=LEVEL, floor=0.1):
    """A loss on its plateau that falls around step `leaves` within some `width`s."""
    return floor + (level - floor) / (1 + np.exp((np.asarray(steps) - leaves) / width))


def peaking_cosine(steps, peak, start=0.6, top=0.8, end=0.7):
    """A similarity that rises in a straight line to `peak` and falls, twice as fast, to `end`."""
    steps = np.asarray(steps, dtype=float)
    slope = (top - start) / max(peak, 1)
    return np.where(steps <= peak, start + slope * steps, np.maximum(end, top - 2 * slope * (steps - peak)))


def noisy(values, deviation, seed=0):
    return values + np.random.default_rng(seed).normal(0, deviation, np.shape(values))
