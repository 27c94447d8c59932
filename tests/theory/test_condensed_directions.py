"""Condensed directions: what makes them critical and what they attract, closed forms, symmetries, degenerate data."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from theory.field_cases import (
    degrees_between,
    gaussian,
    laws,
    rotation,
    samples,
    seeds,
    slow_gradient,
    turned_by,
    unchecked,
    units,
)

from cloudchamber._core.errors import InvalidInput
from cloudchamber.theory import (
    condensed_directions,
    leading_direction_field,
    leading_potential,
    multiplicity,
    orthogonal_counterexample,
)
from cloudchamber.theory.leading_form import leading_form
from cloudchamber.theory.z_eigenvectors import most_lines, searched_lines

orders = st.integers(1, 6)
dimensions = st.integers(1, 5)
SWAPPED = {"positive": "negative", "negative": "positive"}


def tangent(points, field):
    return field - (field * points).sum(1, keepdim=True) * points


def sphere_curvatures(u, potential, step=1e-4):
    """Eigenvalues of the second differences of φ along great circles through u."""
    frame = torch.linalg.qr(torch.cat([u[:, None], torch.eye(len(u), dtype=u.dtype)], 1)).Q[:, 1:].T
    size = len(frame)
    second = torch.zeros(size, size, dtype=u.dtype)

    def at(v):
        length = v.norm()
        return potential((torch.cos(length) * u + torch.sinc(length / math.pi) * v)[None])[0]

    for i in range(size):
        for j in range(size):
            a, b = step * frame[i], step * frame[j]
            second[i, j] = (at(a + b) - at(a - b) - at(b - a) + at(-a - b)) / (4 * step**2)
    return torch.linalg.eigvalsh(second)


def same_directions(a, b, tolerance=1e-7):
    """Whether two sets of directions are the same, as sets."""
    return len(a) == len(b) and (not len(a) or bool((torch.cdist(a, b).amin(1) < tolerance).all()))


def by_kind(found):
    return {kind: found.directions[[k == kind for k in found.kinds]] for kind in found.kinds}


def same_found(a, b, tolerance=1e-7):
    one, other = by_kind(a), by_kind(b)
    return one.keys() == other.keys() and all(same_directions(one[k], other[k], tolerance) for k in one)


@laws
@given(orders, dimensions, seeds)
def test_every_direction_is_a_critical_unit_vector_and_curves_as_it_says(order, d, seed):
    inputs, residuals = samples(12, d, seed)
    found = condensed_directions(inputs, residuals, order, coefficient=0.5)
    u = found.directions
    assert torch.allclose(u.norm(dim=1), torch.ones(len(u), dtype=torch.float64), atol=1e-12)
    field = leading_direction_field(u, inputs, residuals, order, coefficient=0.5)
    scale = 1 + field.norm(dim=1).amax()
    assert tangent(u, field).norm(dim=1).amax() <= 1e-9 * scale
    values = leading_potential(u, inputs, residuals, order, coefficient=0.5)
    assert torch.allclose(found.potentials, values, rtol=1e-9, atol=1e-9 * scale)
    for row, ends, kind in zip(u, found.curvatures, found.kinds, strict=True):
        if d == 1:
            assert ends.isnan().all()
            continue
        curves = sphere_curvatures(row, lambda p: leading_potential(p, inputs, residuals, order, coefficient=0.5))
        assert torch.allclose(ends, curves[[0, -1]], atol=1e-5 * scale)
        assert {"positive": curves[-1] < 0, "negative": curves[0] > 0}.get(kind, curves[0] * curves[-1] < 0)


@laws
@given(orders, st.integers(2, 5), seeds)
def test_neurons_close_to_a_direction_flow_to_it_or_away_as_its_kind_says(order, d, seed):
    inputs, residuals = samples(12, d, seed)
    found = condensed_directions(inputs, residuals, order)
    slow = found.curvatures.abs().amin() / order

    near = found.directions + 1e-4 * tangent(found.directions, gaussian(len(found.directions), d, seed=seed))
    near = near / near.norm(dim=1, keepdim=True)
    for sign, attracted in ((1, "positive"), (-1, "negative")):
        end = turned_by(inputs, residuals, order, near, sign, 1.0 / float(slow))
        before, after = degrees_between(near, found.directions), degrees_between(end, found.directions)
        for kind, start, stop in zip(found.kinds, before, after, strict=True):
            if kind == attracted:
                assert stop < 0.7 * start
            elif kind in SWAPPED:
                assert stop > 1.5 * start


@laws
@given(orders, st.integers(1, 4), seeds, st.floats(0.01, 100))
def test_opposite_directions_scaled_residuals_and_flipped_residuals(order, d, seed, factor):
    inputs, residuals = samples(12, d, seed)
    found = condensed_directions(inputs, residuals, order)
    assert torch.equal(found.directions[::2], -found.directions[1::2])
    for one, other in zip(found.kinds[::2], found.kinds[1::2], strict=True):
        assert other == (SWAPPED.get(one, one) if order % 2 else one)
    assert torch.allclose(found.potentials[1::2], (-1) ** order * found.potentials[::2])
    scaled = condensed_directions(3 * inputs, factor * residuals, order)
    assert same_found(scaled, found)
    assert torch.allclose(scaled.potentials, factor * 3**order * found.potentials, rtol=1e-8)
    flipped = condensed_directions(inputs, -residuals, order)
    for kind, directions in by_kind(found).items():
        assert same_directions(by_kind(flipped)[SWAPPED.get(kind, kind)], directions)
    assert same_found(condensed_directions(inputs, residuals, order, coefficient=-2.0), flipped)


@laws
@given(orders, st.integers(2, 4), seeds)
def test_rotating_the_inputs_rotates_the_directions(order, d, seed):
    inputs, residuals = samples(12, d, seed)
    turn = rotation(d, seed + 3)
    found, turned = (condensed_directions(x, residuals, order) for x in (inputs, inputs @ turn.T))
    for kind in SWAPPED:
        attracting = by_kind(found).get(kind, inputs[:0])
        assert same_directions(attracting @ turn.T, by_kind(turned).get(kind, inputs[:0]))


@laws
@given(st.integers(1, 6), seeds)
def test_multiplicity_one_is_the_line_of_the_mean(d, seed):
    inputs, residuals = samples(9, d, seed)
    found = condensed_directions(inputs, residuals, multiplicity(torch.sigmoid))
    mean = -0.25 * (residuals[:, None] * inputs).mean(0)
    assert torch.allclose(found.attractors(1), (mean / mean.norm())[None])
    assert torch.allclose(found.attractors(-1), -(mean / mean.norm())[None])
    assert found.basins.tolist() == [1, 1]
    assert torch.allclose(found.turning_exponents, torch.ones(2, dtype=torch.float64), equal_nan=True) or d == 1


@laws
@given(st.integers(2, 6), seeds, st.sampled_from([0.5, -0.5]))
def test_multiplicity_two_attracts_to_the_ends_of_the_spectrum(d, seed, coefficient):
    """theory: for σ''(0) > 0, a > 0 goes to the bottom eigenvector of Σ e x xᵀ, a < 0 to the top one."""
    inputs, residuals = samples(20, d, seed)
    found = condensed_directions(inputs, residuals, 2, coefficient=coefficient)
    vectors = np.linalg.eigh((inputs.T * residuals).numpy() @ inputs.numpy())[1].T
    bottom, top = torch.from_numpy(vectors[[0, -1]].copy())
    if coefficient < 0:
        bottom, top = top, bottom
    assert same_directions(found.attractors(1), torch.stack([bottom, -bottom]))
    assert same_directions(found.attractors(-1), torch.stack([top, -top]))
    assert len(found.kinds) == 2 * d
    assert found.completeness.exhaustive


@laws
@given(st.integers(3, 7), seeds)
def test_in_the_plane_the_roots_are_those_of_the_papers_polynomial(order, seed):
    """`Σ (û x_1 + x_2)^{p−1} e x_1 = û Σ (û x_1 + x_2)^{p−1} e x_2` with û = u_1/u_2."""
    inputs, residuals = samples(15, 2, seed)
    left = right = np.poly1d([0.0])
    for (x1, x2), e in zip(inputs.tolist(), residuals.tolist(), strict=True):
        power = np.poly1d([x1, x2]) ** (order - 1) * e
        left, right = left + power * x1, right + power * np.poly1d([x2, 0.0])
    roots = (left - right).roots
    real = roots[np.abs(roots.imag) < 1e-7 * (1 + np.abs(roots))].real
    expected = torch.from_numpy(np.stack([real, np.ones_like(real)], 1))
    expected = expected / expected.norm(dim=1, keepdim=True)
    found = condensed_directions(inputs, residuals, order)
    assert same_directions(found.directions, torch.cat([expected, -expected]), 1e-5)
    assert len(found.kinds) <= 2 * order


@laws
@given(st.integers(2, 6), st.integers(2, 3), seeds)
def test_the_search_finds_what_the_exact_routes_find(order, d, seed):
    d = 2 if order > 2 else d + 1
    inputs, residuals = samples(15, d, seed)
    exact = condensed_directions(inputs, residuals, order)
    lines, completeness = searched_lines(leading_form(inputs, residuals, order), starts=100, seed=0)
    directions = torch.cat([lines.directions, -lines.directions])
    for kind in SWAPPED:
        rows = [k == kind for k in lines.kinds + lines.reversed(order).kinds]
        assert same_directions(directions[rows], by_kind(exact).get(kind, inputs[:0]))
    assert completeness.unfinished <= 2
    assert torch.cdist(directions, exact.directions).amin(1).amax() < 1e-7


@pytest.mark.parametrize(("order", "d"), [(3, 4), (4, 3), (5, 3), (4, 5)])
def test_every_neuron_ends_at_a_listed_attractor_and_basins_are_their_shares(order, d):
    inputs, residuals = samples(12, d, seed=order)
    found = condensed_directions(inputs, residuals, order)
    starts = units(400, d, seed=7)
    for sign in (1, -1):
        end = turned_by(inputs, residuals, order, starts, sign, 60.0)
        attractors = found.attracts(sign).nonzero()[:, 0]
        apart = torch.cdist(end, found.directions[attractors])
        assert (apart.amin(1) < 1e-3).double().mean() > 0.98
        counts = torch.bincount(apart.argmin(1), minlength=len(attractors)) / 400
        assert (counts - found.basins[attractors]).abs().amax() < 0.1
        assert found.basins[attractors].sum() == pytest.approx(1, abs=0.02)


def test_in_the_plane_basins_are_arcs():
    inputs, residuals = samples(15, 2, seed=4)
    found = condensed_directions(inputs, residuals, 5)
    angles = torch.linspace(0, 2 * math.pi, 401, dtype=torch.float64)[:-1]
    starts = torch.stack([angles.cos(), angles.sin()], 1)
    for sign in (1, -1):
        rows = found.attracts(sign)
        end = turned_by(inputs, residuals, 5, starts, sign, 100.0)
        counts = torch.bincount(torch.cdist(end, found.directions[rows]).argmin(1), minlength=int(rows.sum()))
        assert torch.allclose(counts.double() / 400, found.basins[rows], atol=6e-3)
        assert found.basins[rows].sum() == pytest.approx(1)


def slowest_tangent(u, gradient, sign):
    """The tangent direction in which the orientation returns to u most slowly, by differences of ∇φ."""
    frame = torch.linalg.qr(torch.cat([u[:, None], torch.eye(len(u), dtype=u.dtype)], 1)).Q[:, 1:].T
    jacobian = sign * (gradient(u + 1e-5 * frame) - gradient(u - 1e-5 * frame)) @ frame.T
    return frame.T @ torch.linalg.eigh((jacobian + jacobian.T) / 2)[1][:, -1]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_angle_to_an_attractor_falls_as_the_norm_to_minus_the_turning_exponent(order):
    """In a frozen field w grows from close to u by a factor of e²; `d log θ / d log r = κ/(pφ)`."""
    inputs, residuals = samples(12, 3, seed=4)
    found = condensed_directions(inputs, residuals, order)
    chosen = found.turning_exponents.isfinite().nonzero()[:, 0]
    assert len(chosen)
    for i in chosen.tolist():
        u, sign = found.directions[i], 1.0 if found.kinds[i] == "positive" else -1.0
        w = (u + 1e-3 * slowest_tangent(u, lambda p: slow_gradient(p, inputs, residuals, order), sign))[None]
        angle = degrees_between(w / w.norm(), u)
        for _ in range(400):
            step = sign * slow_gradient(w, inputs, residuals, order)
            w = w + 5e-3 * w.norm() * step / step.norm()
        slope = torch.log(degrees_between(w / w.norm(), u) / angle) / w.norm().log()
        assert -float(slope) == pytest.approx(float(found.turning_exponents[i]), rel=0.01)


@pytest.mark.parametrize("order", [3, 5])
@pytest.mark.parametrize("d", [3, 4, 6])
@pytest.mark.parametrize("bias", [True, False])
def test_orthogonal_samples_attract_along_more_lines_than_the_multiplicity(order, d, bias):
    """The field itself is followed: random neurons with a > 0 end at all d samples, and where they shrink."""
    inputs, residuals = orthogonal_counterexample(d, bias=bias)
    assert torch.allclose(inputs @ inputs.T, d * torch.eye(d, dtype=torch.float64), atol=1e-12)
    assert not bias or torch.allclose(inputs[:, -1], torch.ones(d, dtype=torch.float64))
    samples_directions = inputs / d**0.5
    found = condensed_directions(inputs, residuals, order)
    assert same_directions(found.attractors(1, growing=True), samples_directions)
    assert same_directions(found.attractors(-1, growing=True), -samples_directions)
    assert found.attracting_lines(growing=True) == d
    mean = samples_directions.sum(0) / d**0.5
    assert same_directions(found.attractors(1), torch.cat([samples_directions, -mean[None]]))
    end = turned_by(inputs, residuals, order, units(300, d), 1, 30.0 / d ** ((order - 1) / 2))
    apart = torch.cdist(end, torch.cat([samples_directions, -mean[None]]))
    reached = apart.argmin(1)[apart.amin(1) < 0.02]
    assert len(reached) > 280
    assert set(range(d)) <= set(reached.tolist())


@pytest.mark.parametrize("d", [3, 4, 5])
def test_orthogonal_samples_have_as_many_critical_lines_as_a_cubic_form_can_have(d):
    found = condensed_directions(*orthogonal_counterexample(d), 3)
    assert len(found.kinds) == 2 * most_lines(d, 3) == 2 * (2**d - 1)
    even = condensed_directions(*orthogonal_counterexample(d), 4)
    assert len(even.attractors(1)) == 2 * d
    assert len(even.attractors(-1)) == 2**d
    euler = even.completeness.euler
    assert euler is not None
    assert euler[0] == euler[1] == (2 if d % 2 else 0)


def test_for_p_of_1_and_2_the_same_samples_attract_along_at_most_one_line():
    assert condensed_directions(*orthogonal_counterexample(4), 1).attracting_lines() == 1
    assert condensed_directions(*orthogonal_counterexample(4), 2).constant


def test_a_search_says_how_complete_it_is():
    inputs, residuals = orthogonal_counterexample(8)
    few = condensed_directions(inputs, residuals, 3, starts=6, seed=3).completeness
    assert (few.route, few.exhaustive, few.starts) == ("search", False, 6)
    assert few.once >= 2
    assert few.missed_share == few.once / 6
    assert few.detected_share == pytest.approx(1 - 0.05 ** (1 / 6))
    many = condensed_directions(inputs, residuals, 3, starts=500).completeness
    assert many.once <= 1
    assert many.unfinished == 0
    assert many.missed_share == many.once / 500
    assert many.detected_share < 0.006
    assert "at most 255 critical lines can exist" in str(many)


def test_the_estimated_chance_of_a_miss_is_about_right():
    """Over many short searches, the mean estimate against the share of orientations that lead elsewhere."""
    inputs, residuals = orthogonal_counterexample(6)
    full = condensed_directions(inputs, residuals, 3, starts=2000)
    estimated, true = [], []
    for seed in range(20):
        found = condensed_directions(inputs, residuals, 3, starts=8, seed=seed)
        rows, listed = full.attracts(1), found.directions[found.attracts(1) & (found.basins > 0)]
        missing = torch.cdist(full.directions[rows], listed).amin(1) > 1e-6
        true.append(float(full.basins[rows][missing].sum()))
        estimated.append(found.completeness.missed_share)
    assert np.mean(estimated) == pytest.approx(np.mean(true), abs=0.1)
    assert np.mean(true) > 0.2


def test_missing_saddles_show_in_the_euler_characteristic():
    found = condensed_directions(*orthogonal_counterexample(7), 4)
    euler = found.completeness.euler
    assert euler is not None
    assert len(found.kinds) // 2 < most_lines(7, 4)
    assert euler[0] != euler[1]
    assert "saddles are missing" in str(found)


def test_a_direction_without_bias_is_found_like_any_other():
    """û = u_1/u_2 = ∞."""
    inputs = torch.tensor([[1.0, 0.0], [0.2, 0.5], [0.2, -0.5]], dtype=torch.float64)
    found = condensed_directions(inputs, torch.tensor([-1.0, -0.1, -0.1], dtype=torch.float64), 3)
    assert torch.cdist(torch.tensor([[1.0, 0.0]], dtype=torch.float64), found.attractors(1)).amin() < 1e-12


def circle(count):
    angles = torch.arange(count, dtype=torch.float64) * 2 * math.pi / count
    return torch.stack([angles.cos(), angles.sin()], 1)


@pytest.mark.parametrize(("count", "order"), [(3, 2), (5, 4), (7, 6), (8, 4), (5, 3), (8, 5)])
def test_data_on_a_regular_polygon_make_no_direction_special(count, order):
    found = condensed_directions(circle(count), torch.ones(count, dtype=torch.float64), order)
    assert found.constant
    assert not len(found.kinds)
    assert "every direction is critical" in str(found)


def test_a_polygon_whose_corners_the_order_can_tell():
    found = condensed_directions(circle(3), torch.ones(3, dtype=torch.float64), 3)
    assert same_directions(found.attractors(-1), circle(3))
    assert same_directions(found.attractors(1), -circle(3))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("d", [1, 2, 4])
def test_without_residuals_every_direction_is_critical(order, d):
    found = condensed_directions(gaussian(5, d), torch.zeros(5, dtype=torch.float64), order)
    assert found.constant
    assert found.attractors(1).shape == (0, d)
    assert found.attracting_lines() == 0


def test_symmetric_data_in_three_dimensions_make_no_direction_special():
    corners = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    assert condensed_directions(corners, torch.ones(6, dtype=torch.float64), 2).constant
    icosahedron = torch.tensor([[0, a, b * (1 + 5**0.5) / 2] for a in (1, -1) for b in (1, -1)], dtype=torch.float64)
    points = torch.cat([icosahedron.roll(k, 1) for k in range(3)])
    assert condensed_directions(points, torch.ones(12, dtype=torch.float64), 4).constant
    assert not condensed_directions(points, torch.ones(12, dtype=torch.float64), 6).constant


def test_equal_eigenvalues_form_a_subspace_that_attracts_as_a_whole():
    turn = rotation(5)
    inputs, residuals = turn, -torch.tensor([3.0, 3.0, 1.0, -2.0, -2.0], dtype=torch.float64)
    found = condensed_directions(inputs, residuals, 2)
    top = found.directions[found.attracts(1)]
    assert len(top) == len(found.directions[found.attracts(-1)]) == 4
    assert torch.allclose(top[::2].T @ top[::2], turn[:2].T @ turn[:2], atol=1e-12)
    assert found.flat.tolist() == [1] * 8 + [0] * 2
    numbers = found.subspaces.tolist()
    assert len(set(numbers[:4])) == len(set(numbers[4:8])) == 1
    assert numbers[8:] == [-1, -1]
    assert found.basins[found.attracts(1)].sum() == pytest.approx(1)
    assert found.turning_exponents[found.subspaces >= 0].isnan().all()


def test_a_double_root_attracts_from_one_side_only():
    """φ = u_1³: at the directions that the one input does not see φ rises on one side and falls on the other."""
    inputs = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    found = condensed_directions(inputs, torch.tensor([-1.0], dtype=torch.float64), 3)
    assert found.kinds == ("positive", "negative", "degenerate", "degenerate")
    assert torch.allclose(found.directions[0], inputs[0])
    assert found.basins.tolist() == pytest.approx([0.5, 0.5, 0.25, 0.25])


def test_near_double_roots_are_roots_or_not():
    """`φ = cos θ/2 + (1 + 2s)/6 · cos 3θ`, so `φ' = −sin θ ((2 + 4s) cos²θ − s)` has a double root at 90° for s = 0."""
    counts = []
    for shift in (-1e-2, 0.0, 1e-2):
        angles = torch.tensor([0.3, 1.2, 2.0, 2.9], dtype=torch.float64)
        wanted = torch.tensor([0.5, 0.0, (1 + 2 * shift) / 6, 0.0], dtype=torch.float64)
        basis = torch.stack(
            [0.75 * angles.cos(), 0.75 * angles.sin(), 0.25 * (3 * angles).cos(), 0.25 * (3 * angles).sin()]
        )
        weights = torch.linalg.solve(basis, wanted)  # φ as a sum of cubes of linear forms
        inputs = torch.stack([angles.cos(), angles.sin()], 1)
        found = condensed_directions(inputs, -4 * weights, 3)
        counts.append((len(found.kinds) // 2, found.kinds.count("degenerate")))
    assert counts == [(1, 0), (2, 2), (3, 0)]


@pytest.mark.parametrize("order", [3, 4])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_directions_that_no_input_sees_form_a_critical_subspace(order, rank):
    inputs = gaussian(10, rank, seed=3) @ rotation(5, seed=rank)[:rank]
    residuals = -gaussian(10, seed=4).abs() if order == 4 else gaussian(10, seed=5)
    found = condensed_directions(inputs, residuals, order)
    unseen = found.subspaces >= 0
    assert int(unseen.sum()) == 2 * (5 - rank)
    assert (found.directions[unseen] @ inputs.T).abs().amax() < 1e-12
    assert {k for k, hidden in zip(found.kinds, unseen.tolist(), strict=True) if hidden} == {
        "negative" if order == 4 else "degenerate"
    }
    assert found.flat[unseen].tolist() == [4] * int(unseen.sum())
    field = leading_direction_field(found.directions, inputs, residuals, order)
    assert tangent(found.directions, field).norm(dim=1).amax() < 1e-9 * (1 + field.norm(dim=1).amax())
    inside = condensed_directions(inputs @ rotation(5, seed=rank)[:rank].T, residuals, order)
    growing = inside.attractors(1, growing=True) @ rotation(5, seed=rank)[:rank]
    assert same_directions(found.attractors(1, growing=True), growing)
    shares = found.basins[found.attracts(1)].sum()
    assert shares == pytest.approx(0.5 if (order, rank) == (3, 1) else 1, abs=0.02 + 0.5 * (order == 3))
    if order == 4:
        assert found.basins[unseen].sum() == pytest.approx(1)
    for row, ends in zip(found.directions[~unseen], found.curvatures[~unseen], strict=True):
        curves = sphere_curvatures(row, lambda p: leading_potential(p, inputs, residuals, order))
        assert torch.allclose(ends, curves[[0, -1]], atol=1e-4 * (1 + curves.abs().amax()))


def test_a_form_that_is_constant_on_the_span_attracts_to_all_of_it():
    inputs = torch.cat([circle(5), torch.zeros(5, 1, dtype=torch.float64)], 1)
    found = condensed_directions(inputs, -torch.ones(5, dtype=torch.float64), 4)
    assert found.kinds == ("positive",) * 4 + ("negative",) * 2
    assert found.subspaces.tolist() == [0, 0, 0, 0, 1, 1]


def test_a_circle_of_maxima_is_reported_as_degenerate_samples():
    inputs = torch.cat([circle(9), torch.zeros(9, 1, dtype=torch.float64)], 1)
    inputs = torch.cat([inputs, torch.tensor([[0.0, 0.0, 0.9]], dtype=torch.float64)])
    found = condensed_directions(inputs, -torch.ones(10, dtype=torch.float64), 4, starts=60)
    assert found.completeness.unfinished > 0
    assert "degenerate" in found.kinds
    assert torch.cdist(torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64), found.attractors(1)).amin() < 1e-9


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_in_one_dimension_neurons_cannot_turn(order):
    found = condensed_directions(gaussian(6, 1), gaussian(6, seed=1), order)
    assert found.kinds == ("both", "both")
    assert sorted(found.directions.ravel().tolist()) == [-1, 1]
    growing = found.attractors(1, growing=True)
    assert len(growing) == (1 if order % 2 else 2 * int(found.potentials[0] > 0))


@pytest.mark.parametrize(("scale", "order"), [(1e-60, 3), (1e60, 3), (1e-100, 2), (1e90, 3)])
def test_any_scale_of_inputs(scale, order):
    inputs, residuals = samples(10, 3)
    assert same_found(
        condensed_directions(scale * inputs, residuals, order), condensed_directions(inputs, residuals, order)
    )


def test_more_inputs_than_samples_and_many_inputs():
    inputs, residuals = gaussian(6, 40), gaussian(6, seed=1)
    found = condensed_directions(inputs, residuals, 3, starts=100)
    assert int((found.subspaces >= 0).sum()) == 2 * 34
    field = leading_direction_field(found.directions, inputs, residuals, 3)
    assert tangent(found.directions, field).norm(dim=1).amax() < 1e-9 * field.norm(dim=1).amax()
    assert len(condensed_directions(gaussian(90, 60), gaussian(90, seed=1), 3, starts=40).attractors(1)) >= 1


def test_results_do_not_depend_on_the_random_state_and_leave_it_alone():
    inputs, residuals = samples(12, 4)
    state = torch.get_rng_state()
    one = condensed_directions(inputs, residuals, 3)
    torch.rand(3)
    torch.set_rng_state(state)
    other = condensed_directions(inputs.float().double(), residuals, 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.kinds == other.kinds


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.ones(3), torch.ones(3), 1), {}, "`inputs` is a floating-point tensor"),
        ((torch.ones(3, 2), torch.ones(4), 1), {}, "`residuals` has one entry for each of the 3 inputs"),
        ((torch.ones(3, 2), torch.full((3,), math.nan), 1), {}, "`residuals` is finite"),
        ((torch.full((3, 2), math.inf), torch.ones(3), 1), {}, "`inputs` is finite"),
        ((torch.ones(3, 2), torch.ones(3), 0), {}, "`multiplicity` is at least 1"),
        ((torch.ones(3, 2), torch.ones(3), 2), {"coefficient": 0.0}, "`coefficient` is"),
        ((torch.ones(3, 2), torch.ones(3), 3), {"starts": 0}, "`starts` is at least 1"),
        ((torch.full((3, 2), 1e200, dtype=torch.float64), torch.ones(3), 2), {}, "within the range of float64"),
    ],
)
def test_bad_arguments_are_refused(arguments, options, message):
    module = unchecked("condensed_directions")
    module.leading_form = unchecked("leading_form").leading_form
    with pytest.raises(InvalidInput, match=message):
        module.condensed_directions(*arguments, **options)


def test_an_activation_without_multiplicity_is_refused_by_name():
    with pytest.raises(InvalidInput, match="0 from the left and 1 from the right"):
        condensed_directions(*samples(3, 2), multiplicity(torch.relu))


def test_it_reads_well():
    text = str(condensed_directions(*orthogonal_counterexample(7), 3))
    assert text.startswith("multiplicity 3: 8 attracting lines\n  positive   φ = +18.52  [")
    assert text.count("\n") == 14
    assert ", …]" in text
