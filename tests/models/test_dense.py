"""Dense networks beside the equation written out, and in ensembles on either path."""

import math

import pytest
import torch
from torch import nn

import cloudchamber as cc
from cloudchamber._core.errors import InvalidInput
from cloudchamber.models import DenseConfig, DenseNet
from cloudchamber.training import Adam
from cloudchamber.training.ensemble.dense.chain import DenseChain, dense_chain

NAMES = ("x2tanh", "xtanh", "sigmoid", "tanh")
FORMULAS = {
    "x2tanh": lambda z: z * z * math.tanh(z),
    "xtanh": lambda z: z * math.tanh(z),
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
}


def network(residual=False, seed=0, widths=(6, 6, 6, 6), bias=True):
    torch.manual_seed(seed)
    return DenseNet(3, 2, widths=widths, activations=NAMES, residual=residual, bias=bias).double()


def by_hand(model, sample):
    """The equation, one number at a time."""
    h = sample
    for number in range(1, 6):
        layer = getattr(model, f"linear{number}")
        bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
        z = [
            sum(w * v for w, v in zip(row, h, strict=True)) + b
            for row, b in zip(layer.weight.tolist(), bias, strict=True)
        ]
        if number == 5:
            return z
        value = [FORMULAS[NAMES[number - 1]](v) for v in z]
        h = [v + before for v, before in zip(value, h, strict=True)] if model.residual and number > 1 else value
    return None


@pytest.mark.parametrize(
    ("residual", "widths", "bias"), [(False, (4, 6, 5, 3), True), (True, (6,) * 4, True), (True, (6,) * 4, False)]
)
def test_the_forward_pass_is_that_of_the_equation(residual, widths, bias):
    model = network(residual, widths=widths, bias=bias)
    x = torch.randn(4, 3, dtype=torch.float64)
    expected = torch.tensor([by_hand(model, row) for row in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-12)


def test_without_residual_connections_it_is_a_chain_and_with_them_none():
    assert isinstance(dense_chain(network()), DenseChain)
    assert "residual connections" in str(dense_chain(network(residual=True)))


@pytest.mark.parametrize("residual", [False, True])
def test_a_member_of_an_ensemble_is_the_network_trained_alone(residual):
    models = [network(residual, seed) for seed in range(3)]
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64)
    trained = cc.train_ensemble(models, (x, y), loss="mse", optimizer=Adam(lr=1e-3), steps=25)
    alone = network(residual, 1)
    optimizer = torch.optim.Adam(alone.parameters(), lr=1e-3)
    for _ in range(25):
        optimizer.zero_grad()
        nn.functional.mse_loss(alone(x), y).backward()
        optimizer.step()
    for name, value in alone.named_parameters():
        torch.testing.assert_close(trained.parameters[name][1], value.detach(), rtol=0, atol=1e-9)


def test_misfits_are_refused():
    with pytest.raises(InvalidInput, match=r"an activation for each hidden layer; got 1 for 2"):
        DenseNet(3, 1, widths=(4, 4), activations=("tanh",))
    with pytest.raises(InvalidInput, match=r"hidden layers have one width; got \[4, 5\]"):
        DenseNet(3, 1, widths=(4, 5), activations=("tanh", "tanh"), residual=True)
    with pytest.raises(ValueError, match=r"hidden layers have one width; got \[4, 5\]"):
        DenseConfig(widths=(4, 5), activations=("tanh", "tanh"), residual=True)
