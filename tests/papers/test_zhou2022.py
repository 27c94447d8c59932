"""What the exhibits of zhou2022 compute: initializations, fits, stable directions of a field, flows, snapshots."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cloudchamber.models.activations import XTanh
from cloudchamber.papers.zhou2022 import fields, nets
from cloudchamber.papers.zhou2022.fig5 import _POINTS, left_by_fits
from cloudchamber.papers.zhou2022.predictions import Layer, line_angles
from cloudchamber.papers.zhou2022.resnets import COMMON, CONDENSED, head_deviation
from cloudchamber.theory import condensed_directions


def test_initializations_are_those_of_table_1():
    variances = {name: head_deviation(name, 1024, 10) ** 2 for name in (*COMMON, *CONDENSED)}
    mean = (1024 + 10) / 2
    assert variances == pytest.approx(
        dict.fromkeys(COMMON, 1 / mean) | dict(zip(CONDENSED, (10.0**-4, 10.0**-3, mean**-2), strict=True))
    )


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_polynomial_is_explained_from_its_degree_on(degree):
    left = left_by_fits(np.polynomial.Polynomial([0.3, -1.0, 0.5, 2.0][: degree + 1])(_POINTS))
    assert left[0] == pytest.approx(1)
    assert (left[degree:] < 1e-9).all()
    assert left[degree - 1] > 1e-3


def quadratic_layer():
    """x·tanh on two samples along the axes, one to be raised and one to be lowered: attractors are the axes."""
    inputs, residuals = torch.eye(2, dtype=torch.float64), torch.tensor([-2.0, 1.0], dtype=torch.float64)
    weights = 1e-3 * torch.randn(10, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = condensed_directions(inputs, residuals, 2)
    return Layer(inputs, residuals, weights, torch.ones(10, dtype=torch.float64), XTanh(), found)


def test_the_field_holds_neurons_where_theory_says():
    layer = quadratic_layer()
    up, down = (sorted(fields.stable_angles(layer, sign).abs().round().tolist()) for sign in (1, -1))
    assert (up, down) == ([0.0, 180.0], [90.0, 90.0])
    assert fields.stable_lines(layer) == 2
    assert fields.distance_to_field(layer) < 0.2


def test_angles_to_lines_do_not_know_signs_and_lengths():
    weights = torch.tensor([[3.0, 0.0], [-0.1, 0.0], [0.0, 2.0], [1.0, 1.0]])
    torch.testing.assert_close(
        line_angles(weights, torch.tensor([[-5.0, 0.0]])), torch.tensor([0.0, 0.0, 90.0, 45.0]), atol=0.05, rtol=0
    )


def test_networks_are_kept_as_they_were_and_a_seed_does_not_depend_on_the_others():
    settings = {"data": {"name": "wave", "samples": 12}, "activations": ["xtanh"], "width": 6, "std": 0.1, "lr": 0.01}
    all_three = nets.trained_nets(Path(), **settings, epochs=[0, 5, 9], seeds=3)
    last = nets.trained_nets(Path(), **settings, epochs=[9], seeds=1, first_seed=2)
    model = nets.network(all_three, 2, 9)
    x, y = (torch.from_numpy(all_three[name].values[2]).double() for name in ("x", "y"))
    loss = nn.functional.mse_loss(model(x), y).item()
    assert loss == pytest.approx(float(all_three.loss_at.values[2, 2]), rel=1e-5)
    np.testing.assert_allclose(nets.input_weights(all_three, 1, 9)[2], nets.input_weights(last, 1, 9)[0], rtol=1e-4)


@pytest.mark.parametrize("name", ["tanh", "x2tanh"])
def test_a_flow_ends_at_its_loss_and_starts_where_the_network_is(name):
    _, models, pairs = nets.started({"name": "wave", "samples": 12}, [name], 5, 0.3, [4])
    ends = nets.two_layer_flow(models[0], pairs[0], name, 0.9)
    torch.testing.assert_close(
        ends["linear1.weight"][0], dict(models[0].named_parameters())["linear1.weight"].detach().double()
    )
    model = models[0].double()
    losses = []
    for place in (0, 1):
        state = {key: value[place] for key, value in ends.items()}
        with torch.no_grad():
            out = torch.func.functional_call(model, state, (pairs[0][0].double(),))
        losses.append(nn.functional.mse_loss(out, pairs[0][1].double()).item())
    assert losses[1] <= 0.9 * losses[0] * (1 + 1e-6)
