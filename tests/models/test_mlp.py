"""The multi-layer perceptron beside a slow twin, and its activations beside their formulas."""

import math
from typing import get_args

import pytest
import torch
from torch import nn

from cloudchamber.models import MLP, ActivationName, MLPConfig, activation, build_model

FORMULAS = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "xtanh": lambda x: x * math.tanh(x),
    "x2tanh": lambda x: x**2 * math.tanh(x),
    "identity": lambda x: x,
}
NAMES = get_args(ActivationName)


def forward_by_hand(model, sample, depth, name):
    """Eq. 1 of mlp2024, one number at a time."""
    feature = sample
    for number in range(1, depth + 1):
        layer = getattr(model, f"linear{number}")
        bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
        rows = zip(layer.weight.tolist(), bias, strict=True)
        feature = [sum(w * f for w, f in zip(row, feature, strict=True)) + b for row, b in rows]
        if number < depth:
            feature = [FORMULAS[name](value) for value in feature]
    return feature


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("depth", "bias"), [(1, True), (2, False), (4, True)])
def test_the_forward_pass_is_that_of_the_equation(name, depth, bias):
    torch.manual_seed(0)
    model = MLP(6, 3, depth=depth, width=5, act=name, bias=bias).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    slow = torch.tensor([forward_by_hand(model, row.flatten().tolist(), depth, name) for row in x], dtype=x.dtype)
    torch.testing.assert_close(model(x), slow, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_is_its_formula(name):
    points = torch.linspace(-5, 5, 41, dtype=torch.float64)
    expected = torch.tensor([FORMULAS[name](x) for x in points.tolist()], dtype=torch.float64)
    torch.testing.assert_close(activation(name)(points), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "multiplicity"), [("tanh", 1), ("xtanh", 2), ("x2tanh", 3)])
def test_the_multiplicity_is_the_order_at_zero(name, multiplicity):
    small = torch.tensor(1e-3, dtype=torch.float64)
    assert float(activation(name)(small) / small**multiplicity) == pytest.approx(1, rel=1e-6)


def test_every_activation_of_a_recipe_has_a_formula_here():
    assert set(FORMULAS) == set(NAMES)


def test_layers_are_called_as_the_papers_count_them():
    model = MLP(4, 2, depth=3, width=7)
    assert [name for name, _ in model.named_children()] == [
        "linear1",
        "activation1",
        "linear2",
        "activation2",
        "linear3",
    ]
    assert [tuple(p.shape) for p in model.parameters()] == [(7, 4), (7,), (7, 7), (7,), (2, 7), (2,)]


def test_the_model_of_a_recipe():
    model = build_model(MLPConfig(depth=2, width=3, activation="tanh", bias=False), shape=(5,), outputs=4)
    assert [tuple(p.shape) for p in model.parameters()] == [(3, 5), (4, 3)]
    assert isinstance(model.activation1, nn.Tanh)
    assert MLPConfig() == MLPConfig(name="mlp", depth=9, width=512, activation="relu", bias=True)


@pytest.mark.parametrize("slope", [-1.5, 0.0, 0.01, 0.1, 1.0, 3.0])
def test_leaky_relu_has_any_slope(slope):
    model = build_model(
        MLPConfig(depth=2, width=3, activation="leaky_relu", negative_slope=slope), shape=(5,), outputs=4
    )
    points = torch.linspace(-5, 5, 41, dtype=torch.float64)
    expected = [x if x > 0 else slope * x for x in points.tolist()]
    assert model.activation1(points).tolist() == pytest.approx(expected)


def test_a_slope_is_refused_where_nothing_has_it():
    with pytest.raises(ValueError, match=r"negative_slope is that of leaky_relu; got 0.1 with relu"):
        MLPConfig(negative_slope=0.1)


def test_the_layers_run_in_their_order_with_what_is_put_between_them():
    model = MLP(4, 2, depth=2, width=3)
    before = model(torch.ones(5, 2, 2))
    model.add_module("last", nn.Softmax(dim=1))
    assert torch.equal(model(torch.ones(5, 2, 2)), before.softmax(1))
