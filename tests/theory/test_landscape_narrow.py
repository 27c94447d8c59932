import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from theory.landscape_cases import Problem, laws

from cloudchamber import InvalidInput
from cloudchamber.theory.chains import chain_output, flatten, unflatten
from cloudchamber.theory.embedding import add_null_neurons, embed_chain, widen
from cloudchamber.theory.narrow import effective_narrow_network
from cloudchamber.theory.sample_size import optimistic_sample_size, optimistic_sample_size_linear, tangent_rank

seeds = st.integers(0, 10_000)
ACTIVATIONS = {
    "homogeneous": torch.relu,
    "linear": lambda z: 3 * z,
    "odd": torch.tanh,
    "none": torch.sigmoid,
}


def along(problem, groups, per_group, symmetry):
    """Input weights in groups that the symmetry can merge, in random order."""
    rows = torch.linalg.qr(problem.gaussian(4, 4))[0][:groups].repeat_interleave(per_group, 0)
    length = problem.gaussian(len(rows), 1)
    scale = {"homogeneous": length.abs() + 0.1, "linear": length, "odd": length.sign(), "none": torch.ones_like(length)}
    return (rows * scale[symmetry])[torch.randperm(len(rows), generator=problem.generator)]


@pytest.mark.parametrize("symmetry", list(ACTIVATIONS))
@laws
@given(groups=st.integers(1, 4), per_group=st.integers(1, 5), bias=st.booleans(), seed=seeds)
def test_neurons_along_one_direction_are_one(symmetry, groups, per_group, bias, seed):
    problem = Problem((4, groups * per_group, 2), bias, seed)
    w_in, w_out = along(problem, groups, per_group, symmetry), problem.weights[1]
    narrow = effective_narrow_network(w_in, w_out, symmetry=symmetry)
    x = problem.gaussian(20, 4)
    before = chain_output([w_in, w_out], x, ACTIVATIONS[symmetry])
    after = chain_output([narrow.w_in, narrow.w_out], x, ACTIVATIONS[symmetry])
    assert len(narrow.leaders) == groups
    assert narrow.defect < 1e-12
    assert torch.allclose(before, after, atol=1e-11)


@laws
@given(h=st.integers(1, 4), extra=st.integers(0, 6), seed=seeds)
def test_merging_undoes_splitting(h, extra, seed):
    problem = Problem((5, h, 2), True, seed)
    wide = widen(*problem.weights, problem.copies(h, extra))
    narrow = effective_narrow_network(*wide, symmetry="none", threshold=1 - 1e-9)
    assert len(narrow.leaders) == h
    assert torch.allclose(problem.output([narrow.w_in, narrow.w_out]), problem.output(problem.weights), atol=1e-10)


def test_tanh_neurons_of_different_length_are_merged_to_first_order_only():
    w_in, w_out = torch.tensor([[1.0, 0.0], [0.5, 0.0]]).double(), torch.ones(1, 2).double()
    narrow = effective_narrow_network(w_in, w_out, symmetry="odd")
    assert narrow.defect == 1.0

    def change(scale):
        x = scale * torch.ones(1, 2, dtype=torch.float64)
        return float(
            chain_output([w_in, w_out], x, torch.tanh) - chain_output([narrow.w_in, narrow.w_out], x, torch.tanh)
        )

    assert change(0.01) / change(0.001) == pytest.approx(1000, rel=0.01)  # the error is of third order


def test_given_groups_are_used_and_others_left_out():
    w_in, w_out = torch.eye(4), torch.arange(4.0)[None]
    narrow = effective_narrow_network(w_in, w_out, symmetry="homogeneous", labels=torch.tensor([7, -1, 7, 3]))
    assert narrow.labels.tolist() == [1, -1, 1, 0]
    assert narrow.w_out.tolist() == [[3.0, 2.0]]
    assert narrow.defect == pytest.approx(2**0.5)


def test_zero_neurons_count_only_where_they_give_something():
    w_in, w_out = torch.zeros(3, 2), torch.ones(1, 3)
    assert effective_narrow_network(w_in, w_out, symmetry="odd").w_in.shape == (0, 2)
    assert effective_narrow_network(w_in, w_out, symmetry="none").w_out.tolist() == [[3.0]]


class TestSampleSize:
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("output_bias", [False, True])
    @pytest.mark.parametrize("widths", [(1,), (3,), (2, 2), (2, 3)])
    @pytest.mark.parametrize("outputs", [1, 2])
    def test_it_is_the_dimension_of_the_tangent_functions(self, widths, bias, output_bias, outputs):
        problem = Problem((3, *widths, outputs), bias, 0)
        if output_bias != bias:
            size = widths[-1]
            problem.weights[-1] = problem.gaussian(outputs, size + output_bias)
        expected = optimistic_sample_size(widths, 3, outputs, bias=bias, output_bias=output_bias)
        assert rank(problem, problem.weights) == expected

    def test_it_does_not_depend_on_the_width(self):
        problem = Problem((3, 2, 1), 0, 1)
        for extra in (0, 1, 5, 20):
            wide = list(widen(*problem.weights, problem.copies(2, extra)))
            assert rank(problem, wide) == optimistic_sample_size(2, 3) == 8

    def test_another_point_with_the_same_output_takes_more(self):
        problem = Problem((3, 2, 1), 0, 1)
        wide = list(add_null_neurons(*problem.weights, problem.gaussian(1, 3)))
        assert rank(problem, wide) == 9

    def test_a_deep_embedding_keeps_it(self):
        problem = Problem((3, 2, 2, 1), 0, 1)
        wide = embed_chain(problem.weights, [problem.copies(2, 2), problem.copies(2, 1)])
        assert rank(problem, wide) >= optimistic_sample_size((2, 2), 3) == rank(problem, problem.weights)

    def test_a_homogeneous_neuron_that_is_linear_on_all_samples_has_less_still(self):
        problem = Problem((3, 3, 2, 1), True, 1, torch.nn.functional.leaky_relu)
        most = optimistic_sample_size((3, 2), 3, bias=True, output_bias=True, homogeneous=True)
        assert rank(problem, problem.weights) < most

    @pytest.mark.parametrize("widths", [(2,), (3, 2)])
    def test_homogeneous_neurons_have_a_dimension_less(self, widths):
        problem = Problem((3, *widths, 1), True, 5, torch.nn.functional.leaky_relu)
        expected = optimistic_sample_size(widths, 3, bias=True, output_bias=True, homogeneous=True)
        assert rank(problem, problem.weights) == expected

    @pytest.mark.parametrize("target", [0, 1, 2, 3])
    def test_linear_maps_take_the_dimension_of_their_rank(self, target):
        problem = Problem((4, 5, 3), 0, 3, lambda z: z)
        problem.weights[0][target:] = 0
        problem.weights[1][:, target:] = 0
        assert rank(problem, problem.weights) == optimistic_sample_size_linear(target, 4, 3)

    def test_bad_input_is_refused(self):
        with pytest.raises(InvalidInput, match="at least 1"):
            optimistic_sample_size(2, 0)
        with pytest.raises(InvalidInput, match="from 0 to 2"):
            optimistic_sample_size_linear(3, 2, 4)


def rank(problem, weights):
    x = problem.gaussian(120, 3 if problem.x.shape[1] == 3 else problem.x.shape[1])

    def function(theta, samples):
        return chain_output(unflatten(theta, weights), samples, problem.activation)

    return tangent_rank(function, flatten(weights), x)


def test_bad_input_is_refused():
    w_in, w_out = torch.ones(2, 3), torch.ones(1, 2)
    with pytest.raises(InvalidInput, match="columns"):
        effective_narrow_network(w_in, torch.ones(1, 5), symmetry="odd")
    with pytest.raises(InvalidInput, match="a label for each"):
        effective_narrow_network(w_in, w_out, symmetry="odd", labels=torch.zeros(3, dtype=torch.long))
    with pytest.raises(InvalidInput, match="cosine"):
        effective_narrow_network(w_in, w_out, symmetry="odd", threshold=1.5)
