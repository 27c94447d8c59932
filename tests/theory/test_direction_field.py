"""The direction field and its leading order: sample by sample, against autograd of whole networks, and as ε → 0."""

import math
import sys
from unittest.mock import patch

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from scipy.integrate import solve_ivp
from theory.field_cases import ACTIVATIONS, gaussian, laws, samples, seeds, slow_gradient, unchecked
from torch import nn
from torch.nn import functional as fn

from cloudchamber._core.errors import InvalidInput, Unsupported
from cloudchamber.theory import (
    conserved_quantity,
    direction_field,
    effective_residuals,
    layer_velocity,
    leading_direction_field,
    leading_order_velocity,
    leading_potential,
    multiplicity,
    potential,
    split_velocity,
)

SLOPES = {
    "tanh": (torch.tanh, lambda z: 1 - math.tanh(z) ** 2),
    "sigmoid": (torch.sigmoid, lambda z: math.exp(-z) / (1 + math.exp(-z)) ** 2),
    "square": (torch.square, lambda z: 2 * z),
    "relu": (fn.relu, lambda z: float(z > 0)),
    "prelu": (nn.PReLU(), lambda z: 1.0 if z > 0 else 0.25),
}


def slow_field(points, inputs, residuals, slope):
    field = torch.zeros_like(points)
    for j, point in enumerate(points):
        for x, e in zip(inputs, residuals, strict=True):
            field[j] -= e * x * slope(float(point @ x)) / len(inputs)
    return field


@laws
@given(st.sampled_from(list(SLOPES)), st.integers(1, 6), st.integers(1, 4), st.integers(0, 5), seeds)
def test_the_field_is_the_sum_over_samples(name, n, d, m, seed):
    activation, slope = SLOPES[name]
    inputs, residuals = samples(n, d, seed)
    points = gaussian(m, d, seed=seed + 2)
    with patch.dict(sys.modules["cloudchamber.theory.direction_field"].__dict__, _BLOCK=7):
        found = direction_field(points, inputs, residuals, activation)
    assert torch.allclose(found, slow_field(points, inputs, residuals, slope), rtol=0, atol=1e-12)


@laws
@given(st.sampled_from(list(SLOPES)), seeds)
def test_the_field_is_the_gradient_of_the_potential(name, seed):
    inputs, residuals = samples(9, 3, seed)
    points = gaussian(4, 3, seed=seed + 2)
    step = 1e-6 * torch.eye(3, dtype=torch.float64)
    difference = torch.stack(
        [
            (
                potential(points + s, inputs, residuals, SLOPES[name][0])
                - potential(points - s, inputs, residuals, SLOPES[name][0])
            )
            / 2e-6
            for s in step
        ],
        1,
    )
    assert torch.allclose(direction_field(points, inputs, residuals, SLOPES[name][0]), difference, atol=1e-7)


def two_layer_velocities(weights, outputs, inputs, targets, activation):
    """−∂/∂θ of `1/(2n) Σ e²`, by autograd, and e."""
    w, a = weights.clone().requires_grad_(), outputs.clone().requires_grad_()
    e = activation(inputs @ w.T) @ a - targets
    gradients = torch.autograd.grad((e**2).mean() / 2, (w, a))
    return -gradients[0], -gradients[1], e.detach()


@laws
@given(st.sampled_from([torch.tanh, torch.sigmoid, *ACTIVATIONS.values()]), seeds)
def test_neurons_move_by_their_output_weight_times_the_field(activation, seed):
    inputs, targets = samples(12, 3, seed)
    weights, outputs = gaussian(5, 3, seed=seed + 2), gaussian(5, seed=seed + 3)
    velocity, output_velocity, e = two_layer_velocities(weights, outputs, inputs, targets, activation)
    field = direction_field(weights, inputs, e, activation)
    assert torch.allclose(outputs[:, None] * field, velocity, atol=1e-12)
    assert torch.allclose(potential(weights, inputs, e, activation), output_velocity, atol=1e-12)


def test_every_layer_of_a_deep_network_moves_by_its_feature_gradients():
    inputs, targets = samples(11, 3)
    sizes = [(6, 3), (5, 7), (4, 6)]
    weights = [gaussian(*size, seed=i).requires_grad_() for i, size in enumerate(sizes)]
    activations = [torch.tanh, ACTIVATIONS[2], torch.sigmoid]
    seen, features = [inputs], []
    for w, activation in zip(weights, activations, strict=True):
        features.append(activation(seen[-1] @ w.T))
        seen.append(torch.cat([features[-1], torch.ones(11, 1, dtype=torch.float64)], 1))
    errors = seen[-1] @ gaussian(5, seed=9) - targets
    gradients = torch.autograd.grad((errors**2).sum() / 2, [*features, *weights])
    for k, activation in enumerate(activations):
        found = layer_velocity(weights[k], seen[k], gradients[k], activation)
        assert torch.allclose(found, -gradients[3 + k] / 11, atol=1e-12)


@laws
@given(st.integers(1, 5), st.integers(1, 8), st.integers(1, 4), seeds, st.floats(-3, 3).filter(lambda c: abs(c) > 0.01))
def test_the_leading_order_is_the_sum_over_samples_and_homogeneous(order, n, d, seed, coefficient):
    inputs, residuals = samples(n, d, seed)
    points = gaussian(6, d, seed=seed + 2)
    options = {"coefficient": coefficient}
    field = leading_direction_field(points, inputs, residuals, order, **options)
    expected = coefficient * slow_gradient(points, inputs, residuals, order)
    size = 1 + expected.abs().max()
    assert torch.allclose(field, expected, rtol=0, atol=1e-12 * size)
    values = leading_potential(points, inputs, residuals, order, **options)
    assert torch.allclose((field * points).sum(1), order * values, rtol=1e-9, atol=1e-11 * size)
    outputs = gaussian(6, seed=seed)
    velocity = leading_order_velocity(points, outputs, inputs, residuals, order, **options)
    assert torch.allclose(velocity, outputs[:, None] * field)


@pytest.mark.parametrize("activation", [*ACTIVATIONS.values(), torch.sigmoid, fn.softplus, fn.gelu, fn.tanhshrink])
def test_near_0_the_field_approaches_its_leading_order(activation):
    """The difference vanishes by one power of ε more, at least."""
    inputs, residuals = samples(20, 4)
    points = gaussian(8, 4, seed=2)
    found = multiplicity(activation)
    errors = []
    for size in (1e-2, 1e-3):
        field = direction_field(size * points, inputs, residuals, activation)
        leading = leading_direction_field(size * points, inputs, residuals, found)
        errors.append(float((field - leading).norm() / leading.norm()))
    assert errors[0] < 0.1
    assert errors[1] < errors[0] / 8


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_leading_flow_conserves_its_quantity_and_orientations_turn_as_the_split_says(order):
    inputs, residuals = samples(15, 3)
    weights, outputs = 0.3 * gaussian(7, 3, seed=2), 0.3 * gaussian(7, seed=3)

    def velocity(_, flat):
        w, a = torch.from_numpy(flat[:21].reshape(7, 3).copy()), torch.from_numpy(flat[21:].copy())
        moved = leading_order_velocity(w, a, inputs, residuals, order)
        return torch.cat([moved.ravel(), leading_potential(w, inputs, residuals, order)]).numpy()

    start = torch.cat([weights.ravel(), outputs]).numpy()
    flow = solve_ivp(velocity, (0, 0.5), start, rtol=1e-11, atol=1e-13)
    later = torch.from_numpy(np.ascontiguousarray(flow.y[:, -1]))
    before = conserved_quantity(weights, outputs, order)
    assert torch.allclose(conserved_quantity(later[:21].reshape(7, 3), later[21:], order), before, atol=1e-9)
    moving = leading_order_velocity(weights, outputs, inputs, residuals, order)
    split = split_velocity(weights, moving)
    ahead, back = weights + 1e-6 * moving, weights - 1e-6 * moving
    norms = [w.norm(dim=1, keepdim=True) for w in (ahead, back)]
    assert torch.allclose(split.radial, (norms[0] - norms[1])[:, 0] / 2e-6, atol=1e-8)
    assert torch.allclose(split.angular, (ahead / norms[0] - back / norms[1]) / 2e-6, atol=1e-7)
    assert torch.allclose((split.angular * weights).sum(1), torch.zeros(7, dtype=torch.float64), atol=1e-14)


def test_a_zero_neuron_has_no_orientation():
    split = split_velocity(torch.zeros(1, 2), torch.ones(1, 2))
    assert split.radial.isnan().all()
    assert split.angular.isnan().all()


def test_narrower_numbers_are_widened_and_gradients_left_alone():
    inputs, residuals = (part.float() for part in samples(5, 2))
    points = gaussian(3, 2).float().requires_grad_()
    field = direction_field(points, inputs, residuals, torch.tanh)
    assert field.dtype == torch.float64
    assert not field.requires_grad
    assert torch.equal(field, direction_field(points.double(), inputs.double(), residuals.double(), torch.tanh))


def test_unknown_neurons_stay_unknown():
    inputs, residuals = samples(5, 2)
    points = torch.tensor([[math.nan, 1.0], [1.0, 1.0]], dtype=torch.float64)
    field = direction_field(points, inputs, residuals, torch.tanh)
    assert field[0].isnan().all()
    assert field[1].isfinite().all()


@laws
@given(st.integers(1, 6), st.integers(1, 6), seeds)
def test_residuals_of_a_two_layer_network_come_back_from_its_feature_gradients(n, h, seed):
    e, a = gaussian(n, seed=seed), gaussian(h, seed=seed + 1)
    found = effective_residuals(torch.outer(e, a))
    assert torch.allclose(torch.outer(found.residuals, found.output_weights), torch.outer(e, a), atol=1e-12)
    assert found.share == pytest.approx(1)
    assert found.output_weights.square().mean() == pytest.approx(1)
    assert found.output_weights[found.output_weights.abs().argmax()] > 0


def test_below_linear_layers_all_neurons_share_one_field():
    """(E^[k+1:L] a)_j depends on the sample by the square of the weights above, for tanh."""
    shares = []
    for size in (1.0, 0.1):
        inputs, targets = samples(30, 3)
        features = torch.tanh(size * inputs @ gaussian(3, 6, seed=1)).requires_grad_()
        errors = torch.tanh(size * features @ gaussian(6, 5, seed=2)) @ gaussian(5, seed=3) - targets
        (gradients,) = torch.autograd.grad((errors**2).sum() / 2, features)
        shares.append(effective_residuals(gradients).share)
    assert shares[0] < 0.98
    assert shares[1] > 0.9999


def test_no_gradient_has_no_residuals():
    found = effective_residuals(torch.zeros(3, 2))
    assert math.isnan(found.share)
    assert not found.residuals.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": torch.ones(3)}, r"`inputs` is a floating-point tensor of shape \(n, d\)"),
        ({"inputs": torch.ones(3, 2, dtype=torch.int64)}, "`inputs` is a floating-point tensor"),
        ({"inputs": torch.ones(0, 2)}, "`inputs` is a floating-point tensor"),
        ({"inputs": torch.full((3, 2), math.nan)}, "`inputs` is finite; got 6 entries that are NaN or infinite"),
        ({"residuals": torch.ones(3, 1)}, r"`residuals` is a floating-point tensor of shape \(n\)"),
        ({"residuals": torch.ones(4)}, "`residuals` has one entry for each of the 3 inputs; got 4"),
        ({"residuals": torch.tensor([1.0, math.nan, 0.0])}, "`residuals` is finite; got 1 entries"),
        ({"residuals": torch.tensor([1.0, math.inf, 0.0])}, "`residuals` is finite"),
        ({"points": torch.ones(2, 3)}, r"`points` is a floating-point tensor of shape \(m, 2\)"),
        ({"points": torch.ones(2)}, "`points` is a floating-point tensor"),
    ],
)
def test_samples_that_do_not_fit_are_refused(change, message):
    module, leading = unchecked("direction_field"), unchecked("leading_field")
    with patch.multiple(leading, leading_form=unchecked("leading_form").leading_form):
        good = {"points": torch.ones(2, 2), "inputs": torch.ones(3, 2), "residuals": torch.ones(3)}
        for function, last in (
            (module.potential, torch.tanh),
            (module.direction_field, torch.tanh),
            (leading.leading_potential, 2),
            (leading.leading_direction_field, 2),
        ):
            with pytest.raises(InvalidInput, match=message):
                function(*(good | change).values(), last)


def test_what_else_does_not_fit_is_refused():
    inputs, residuals = samples(3, 2)
    relu, field, leading = multiplicity(fn.relu), unchecked("direction_field"), unchecked("leading_field")
    with pytest.raises(
        InvalidInput, match="the activation has a multiplicity; got no multiplicity: at 0 the derivative"
    ):
        leading_potential(inputs, inputs, residuals, relu)
    with pytest.raises(InvalidInput, match="there is a multiplicity"):
        conserved_quantity(inputs, residuals, relu)
    with pytest.raises(InvalidInput, match="`multiplicity` is at least 1"):
        leading_potential(inputs, inputs, residuals, 0)
    for bad in (0.0, math.nan, math.inf):
        with pytest.raises(InvalidInput, match="`coefficient` is"):
            leading_potential(inputs, inputs, residuals, 1, coefficient=bad)
    with pytest.raises(InvalidInput, match="has its coefficient"):
        leading_potential(inputs, inputs, residuals, multiplicity(torch.tanh), coefficient=2.0)
    with pytest.raises(InvalidInput, match=r"`feature_gradients` is of shape \(3, 4\)"):
        field.layer_velocity(gaussian(4, 2), inputs, gaussian(3, 5), torch.tanh)
    with pytest.raises(InvalidInput, match=r"`output_weights` is a floating-point tensor of shape \(3,\)"):
        leading.leading_order_velocity(inputs, gaussian(2), inputs, residuals, 1)
    with pytest.raises(InvalidInput, match="`velocities` has a row for each neuron"):
        leading.split_velocity(gaussian(3, 2), gaussian(2, 2))
    with pytest.raises(Unsupported, match="`activation` is differentiable by autograd"):
        direction_field(inputs, inputs, residuals, lambda x: x.detach() ** 2)
