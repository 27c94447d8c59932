from itertools import pairwise

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from theory.landscape_cases import FOUND, Problem, laws

from cloudchamber import InvalidInput
from cloudchamber.theory.chains import chain_output, flatten, unflatten
from cloudchamber.theory.embedding import (
    Copies,
    add_null_neurons,
    check_embedding,
    embed_chain,
    split_neuron,
    widen,
)

numbers = st.integers(1, 4)
seeds = st.integers(0, 10_000)


def close(a, b):
    return torch.allclose(a, b, rtol=1e-10, atol=1e-10)


@laws
@given(d=numbers, h=numbers, k=numbers, bias=st.booleans(), extra=st.integers(0, 5), seed=seeds)
def test_widening_keeps_the_output(d, h, k, bias, extra, seed):
    problem = Problem((d, h, k), bias, seed)
    wide = widen(*problem.weights, problem.copies(h, extra))
    assert wide[0].shape == (h + extra, d + bias)
    assert close(problem.output(wide), problem.output(problem.weights))


@laws
@given(h=numbers, shares=st.lists(st.floats(-3, 3), min_size=0, max_size=4), seed=seeds)
def test_splitting_is_widening_one_neuron(h, shares, seed):
    problem = Problem((3, h, 2), True, seed)
    neuron = seed % h
    shares = (*shares, 1 - sum(shares))
    wide = split_neuron(*problem.weights, neuron, shares)
    assert close(problem.output(wide), problem.output(problem.weights))
    assert torch.equal(wide[0][h:], problem.weights[0][neuron].expand(len(shares) - 1, -1))
    assert close(wide[1][:, neuron], shares[0] * problem.weights[1][:, neuron])


@laws
@given(widths=st.lists(numbers, min_size=1, max_size=3), bias=st.booleans(), free=st.booleans(), seed=seeds)
def test_the_general_embedding_keeps_output_and_gradients_in_their_shares(widths, bias, free, seed):
    problem = Problem((2, *widths, 2), bias, seed)
    copies = [problem.copies(h, 2) for h in widths]
    shapes = [(len(b.origin), len(a.origin)) for a, b in pairwise(copies)]
    wide = embed_chain(problem.weights, copies, free=[problem.gaussian(*shape) for shape in shapes] if free else None)
    assert close(problem.output(wide), problem.output(problem.weights))
    narrow_slopes = slopes(problem, problem.weights)
    ends = [*copies, Copies.same(2, problem.weights[0])]
    for layer, (slope, after) in enumerate(zip(slopes(problem, wide), ends, strict=True)):
        before = torch.arange(2) if layer == 0 else copies[layer - 1].origin
        before = torch.cat([before, before.new_full((int(bias),), narrow_slopes[layer].shape[1] - 1)])
        expected = after.share[:, None] * narrow_slopes[layer][after.origin][:, before]
        assert torch.allclose(slope, expected, rtol=1e-8, atol=1e-9)


def slopes(problem, weights):
    theta = flatten(weights).requires_grad_()
    return unflatten(torch.autograd.grad(problem.loss(weights)(theta), theta)[0], weights)


def test_a_free_part_is_really_there():
    problem = Problem((2, 2, 2, 1), False, 0)
    copies = [problem.copies(2, 2), problem.copies(2, 2)]
    plain = embed_chain(problem.weights, copies)
    mixed = embed_chain(problem.weights, copies, free=[problem.gaussian(4, 4)])
    assert (plain[1] - mixed[1]).abs().max() > 0.1


@pytest.mark.parametrize(("sizes", "bias", "seed"), FOUND)
def test_critical_points_stay_critical(sizes, bias, seed):
    problem = Problem(sizes, bias, seed)
    point, narrow = problem.critical()
    assert point.converged
    wide = embed_chain(narrow, [problem.copies(h, 2) for h in sizes[1:-1]])
    check = check_embedding(narrow, wide, problem.x, torch.tanh, problem.mse)
    assert check.output_change < 1e-12
    assert check.narrow_gradient <= 1e-12
    assert check.wide_gradient < 1e-10


def test_output_weights_that_only_sum_up_keep_the_output_but_no_critical_point_of_several_outputs():
    problem = Problem((2, 2, 2), 0, 0)
    point, (w_in, w_out) = problem.critical()
    assert point.converged
    part = problem.gaussian(2)
    wide = [torch.cat([w_in, w_in[:1]]), torch.cat([w_out, part[:, None]], 1)]
    wide[1][:, 0] -= part
    check = check_embedding([w_in, w_out], wide, problem.x, torch.tanh, problem.mse)
    assert check.output_change < 1e-12
    assert check.wide_gradient > 1e-3


class TestNullNeurons:
    def setup_method(self):
        self.problem = Problem((2, 2, 1), 1, 7)
        self.narrow = self.problem.critical()[1]

    def check(self, *rows):
        wide = list(add_null_neurons(*self.narrow, torch.stack(rows)))
        return check_embedding(self.narrow, wide, self.problem.x, torch.tanh, self.problem.mse)

    def test_the_output_stays_for_any_input_weights(self):
        assert self.check(self.problem.gaussian(3), self.problem.gaussian(3)).output_change == 0

    def test_zero_constant_and_copied_neurons_keep_a_critical_point(self):
        constant = torch.tensor([0.0, 0.0, 0.7], dtype=torch.float64)
        check = self.check(torch.zeros_like(constant), constant, self.narrow[0][0])
        assert check.wide_gradient < 1e-11

    def test_others_do_not(self):
        assert self.check(self.problem.gaussian(3)).wide_gradient > 1e-3


def test_bad_input_is_refused():
    w_in, w_out = torch.ones(2, 3), torch.ones(1, 2)
    half = torch.tensor([0.5, 0.5])
    with pytest.raises(InvalidInput, match="sum to 1"):
        split_neuron(w_in, w_out, 0, (0.5, 0.6))
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        split_neuron(w_in, w_out, 2, (0.5, 0.5))
    with pytest.raises(InvalidInput, match="a share for each"):
        split_neuron(w_in, w_out, 0, ())
    with pytest.raises(InvalidInput, match="sum to 1"):
        Copies(torch.tensor([0, 2]), torch.ones(2))
    with pytest.raises(InvalidInput, match="from 0"):
        Copies(torch.tensor([0, -1]), torch.ones(2))
    with pytest.raises(InvalidInput, match="copies are of 2"):
        widen(w_in, w_out, Copies(torch.tensor([0, 0]), half))
    with pytest.raises(InvalidInput, match="columns"):
        widen(w_in, torch.ones(1, 5), Copies.same(2, w_in))
    with pytest.raises(InvalidInput, match="entries"):
        add_null_neurons(w_in, w_out, torch.ones(1, 2))
    with pytest.raises(InvalidInput, match="each hidden layer"):
        embed_chain([w_in, w_out], [])
    with pytest.raises(InvalidInput, match="shapes"):
        embed_chain([w_in, w_out], [Copies.same(2, w_in)], free=[torch.ones(2, 2)])
    with pytest.raises(InvalidInput, match="two matrices"):
        embed_chain([w_in], [])
    with pytest.raises(InvalidInput, match="columns"):
        chain_output([w_in, w_out], torch.ones(4, 1), torch.tanh)
