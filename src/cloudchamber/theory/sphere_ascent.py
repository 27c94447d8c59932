"""Journeys of many points on the unit sphere at once: uphill along a form, and to its critical points by Newton."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cloudchamber.theory.leading_form import LeadingForm

_LARGEST_TURN = 0.2
_NEWTON_TURN = 0.1
_SETTLED = 1e-6
_CRITICAL = 1e-11
_FLAT_LIMIT = 1e-13

Points = Float[Tensor, "s r"]


@dataclass(frozen=True)
class Arrived:
    """Points after a journey, and which of them have arrived."""

    points: Float[Tensor, "s r"]
    settled: Bool[Tensor, " s"]


def tangent_gradients(form: LeadingForm, points: Points) -> Points:
    """Return the gradient of φ on the sphere, `∇φ − pφ u`."""
    slope = form.gradients(points)
    return slope - (slope * points).sum(1, keepdim=True) * points


def follow_uphill(form: LeadingForm, starts: Points, steps: int) -> Arrived:
    """Follow the gradient of φ on the sphere until it vanishes to 1e-6 of its size at the starts.

    Each point turns along a great circle by at most 0.2 rad a step, by less where φ would not grow, so that it stays in
    the basin in which gradient flow would carry it, except close to the basin's border.
    """
    points, settled = starts.clone(), torch.zeros(len(starts), dtype=torch.bool, device=starts.device)
    slope = tangent_gradients(form, points)
    size = float(torch.linalg.vector_norm(slope, dim=1).amax())
    moving, values = torch.arange(len(starts), device=starts.device), form.values(points)
    length = points.new_full((len(starts),), 0.1 / max(size, 1e-300))
    for _ in range(steps):
        here = points[moving]
        slope = tangent_gradients(form, here)
        steepness = torch.linalg.vector_norm(slope, dim=1)
        rest = steepness > _SETTLED * size
        settled[moving[~rest]] = True
        moving, here, slope, steepness = moving[rest], here[rest], slope[rest], steepness[rest]
        if not len(moving):
            break
        turn = (length[moving] * steepness).clamp(max=_LARGEST_TURN)
        ahead = _turned(here, slope / steepness[:, None], turn)
        reached = form.values(ahead)
        better = reached > values[moving]
        length[moving] *= torch.where(better, 1.4, 0.3)
        length.clamp_(max=_LARGEST_TURN / (_SETTLED * max(size, 1e-300)))
        points[moving[better]], values[moving[better]] = ahead[better], reached[better]
    return Arrived(points, settled)


def newton_critical(form: LeadingForm, starts: Points, steps: int) -> Arrived:
    """Return critical points of any kind near the starts by Newton's method on the sphere.

    It solves `(∇²φ − pφ) δ = −∇φ` in the tangent space; a flat direction is left alone. Settled are those whose
    gradient has vanished to 1e-11 of the form's scale.
    """
    points = starts.clone()
    moving = torch.arange(len(points), device=points.device)
    for _ in range(steps):
        here = points[moving]
        slope = tangent_gradients(form, here)
        rest = torch.linalg.vector_norm(slope, dim=1) > 1e-15 * form.scale
        moving, here, slope = moving[rest], here[rest], slope[rest]
        if not len(moving):
            break
        step = _newton_step(form, here, slope)
        turn = torch.linalg.vector_norm(step, dim=1)
        points[moving] = _turned(here, step / turn.clamp(min=1e-300)[:, None], turn.clamp(max=_NEWTON_TURN))
    left = torch.linalg.vector_norm(tangent_gradients(form, points), dim=1)
    return Arrived(points, left <= _CRITICAL * form.scale)


def _newton_step(form: LeadingForm, points: Tensor, slope: Tensor) -> Tensor:
    """By the eigenvectors of the projected Hessian, of which u itself has eigenvalue 0."""
    away = torch.eye(points.shape[1], dtype=points.dtype, device=points.device) - points[:, :, None] * points[:, None]
    radial = form.order * form.values(points)
    projected = away @ form.hessians(points) @ away - radial[:, None, None] * away
    curvature, axes = torch.linalg.eigh(projected)
    limit = _FLAT_LIMIT * form.scale
    inverse = torch.where(curvature.abs() > limit, 1 / curvature, 0.0)
    return -(axes @ (inverse[:, :, None] * (axes.mT @ slope[:, :, None])))[:, :, 0]


def _turned(points: Tensor, towards: Tensor, turn: Tensor) -> Tensor:
    """Points moved along great circles by an angle, and renormalized against rounding."""
    moved = torch.cos(turn)[:, None] * points + torch.sin(turn)[:, None] * towards
    return moved / torch.linalg.vector_norm(moved, dim=1, keepdim=True)
