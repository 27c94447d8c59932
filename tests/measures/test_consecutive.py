"""Layer alignment: the solvable case of xu2024, the full SVD as twin, laws, edges."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from measure_cases import gaussian, laws, rotation, seeds, shuffle, unchecked

from cloudchamber._core.errors import InvalidInput
from cloudchamber.measures import layer_alignment

sizes = st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), seeds)


def separate(rows, columns, seed):
    """A matrix whose singular values halve from one to the next, so that the leading vectors are well-conditioned."""
    size = min(rows, columns)
    values = 0.5 ** torch.arange(size, dtype=torch.float64)
    return rotation(rows, seed)[:, :size] @ torch.diag(values) @ rotation(columns, seed + 1)[:size]


def layers(h, d, m, seed):
    return separate(h, d, seed), separate(m, h, seed + 2)


def slow_alignment(weight, above, inputs=None):
    """With the largest entry of the direction read from the input, and of the one written above, positive."""
    U, _, Vh = torch.linalg.svd(weight if inputs is None else weight @ inputs.T)
    source = Vh[0] if inputs is None else inputs.T @ Vh[0]
    target, _, read = torch.linalg.svd(above)
    sign = source[source.abs().argmax()].sign() * target[:, 0][target[:, 0].abs().argmax()].sign()
    return sign * (U[:, 0] @ read[0])


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@laws
@given(sizes)
def test_it_is_the_cosine_of_leading_singular_vectors(size):
    weight, above = layers(*size)
    close(layer_alignment(weight, above), slow_alignment(weight, above))


@laws
@given(sizes, st.integers(1, 9))
def test_with_inputs_it_is_that_of_the_responses(size, n):
    h, d, _, seed = size
    _, above = layers(*size)
    inputs = separate(n, d, seed + 5)
    weight = gaussian(h, d, seed)
    values = torch.linalg.svdvals(weight @ inputs.T)
    if len(values) == 1 or values[1] < 0.9 * values[0]:
        close(layer_alignment(weight, above, inputs), slow_alignment(weight, above, inputs), 1e-8)


@laws
@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 9), seeds)
def test_for_one_output_and_inputs_along_a_line_it_is_that_of_the_paper(h, d, n, seed):
    weight, u = gaussian(h, d, seed), gaussian(1, h, seed + 1)
    line = torch.nn.functional.normalize(gaussian(1, d, seed + 2)[0], dim=0)
    line = line * line[line.abs().argmax()].sign()
    w = weight @ line
    inputs = gaussian(n, 1, seed + 3) * line
    close(layer_alignment(weight, u, inputs), u[0] @ w / (u.norm() * w.norm()))
    close(layer_alignment(w[:, None] * line, u), u[0] @ w / (u.norm() * w.norm()))


@laws
@given(sizes, st.floats(0.01, 100))
def test_scale_and_order_of_samples_do_not_matter_and_signs_of_outputs_do(size, factor):
    h, d, _, seed = size
    weight, above = layers(*size)
    found = layer_alignment(weight, above)
    close(layer_alignment(factor * weight, 2 * above), found)
    close(layer_alignment(-weight, above), -found)
    close(layer_alignment(weight, -above), -found)
    turn = rotation(h, seed + 9)
    close(layer_alignment(turn @ weight, above @ turn.T), found)
    assert -1 <= found <= 1
    inputs = separate(d + 1, d, seed)
    close(layer_alignment(weight, above, inputs[shuffle(d + 1, seed)]), layer_alignment(weight, above, inputs), 1e-7)


def test_layers_that_read_what_is_written_are_aligned_for_any_number_of_outputs():
    direction = gaussian(1, 6)[0]
    weight = torch.outer(direction, gaussian(1, 4, 1)[0].abs())
    above = torch.outer(gaussian(1, 5, 2)[0].abs(), direction)
    close(layer_alignment(weight, above), torch.tensor(1.0, dtype=torch.float64))
    close(layer_alignment(weight, -above), torch.tensor(-1.0, dtype=torch.float64))


def test_random_layers_have_about_one_over_the_root_of_the_width():
    found = [layer_alignment(gaussian(100, 20, seed), gaussian(10, 100, seed + 1000)) for seed in range(200)]
    assert torch.stack(found).square().mean().sqrt().item() == pytest.approx(0.1, rel=0.2)


def test_zero_and_unknown_weights():
    one = torch.ones(2, 2)
    assert layer_alignment(0 * one, one).isnan()
    assert layer_alignment(one, 0 * one).isnan()
    assert layer_alignment(one, one, 0 * one).isnan()
    assert layer_alignment(one, one, torch.ones(0, 2)).isnan()
    assert layer_alignment(torch.tensor([[1.0, math.nan]]), torch.ones(1, 1)).isnan()
    assert layer_alignment(one, torch.tensor([[1.0, math.inf]])).isnan()
    assert layer_alignment(one, one, torch.tensor([[1.0, math.nan]])).isnan()


def test_precisions():
    weight, above = layers(4, 5, 3, 0)
    assert layer_alignment(weight.half(), above.float()).dtype == torch.float32
    assert layer_alignment(weight, above.float()).dtype == torch.float64
    close(layer_alignment(weight.float(), above.float()).double(), layer_alignment(weight, above), 1e-5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3, 2), (4, 2)), r"`next_weight` has a column for every neuron of `weight`; got \(4, 2\) after \(3, 2\)"),
        (((3, 2), (4, 3), (5, 3)), "`inputs` has a column for every column of `weight`"),
        (((3, 2), (4, 3), (5,)), "`inputs`"),
        (((3,), (4, 3)), "`weight` is a matrix"),
    ],
)
def test_bad_arguments_are_refused(shapes, message):
    with pytest.raises(InvalidInput, match=message):
        unchecked("consecutive").layer_alignment(*(torch.ones(shape) for shape in shapes))
