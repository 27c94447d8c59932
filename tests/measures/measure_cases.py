"""What the tests of the measures share: matrices to try, and the functions without their type checks."""

import importlib.util
import sys
from pathlib import Path

import hypothesis.strategies as st
import torch
from hypothesis import settings

import cloudchamber.measures

laws = settings(derandomize=True, max_examples=30, deadline=None, database=None)
seeds = st.integers(0, 10_000)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def gaussian(n, d, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=generator(seed), dtype=dtype)


def rotation(d, seed=0):
    return torch.linalg.qr(gaussian(d, d, seed))[0]


def shuffle(n, seed=0):
    return torch.randperm(n, generator=generator(seed))


def on_lines(lines, per_line, d, noise, seed=0, signed=False):
    """Rows along `lines` orthogonal lines, in both directions if signed, of different lengths."""
    basis = rotation(d, seed)[:lines].repeat_interleave(per_line, 0)
    length = 1 + torch.rand(len(basis), 1, generator=generator(seed), dtype=torch.float64)
    if signed:
        length[1::2] *= -1
    return length * (basis + noise * gaussian(len(basis), d, seed + 1) / d**0.5)


@st.composite
def matrices(draw, min_rows=0, max_rows=24, max_columns=8, zeros=True):
    """Float64 matrices with lengths of many scales, and with copies, opposites and (if allowed) zeros of other rows."""
    n, d = draw(st.integers(min_rows, max_rows)), draw(st.integers(1, max_columns))
    matrix = gaussian(n, d, draw(seeds))
    matrix *= 10 ** torch.linspace(-3, 3, n, dtype=torch.float64)[shuffle(n, draw(seeds)), None]
    for _ in range(draw(st.integers(0, 3)) if n else 0):
        source, target = draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))
        matrix[target] = matrix[source] * draw(st.sampled_from([1.0, -1.0, 2.0, 0.0] if zeros else [1.0, -1.0, 2.0]))
    return matrix


def unchecked(name):
    """Load a module of measures as a user has it: without beartype, so that its own errors are what is raised."""
    path = Path(cloudchamber.measures.__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"unchecked_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
