import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from theory.landscape_cases import FOUND, Problem, laws
from unchecked import refused

from cloudchamber import InvalidInput
from cloudchamber.theory.chains import flatten
from cloudchamber.theory.criticality import gradient_norm, polish
from cloudchamber.theory.embedding import embed_chain, split_neuron
from cloudchamber.theory.inertia import hessian_inertia, hessian_inertia_by_products


def counts(inertia):
    return inertia.negative, inertia.zero, inertia.positive


def quadratic(values, seed=0):
    """½ θᵀHθ with the eigenvalues of H given."""
    generator = torch.Generator().manual_seed(seed)
    size = len(values)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    matrix = basis * torch.tensor(values, dtype=torch.float64) @ basis.T
    return lambda theta: theta @ matrix @ theta / 2


@laws
@given(
    values=st.lists(st.sampled_from([-3.0, -1e-3, 0.0, 1e-3, 2.0]), min_size=1, max_size=25).filter(any),
    seed=st.integers(0, 99),
)
def test_both_ways_count_the_eigenvalues_of_a_matrix(values, seed):
    expected = (sum(v < 0 for v in values), values.count(0.0), sum(v > 0 for v in values))
    start = torch.zeros(len(values))
    assert counts(hessian_inertia(quadratic(values, seed), start)) == expected
    found = hessian_inertia_by_products(quadratic(values, seed), start, block=3)
    assert found.certain
    assert counts(found) == expected


def test_a_bounded_search_gives_lower_bounds_and_says_so():
    values = [-float(i) for i in range(1, 21)] + [float(i) for i in range(1, 41)] + [0.0] * 40
    found = hessian_inertia_by_products(quadratic(values), torch.zeros(100), most=24)
    assert not found.certain
    assert found.negative <= 20
    assert found.positive <= 40
    assert found.zero >= 40
    assert sum(counts(found)) == 100


@pytest.mark.parametrize(("sizes", "bias", "seed"), FOUND)
def test_embedding_takes_no_eigenvalue_of_any_sign_away(sizes, bias, seed):
    problem = Problem(sizes, bias, seed)
    point, narrow = problem.critical()
    assert point.converged
    copies = [problem.copies(h, 2) for h in sizes[1:-1]]
    free = [problem.gaussian(len(b.origin), len(a.origin)) for a, b in pairwise(copies)]
    wide = embed_chain(narrow, copies, free=free)
    before = hessian_inertia(problem.loss(narrow), point.theta)
    after = hessian_inertia(problem.loss(wide), flatten(wide))
    assert after.at_least(before)
    assert sum(counts(after)) == len(flatten(wide))
    by_products = hessian_inertia_by_products(problem.loss(wide), flatten(wide))
    assert by_products.certain
    assert counts(by_products) == counts(after)


def test_the_points_embedded_are_of_different_kinds():
    kinds = set()
    for sizes, bias, seed in FOUND:
        problem = Problem(sizes, bias, seed)
        point, narrow = problem.critical()
        inertia = hessian_inertia(problem.loss(narrow), point.theta)
        kinds.add((inertia.negative > 0, inertia.zero > 0))
        assert point.loss > 1e-3
    assert {(True, True), (True, False)} <= kinds


def test_splitting_a_minimum_makes_a_saddle_or_not():
    problem = Problem((2, 1, 1), 0, 6)
    point, narrow = problem.critical(descent=400)
    before = hessian_inertia(problem.loss(narrow), point.theta)
    assert point.converged
    assert counts(before) == (0, 0, 3)
    wider = [list(split_neuron(*narrow, 0, (share, 1 - share))) for share in (0.5, -0.5)]
    after = [hessian_inertia(problem.loss(wide), flatten(wide)) for wide in wider]
    assert [counts(inertia) for inertia in after] == [(0, 1, 5), (2, 1, 3)]


def test_a_wide_network_that_fits_needs_no_hessian():
    """Width 402: P = 1206, of rank 8 at most (P of the narrow net is 6); compared with the dense count."""
    problem = Problem((2, 2, 1), 0, 7)
    problem.y = problem.output(problem.weights)
    wide = embed_chain(problem.weights, [problem.copies(2, 400)])
    found = hessian_inertia_by_products(problem.loss(wide), flatten(wide), most=40)
    assert found.certain
    assert counts(found) == counts(hessian_inertia(problem.loss(wide), flatten(wide)))
    assert found.negative == 0
    assert found.positive <= 8


def test_a_wide_network_at_a_saddle_has_too_many_directions_for_few_products():
    problem = Problem((2, 2, 1), 0, 7)
    wide = embed_chain(problem.critical()[1], [problem.copies(2, 100)])
    dense = hessian_inertia(problem.loss(wide), flatten(wide))
    found = hessian_inertia_by_products(problem.loss(wide), flatten(wide), most=60)
    assert not found.certain
    assert 0 < found.negative <= dense.negative
    assert 0 < found.positive <= dense.positive
    assert found.zero >= dense.zero


class TestPolish:
    def test_it_finds_the_saddle_it_starts_near(self):
        point = polish(lambda theta: theta[0] ** 2 - theta[1] ** 2 + theta[1] ** 4, torch.tensor([0.1, 0.05]))
        assert point.converged
        assert torch.allclose(point.theta, torch.zeros(2, dtype=torch.float64), atol=1e-10)

    def test_its_gradient_norm_is_that_of_autograd(self):
        problem = Problem((2, 3, 1), 1, 1)
        theta = flatten(problem.weights).requires_grad_()
        slope = torch.autograd.grad(problem.loss(problem.weights)(theta), theta)[0]
        assert math.isclose(gradient_norm(problem.loss(problem.weights), theta), float(slope.norm()), rel_tol=1e-12)

    def test_it_says_where_it_fails(self):
        point = polish(lambda theta: theta.sum(), torch.ones(3))
        assert not point.converged
        assert point.gradient_norm == pytest.approx(3**0.5)

    def test_not_a_number_is_data(self):
        point = polish(lambda theta: theta.sum() * torch.nan, torch.ones(3))
        assert not point.converged
        inertia = hessian_inertia(lambda theta: theta.square().sum() * torch.nan, torch.ones(3))
        assert not inertia.certain
        found = hessian_inertia_by_products(lambda theta: theta.square().sum() * torch.nan, torch.ones(3))
        assert math.isnan(found.tolerance)


def test_bad_input_is_refused():
    def loss(theta):
        return theta.square().sum()

    with refused("vector"):
        polish(loss, torch.tensor([1, 2]))
    with pytest.raises(InvalidInput, match="not negative"):
        polish(loss, torch.ones(2), steps=-1)
    with pytest.raises(InvalidInput, match="relative_zero"):
        hessian_inertia(loss, torch.ones(2), relative_zero=0.0)
    with pytest.raises(InvalidInput, match="at least 1"):
        hessian_inertia_by_products(loss, torch.ones(2), most=0)
