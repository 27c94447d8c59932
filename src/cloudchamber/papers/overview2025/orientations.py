"""Figure 1's measures: which neurons are static and why, and on which orientations the others are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from cloudchamber.measures import orientation_angle, orientation_groups
from cloudchamber.papers.overview2025.growing import before_gate, samples

DEGREES = 3.0
"""within which orientations are one, and one is that of a list"""
STILL = 1.0
"""degrees by which a static neuron turns at most, at any epoch that is looked at"""
CUT = 0.05
"""neurons below this part of the largest amplitude are not counted"""
FINAL = (-163.0, 17.0, 135.0, 141.0, 158.0, 180.0)
"""where a first run of the paper's setting ended, in degrees"""

KINKS = (-0.3, 0.0, 0.4, 0.8)
"""where the target bends"""
EDGES = (-1.0, 1.0)
"""of the data; a neuron that bends there is linear on them"""

Degrees = Float[np.ndarray, " k"]


def angles(found: xr.Dataset) -> Float[np.ndarray, "seed epoch neuron"]:
    """Return orientations in degrees."""
    w = torch.from_numpy(found.w.values)
    return torch.rad2deg(orientation_angle(w.flatten(0, 2))).reshape(w.shape[:3]).numpy()


def apart(first: np.ndarray, second: np.ndarray | float) -> np.ndarray:
    """Return the angle between directions in degrees, 0 to 180.

    >>> apart(np.array([170.0]), -175.0)
    array([15.])
    """
    return np.abs((first - second + 180) % 360 - 180)


def apart_as_lines(first: np.ndarray, second: np.ndarray | float) -> np.ndarray:
    """Return the angle between lines in degrees, 0 to 90.

    >>> apart_as_lines(np.array([170.0]), 5.0)
    array([15.])
    """
    turned = apart(first, second)
    return np.minimum(turned, 180 - turned)


def static(found: xr.Dataset) -> Bool[np.ndarray, "seed neuron"]:
    """Return which neurons never turned by more than a degree."""
    turned = angles(found)
    return apart(turned, turned[:, :1]).max(1) <= STILL


def dead(found: xr.Dataset) -> Bool[np.ndarray, "seed epoch neuron"]:
    """Return which neurons give 0 for every sample, so that no gradient reaches them."""
    x, _ = samples(int(found.attrs["samples"]))
    return (before_gate(torch.from_numpy(found.w.values), x) <= 0).all(-1).numpy()


def moved(found: xr.Dataset) -> Float[np.ndarray, "seed neuron"]:
    """Return by how much any parameter of a neuron ever differed from its start."""
    inward = np.abs(found.w.values - found.w.values[:, :1]).max((1, 3))
    return np.maximum(inward, np.abs(found.a.values - found.a.values[:, :1]).max(1))


def counted(weights: Float[Tensor, "m 2"], still: Bool[np.ndarray, " m"], silent: Bool[np.ndarray, " m"]) -> Degrees:
    """Return the orientations on which neurons are that move, in degrees: each that of its strongest neuron.

    The strongest neuron leads an orientation, which all within 3° of it join; the strongest one left leads the next.
    """
    chosen = weights[torch.from_numpy(~still & ~silent)]
    groups = orientation_groups(chosen, threshold=math.cos(math.radians(DEGREES)), signed=True, norm_cut=CUT)
    return torch.rad2deg(orientation_angle(chosen[groups.leaders])).numpy()


def all_counted(found: xr.Dataset) -> list[list[Degrees]]:
    """Return the orientations of every seed at every epoch."""
    still, silent, weights = static(found), dead(found), torch.from_numpy(found.w.values)
    seeds, epochs = range(found.sizes["seed"]), range(found.sizes["epoch"])
    return [[counted(weights[seed, at], still[seed], silent[seed, at]) for at in epochs] for seed in seeds]


def mismatch(ends: Degrees, *, lines: bool = False) -> float:
    """Return how far orientations are from the list, in degrees: the largest distance from either to the other.

    >>> round(mismatch(np.array([-163.0, 17.0, 135.0, 141.0, 158.0, -178.0])), 6)
    2.0
    """
    measure = apart_as_lines if lines else apart
    table = np.array([measure(ends, wanted) for wanted in FINAL])
    return float(max(table.min(0).max(), table.min(1).max())) if len(ends) else math.inf


def bending_at(places: Sequence[float]) -> Degrees:
    """Return the orientation of a neuron that bends at x and grows to the right, in degrees; 180° off, to the left.

    >>> bending_at([0.0, 1.0])
    array([ -0., -45.])
    """
    return np.degrees(np.arctan2(-np.array(places), 1.0))


def fits_target(ends: Degrees) -> bool:
    """Whether each bend of the target has an orientation within 3°, and each orientation is one of these or an edge's.

    >>> fits_target(np.array([17.0, -163.0, 0.0, 158.0, 141.0, 135.0])), fits_target(np.array([17.0, 0.0, 158.0]))
    (True, False)
    """
    kinks, allowed = (
        np.array([apart_as_lines(ends, wanted) for wanted in bending_at(places)]) <= DEGREES
        for places in (KINKS, KINKS + EDGES)
    )
    return bool(kinks.any(1).all() and allowed.any(0).all())


def share_at_list(found: xr.Dataset) -> Float[np.ndarray, " seed"]:
    """Return the part of Σ|a|‖w‖, over neurons that move, which is within 3° of the list at the end, as lines."""
    last, silent = found.isel(epoch=-1), dead(found)[:, -1]
    weight = np.abs(last.a.values) * np.linalg.norm(last.w.values, axis=-1) * ~(static(found) | silent)
    nearest = np.min([apart_as_lines(angles(found)[:, -1], wanted) for wanted in FINAL], axis=0)
    return (weight * (nearest <= DEGREES)).sum(1) / weight.sum(1)
