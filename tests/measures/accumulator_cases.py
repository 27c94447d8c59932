"""What the tests of accumulators share: made-up steps, ways to hand them over, and the round trip of a state."""

import io

import hypothesis.strategies as st
import torch
from measure_cases import gaussian, shuffle

chunkings = st.lists(st.integers(1, 7), min_size=1, max_size=6)


def steps(n, d, h, P=1, seed=0):
    """X and G of n samples, of a layer applied P times, whose gradients lean towards one direction."""
    X, G = gaussian(n * P, d, seed), gaussian(n * P, h, seed + 1) + 2 * gaussian(1, h, seed + 2)
    return (X, G) if P == 1 else (X.view(n, P, d), G.view(n, P, h))


def in_chunks(sizes, *tensors, seed=0):
    """The samples in a random order, a few at a time."""
    order, start, turn = shuffle(len(tensors[0]), seed), 0, 0
    while start < len(order):
        chosen = order[start : start + sizes[turn % len(sizes)]]
        yield tuple(tensor[chosen] for tensor in tensors)
        start, turn = start + len(chosen), turn + 1


def fed(accumulator, sizes, *tensors, seed=0):
    for part in in_chunks(sizes, *tensors, seed=seed):
        accumulator.update(*part)
    return accumulator


def through_a_file(state):
    """As a checkpoint does it: nothing but tensors."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def moved(accumulator, fresh):
    """The same accumulator after its state went through a file."""
    fresh.load_state_dict(through_a_file(accumulator.state_dict()))
    return fresh


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(b.abs().max())), equal_nan=True)
