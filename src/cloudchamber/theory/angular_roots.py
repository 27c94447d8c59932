"""Critical directions in the plane: the roots of a trigonometric polynomial, for any order.

With u = (cos θ, sin θ) and x_i = ρ_i (cos θ_i, sin θ_i), `φ(θ) = Σ c_i ρ_i^p cos^p(θ − θ_i)` has the frequencies
p, p − 2, …, so φ' is a polynomial of degree p in `z = e^{2iθ}` and has at most p roots on the unit circle, each a
line. Angles have no point at infinity, unlike the paper's û = u_1/u_2, which is cot θ.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import comb

from cloudchamber.theory.critical_directions import DirectionKind, Lines
from cloudchamber.theory.leading_form import LeadingForm

_CONSTANT = 1e-13
_NEAR_CIRCLE = 1e-3
_TOGETHER = 1e-4
_NEWTON_STEPS = 30
_ROOT = 1e-11

Array = np.ndarray


def plane_lines(form: LeadingForm) -> Lines | None:
    """Return all critical lines of a form in the plane; None if φ is constant on the circle (p even)."""
    wave = _Wave.of(form)
    if wave.size <= _CONSTANT * form.scale:
        return None
    angles, repeated = wave.roots()
    kinds, basins = _flow(wave, angles)
    device = form.inputs.device
    directions = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], 1)).to(device)
    curvature = torch.from_numpy(np.where(repeated > 1, 0.0, wave(angles, 2))).to(device)
    flat = torch.from_numpy((repeated > 1).astype(np.int64)).to(device)
    shares = torch.from_numpy(basins).to(device)
    ends = torch.stack([curvature, curvature], 1)
    return Lines(directions, form.values(directions), ends, flat, kinds, shares, torch.full_like(flat, -1))


class _Wave:
    """`φ(θ) = Σ_m s_m e^{imθ}` over m = p, p − 2, …, −p."""

    def __init__(self, frequencies: Array, amplitudes: Array) -> None:
        self.frequencies, self.amplitudes = frequencies, amplitudes

    @staticmethod
    def of(form: LeadingForm) -> _Wave:
        p = form.order
        x, y = form.inputs.cpu().numpy().T
        strength = form.weights.cpu().numpy() * np.hypot(x, y) ** p
        frequencies = p - 2 * np.arange(p + 1)
        sums = np.exp(-1j * np.outer(frequencies, np.arctan2(y, x))) @ strength
        return _Wave(frequencies, comb(p, np.arange(p + 1)) * 0.5**p * sums)

    @property
    def size(self) -> float:
        """A bound on |φ'|: 0 if φ is constant."""
        return float(np.abs(self.frequencies * self.amplitudes).sum())

    def __call__(self, angles: Array, order: int = 0) -> Array:
        """Return a derivative of φ."""
        factors = (1j * self.frequencies) ** order * self.amplitudes
        return (np.exp(1j * np.outer(angles, self.frequencies)) @ factors).real

    def roots(self) -> tuple[Array, Array]:
        """Return the roots of φ' in [0, π), rising, and how many coincide in each."""
        found = np.roots(self.frequencies * self.amplitudes)
        near = found[np.abs(np.abs(found) - 1) < _NEAR_CIRCLE]
        polished = [self._polished(angle, 1) for angle in np.angle(near) / 2]
        angles = np.sort(np.array([angle for angle in polished if self._is_root(angle)]) % math.pi)
        groups = _together(angles)
        centres = [self._polished(float(group.mean()), len(group)) for group in groups]
        order = np.argsort(np.array(centres) % math.pi)
        return (np.array(centres) % math.pi)[order], np.array([len(group) for group in groups])[order]

    def _polished(self, angle: float, order: int) -> float:
        """Newton's method for a zero of a derivative of φ, which is simple where `order` roots of φ' coincide."""
        for _ in range(_NEWTON_STEPS):
            value, slope = (float(self(np.array([angle]), order + more)[0]) for more in (0, 1))
            step = value / slope if slope else 0.0
            if abs(step) > _NEAR_CIRCLE:
                break
            angle -= step
        return angle

    def _is_root(self, angle: float) -> bool:
        return abs(float(self(np.array([angle]), 1)[0])) <= _ROOT * self.size


def _together(angles: Array) -> list[Array]:
    """Rising angles of [0, π) in groups closer than 1e-4, around the end to the beginning."""
    groups = np.split(angles, np.flatnonzero(np.diff(angles) > _TOGETHER) + 1)
    if len(groups) > 1 and groups[0][0] + math.pi - groups[-1][-1] <= _TOGETHER:
        first = groups.pop(0)
        groups[-1] = np.concatenate([groups[-1], first + math.pi])
    return groups


def _flow(wave: _Wave, angles: Array) -> tuple[tuple[DirectionKind, ...], Array]:
    """What each line attracts and from which share of the circle, by the sign of φ' between neighbours.

    Over the turn by π the sign changes p times over: φ'(θ + π) = (−1)^p φ'(θ).
    """
    p = int(wave.frequencies[0])
    ends = np.append(angles, angles[0] + math.pi)
    widths = np.diff(ends) / (2 * math.pi)
    rising = wave((ends[:-1] + ends[1:]) / 2, 1) > 0
    width_before, rising_before = np.roll(widths, 1), np.roll(rising, 1)
    rising_before[0] ^= bool(p % 2)
    sides = zip(rising_before.tolist(), rising.tolist(), strict=True)
    kinds: tuple[DirectionKind, ...] = tuple(_kind(before, after) for before, after in sides)
    one_side = np.maximum(width_before, widths)
    shares = np.where(rising_before != rising, width_before + widths, one_side)
    return kinds, shares


def _kind(rising_before: bool, rising_after: bool) -> DirectionKind:
    if rising_before == rising_after:
        return "degenerate"
    return "positive" if rising_before else "negative"
