"""Networks that were made wide by splitting merge back to what they were, with an error of rounding."""

import pytest
import torch
from reduction.merging_cases import CASES, made, two_layers, widths
from torch import nn

import cloudchamber as cc

GENERATOR = torch.Generator().manual_seed(0)


def gaussian(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


@pytest.mark.parametrize("name", CASES)
def test_what_was_split_merges_back_to_its_width(name):
    model, x, copies = made(name)
    narrowest, _ = cc.merge_neurons(model, x, tolerance=0)  # a few neurons may be dead on the examples
    wide = cc.split_neurons(model, x, copies, tie="shares")
    assert torch.allclose(wide(x), model(x), atol=1e-12)
    small, summary = cc.merge_neurons(wide, x, tolerance=0)
    assert widths(small) == widths(narrowest)
    assert summary.error.relative < 1e-13
    assert torch.allclose(small(x), model(x), atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "gelu", "residual", "feed-forward"])
def test_also_in_float32_and_with_outgoing_weights_that_differ(name):
    model, x, copies = made(name, dtype=torch.float32)
    narrowest, _ = cc.merge_neurons(model, x, tolerance=0)
    wide = cc.split_neurons(model, x, copies, tie="outputs")
    small, summary = cc.merge_neurons(wide, x, tolerance=0)
    assert widths(small) == widths(narrowest)
    assert summary.error.relative < 3e-6


def along(lengths, directions=3):
    rows = torch.linalg.qr(gaussian(5, 5))[0][:directions].repeat_interleave(len(lengths) // directions, 0)
    return rows * torch.tensor(lengths, dtype=torch.float64)[:, None]


LENGTHS = [1.0, 0.3, 2.0, 1.5, 1.0, 0.7, 3.0, 1.0, 0.1]
SIGNS = [1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0]


@pytest.mark.parametrize(
    ("activation", "lengths"),
    [
        (nn.ReLU(), LENGTHS),
        (nn.LeakyReLU(0.2), LENGTHS),
        (nn.Tanh(), SIGNS),
        (nn.Softsign(), SIGNS),
        (nn.Identity(), [a * b for a, b in zip(LENGTHS, SIGNS, strict=True)]),
    ],
)
def test_neurons_along_one_direction_are_one_as_far_as_the_activation_allows(activation, lengths):
    bias = torch.tensor(lengths, dtype=torch.float64) * torch.tensor([0.3, -0.2, 0.1]).repeat_interleave(3)
    model = two_layers(along(lengths), gaussian(2, 9), activation, bias)
    small, summary = cc.merge_neurons(model, gaussian(100, 5), tolerance=0)
    assert small[0].out_features == 3
    assert summary.plan.layers[0].copies == 6
    assert summary.error.relative < 1e-13
    x = 10 * gaussian(100, 5)  # far from the examples too
    assert torch.allclose(small(x), model(x), atol=1e-10)


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU(), nn.Sigmoid()])
def test_other_lengths_do_not_merge_for_these(activation):
    model = two_layers(along(LENGTHS), gaussian(2, 9), activation)
    small, summary = cc.merge_neurons(model, gaussian(100, 5), tolerance=0)
    assert small[0].out_features == 9
    assert not summary.condensed
    assert "not condensed" in str(summary)
    assert "not condensed" in str(summary.plan)


def test_small_arguments_make_tanh_linear_and_the_bound_says_how_far():
    w = 0.02 * along(LENGTHS)
    model = two_layers(w, gaussian(2, 9), nn.Tanh())
    small, summary = cc.merge_neurons(model, gaussian(100, 5), tolerance=1e-2)
    layer = summary.plan.layers[0]
    assert small[0].out_features == 3
    assert layer.copies == 0  # not for every input
    assert summary.error.relative < 1e-2


def test_any_activation_merges_by_what_it_computes():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.sin(3 * x) + torch.cos(x) * x.abs()

    rows = gaussian(3, 5).repeat(3, 1)
    model = two_layers(rows, gaussian(2, 9), Odd(), gaussian(3).repeat(3))
    small, summary = cc.merge_neurons(model, gaussian(100, 5), tolerance=0)
    assert small[0].out_features == 3
    assert summary.error.relative < 1e-13


def test_dead_and_constant_neurons_go_into_the_next_bias():
    w, bias = gaussian(6, 5), torch.zeros(6, dtype=torch.float64)
    w[1], bias[1] = 0.0, 2.0  # constant
    w[3], bias[3] = 0.0, -1.0  # dead
    bias[4] = -100.0  # dead on every example
    model = two_layers(w, gaussian(2, 6), nn.ReLU(), bias)
    small, summary = cc.merge_neurons(model, gaussian(100, 5), tolerance=0)
    assert small[0].out_features == 3
    assert summary.plan.layers[0].constant == 3
    assert summary.error.relative < 1e-13


def test_a_constant_makes_a_bias_where_there_is_none():
    model = nn.Sequential(nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 2, bias=False)).double()
    with torch.no_grad():
        model[0].weight[2] = 0.0
    small, summary = cc.merge_neurons(model, gaussian(100, 5), tolerance=0)
    assert small[0].out_features == 3
    assert small[2].bias is not None
    assert summary.error.relative < 1e-13


def test_a_constant_stays_where_zeros_are_put_around_it():
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Sigmoid(), nn.Conv2d(4, 2, 3, padding=1)).double()
    with torch.no_grad():
        model[0].weight[2] = 0.0
    small, _ = cc.merge_neurons(model, gaussian(50, 1, 5, 5), tolerance=0)
    assert small[0].out_channels == 4


def test_groups_do_not_chain():
    angle = torch.linspace(0, torch.pi / 2, 40, dtype=torch.float64)  # each next to the last, the ends orthogonal
    model = two_layers(torch.stack([angle.cos(), angle.sin()], 1), gaussian(1, 40), nn.ReLU())
    plan = cc.plan_merge(model, gaussian(400, 2), tolerance=10.0)
    assert 1 < plan.layers[0].after < 40
    assert plan.layers[0].distance <= 0.4360
