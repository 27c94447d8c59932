"""Splitting keeps the function, and breaks the tie in the way it says."""

import pytest
import torch
from reduction.merging_cases import CASES, made
from torch import nn
from unchecked import refused

import cloudchamber as cc


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tie", ["equal", "shares", "outputs"])
def test_the_function_stays(name, tie):
    model, x, copies = made(name)
    wide = cc.split_neurons(model, x, copies, tie=tie)
    assert sum(p.numel() for p in wide.parameters()) > sum(p.numel() for p in model.parameters())
    assert torch.allclose(wide(x), model(x), atol=1e-12)


def gradient_of_first_layer(model, x, y):
    loss = nn.functional.mse_loss(model(x), y)
    return torch.autograd.grad(loss, model[0].weight)[0]


def trained(model, x, y, steps=20):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    return model


def test_copies_share_the_gradient_and_a_critical_point_stays_one():
    model, x, _ = made("tanh")
    y = model(x).detach()  # the loss is zero: a critical point
    wide = cc.split_neurons(model, x, {"0": 2}, tie="shares")
    assert gradient_of_first_layer(wide, x, y).abs().max() < 1e-12
    y = y + 1
    narrow = gradient_of_first_layer(model, x, y)
    both = gradient_of_first_layer(wide, x, y)
    assert torch.allclose(both[0::2] + both[1::2], narrow, atol=1e-12)  # β_j of it each


@pytest.mark.parametrize(("tie", "parts"), [("equal", False), ("shares", True), ("outputs", True), ("inputs", True)])
def test_copies_part_in_training_unless_they_are_equal(tie, parts):
    model, x, _ = made("tanh")
    wide = trained(cc.split_neurons(model, x, {"0": 2}, tie=tie), x, torch.randn(80, 3, dtype=torch.float64))
    apart = (wide[0].weight[0::2] - wide[0].weight[1::2]).norm(dim=1)
    assert bool((apart > 1e-6).all()) == parts
    assert parts or float(apart.detach().max()) < 1e-12


def test_inputs_that_part_change_the_function_to_second_order():
    model, x, _ = made("gelu")
    change = [
        (cc.split_neurons(model, x, {"0": 2}, tie="inputs", noise=noise)(x) - model(x)).norm().item()
        for noise in (1e-2, 1e-3)
    ]
    assert change[0] / change[1] == pytest.approx(100, rel=0.1)


def test_bad_input_is_said():
    model, x, _ = made("relu")
    with pytest.raises(cc.InvalidInput, match="layers that can be split: 0, 2"):
        cc.split_neurons(model, x, {"nine": 2})
    with pytest.raises(cc.InvalidInput, match="output"):
        cc.split_neurons(model, x, {"4": 2})
    with pytest.raises(cc.InvalidInput, match="1 copy or more"):
        cc.split_neurons(model, x, {"0": 0})
    with pytest.raises(cc.InvalidInput, match="1 copy or more"):
        cc.split_neurons(model, x, {"0": [2, 2]})
    with refused("tie"):
        cc.split_neurons(model, x, {"0": 2}, tie="none")  # pyright: ignore
