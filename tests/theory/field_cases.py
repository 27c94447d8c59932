"""What the tests of direction fields share: samples to try, and flows that are integrated independently."""

import importlib.util
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import settings
from scipy.integrate import solve_ivp

import cloudchamber

laws = settings(derandomize=True, max_examples=20, deadline=None, database=None)
seeds = st.integers(0, 10_000)
ACTIVATIONS = {1: torch.tanh, 2: lambda x: x * torch.tanh(x), 3: lambda x: x * x * torch.tanh(x)}


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def samples(n, d, seed=0, bias=True):
    inputs = gaussian(n, d, seed=seed)
    if bias:
        inputs[:, -1] = 1
    return inputs, gaussian(n, seed=seed + 1)


def units(count, d, seed=0):
    points = gaussian(count, d, seed=seed)
    return points / points.norm(dim=1, keepdim=True)


def rotation(d, seed=0):
    return torch.linalg.qr(gaussian(d, d, seed=seed))[0]


def slow_gradient(points, inputs, residuals, order):
    """∇φ with coefficient 1, one sample after the other."""
    total = torch.zeros_like(points)
    for x, e in zip(inputs, residuals, strict=True):
        total -= e / len(inputs) * order * ((points @ x) ** (order - 1))[:, None] * x
    return total


def turned_by(inputs, residuals, order, starts, sign, time):
    """Where `u̇ = ±P∇φ(u)` carries unit vectors, by an integrator of scipy; φ has coefficient 1/p."""
    x, e, shape = inputs.numpy(), -residuals.numpy() / len(inputs), starts.shape

    def velocity(_, flat):
        points = flat.reshape(shape)
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
        slope = ((points @ x.T) ** (order - 1) * e) @ x
        return (sign * (slope - (slope * points).sum(1, keepdims=True) * points)).ravel()

    end = solve_ivp(velocity, (0, time), starts.numpy().ravel(), rtol=1e-5, atol=1e-8).y[:, -1].reshape(shape)
    return torch.from_numpy(end / np.linalg.norm(end, axis=1, keepdims=True))


def degrees_between(a, b):
    return torch.rad2deg(2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1)))


def unchecked(name):
    """Load a module of theory as a user has it: without beartype, so that its own errors are what is raised."""
    path = Path(cloudchamber.__file__).parent / "theory" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"unchecked_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
