"""What is said of networks whose training is known."""

import math

import pytest
import torch
from predict.predict_cases import chain, cross_entropy, digits, linears, said, sgd
from torch import nn

from cloudchamber.predict import predict_recipe
from cloudchamber.training import load_recipe

STUCK = ["initialization.variance_scale=0.3", "optimizer.lr=0.1", "steps=1000"]


def test_the_default_recipe_leaves():
    found = predict_recipe(load_recipe(None, []))
    assert found.leaves_plateau == "leaves"
    low, high = found.plateau_updates
    assert low < 460 < high  # where its loss left, with seed 0 (docs/diagnosis.md)
    assert found.findings[0].code == "will_leave"


def test_a_stuck_recipe_is_told_with_what_would_free_it():
    found = predict_recipe(load_recipe(None, STUCK))
    assert found.leaves_plateau == "stuck"
    finding = found.findings[0]
    assert finding.code == "will_stick"
    assert finding.severity == "problem"
    assert any("momentum" in text for text in finding.advice)
    factor = next(text for text in finding.advice if "variance scale" in text)
    assert "Start from weights" in factor


def test_the_weights_that_the_advice_names_are_enough():
    model = chain(7, scale=0.3)
    found = said(model, steps=200)
    assert found.leaves_plateau == "stuck"
    words = next(text for text in found.findings[0].advice if "Start from weights" in text)
    factor = float(words.split("weights ")[1].split(" times")[0])
    for layer in linears(model):
        nn.init.zeros_(layer.bias)
        layer.weight.data *= factor
    assert said(model, steps=200).score == pytest.approx(1.6, rel=0.15)


def train(model, lr, steps, probe, **more):
    optimizer = sgd(model, lr, **more)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(probe[0]), probe[1]).backward()
        optimizer.step()
    return float(cross_entropy(model(probe[0]), probe[1]).detach())


@pytest.mark.parametrize(("scale", "verdict"), [(0.15, "stuck"), (1.2, "leaves")])
def test_full_batch_training_does_what_was_told(scale, verdict):
    model, probe = chain(5, 32, scale=scale, seed=5), digits()
    assert said(model, probe, optimizer=sgd(model, 0.1), steps=250).leaves_plateau == verdict
    left = train(model, 0.1, 250, probe) < 0.85 * math.log(10)
    assert left == (verdict == "leaves")


def test_too_long_steps_are_unstable():
    model = chain(8, 32, scale=1.0)
    found = said(model, optimizer=sgd(model, 0.3, momentum=0.9))
    assert found.leaves_plateau == "unstable"
    assert any("learning rate" in text for text in found.findings[0].advice)
    assert said(model, optimizer=sgd(model, 0.02, momentum=0.9)).leaves_plateau == "leaves"


def test_an_optimizer_that_is_not_known_leaves_it_open_but_not_the_rest():
    model = chain(3)
    found = said(model, optimizer=torch.optim.Adagrad(model.parameters()))
    assert found.leaves_plateau == "cannot tell"
    assert math.isnan(found.score)
    assert "multiplicity" in found.findings.codes


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_adam_is_told_with_less_confidence(kind):
    model = chain(5, scale=0.3)
    found = said(model, optimizer=kind(model.parameters(), lr=1e-2), steps=500)
    assert (found.leaves_plateau, found.verdict.confidence) == ("leaves", "low")
    slow = said(model, optimizer=kind(model.parameters(), lr=1e-6), steps=100)
    assert slow.leaves_plateau == "stuck"


def test_an_l2_term_that_adam_divides_is_not_told():
    model = chain(5, scale=0.3)
    found = said(model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=0.1))
    assert found.leaves_plateau == "cannot tell"
    assert "AdamW" in found.verdict.because


def test_small_rectifiers_may_die_under_adam():
    model = chain(14, scale=0.05)
    found = said(model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-2), steps=2000)
    assert found.leaves_plateau == "cannot tell"
    assert "die" in found.verdict.because


def test_a_head_of_zeros_is_judged_by_its_own_gradient():
    model = chain(3, scale=1.0)
    nn.init.zeros_(linears(model)[-1].weight)
    assert said(model, optimizer=sgd(model, 0.5), steps=2000).leaves_plateau == "leaves"
    assert said(model, optimizer=sgd(model, 1e-4), steps=10).leaves_plateau == "cannot tell"


def test_weights_that_are_all_zero_stay():
    model = chain(3)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    found = said(model)
    assert (found.leaves_plateau, found.verdict.confidence) == ("stuck", "high")
    assert "dead_units" in found.findings.codes


def test_what_is_not_finite_is_said():
    model = chain(3)
    linears(model)[0].weight.data[0, 0] = math.nan
    found = said(model)
    assert found.leaves_plateau == "unstable"
    assert "finite" in found.verdict.because


def test_a_network_that_has_left_already():
    model, probe = chain(3, 32, scale=1.0), digits()
    assert train(model, 0.2, 300, probe) < 1.0
    found = said(model, probe)
    assert found.leaves_plateau == "leaves"
    assert "below the plateau" in found.verdict.because


def test_frozen_layers_do_not_grow():
    model = chain(4, scale=1.0)
    for parameter in linears(model)[0].parameters():
        parameter.requires_grad_(False)
    head_only = said(model, optimizer=torch.optim.SGD(linears(model)[-1].parameters(), lr=0.05))
    assert [layer.growth_per_step == 0 for layer in head_only.layers] == [True, True, True, False]
    rest = said(model)
    assert rest.layers[0].growth_per_step == 0 < rest.layers[1].growth_per_step
    assert rest.score > head_only.score


def test_regression_and_other_losses():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    y = (x[:, :1] * x[:, 1:2]).clone()
    model = chain(3, 16, nn.Tanh, inputs=5, outputs=1, scale=1.0)
    for loss in (nn.functional.mse_loss, nn.functional.l1_loss, nn.HuberLoss()):
        assert said(model, (x, y), loss=loss, steps=5000).leaves_plateau in ("leaves", "cannot tell")
    constant = said(model, (x, torch.ones(60, 1)), loss=nn.functional.mse_loss)
    assert constant.leaves_plateau in ("cannot tell", "leaves")


def test_regime_and_phase_of_two_and_three_layers():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    y = x[:, :1].sin()
    tiny = chain(2, 200, inputs=3, outputs=1, scale=1e-4)
    condensed = said(tiny, (x, y), loss=nn.functional.mse_loss, steps=100_000, optimizer=sgd(tiny, 0.1))
    assert condensed.regime.name == "condensed"
    assert condensed.phase.name == "learning"
    ntk = nn.Sequential(nn.Linear(3, 2000, bias=False), nn.ReLU(), nn.Linear(2000, 1, bias=False))
    nn.init.normal_(ntk[0].weight), nn.init.normal_(ntk[2].weight, 0, 2000**-0.5)
    linear = said(ntk, (x, y), loss=nn.functional.mse_loss, steps=100, optimizer=sgd(ntk, 1e-3))
    assert linear.regime.name == "linear"
    assert linear.phase.name == "kernel"
    assert len(said(chain(3, scale=1.0)).regime.layers) == 3
    assert isinstance(said(chain(4)).regime, str)


def test_condensed_directions_are_those_of_theory():
    from cloudchamber.theory import condensed_directions, multiplicity

    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).double()
    y = (x[:, :1] * 2).tanh()
    model = nn.Sequential(nn.Linear(4, 20), nn.Tanh(), nn.Linear(20, 1, bias=False)).double()
    for parameter in model.parameters():
        parameter.data *= 1e-4
    found = said(model, (x, y), loss=nn.functional.mse_loss, optimizer=sgd(model, 0.1), steps=2000).layers[0]
    inputs = torch.cat([x, torch.ones(30, 1)], 1)
    expected = condensed_directions(inputs, (model(x) - y)[:, 0].detach(), multiplicity(torch.tanh))
    ours = (found.condensed_basis @ found.condensed.directions.T).T
    assert found.one_field == pytest.approx(1.0)
    assert float((ours[0] @ expected.directions[0]).abs()) == pytest.approx(1.0, abs=1e-5)


def test_trained_neurons_turn_to_the_direction_that_was_told():
    """Gradient descent from tiny weights, at the end of the initial stage (the loss at 70 %, zhou2022)."""
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(1)).double()
    y = (x[:, :1] - x[:, 1:2]).tanh()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 30), nn.Tanh(), nn.Linear(30, 1, bias=False)).double()
    for parameter in model.parameters():
        parameter.data *= 1e-3
    optimizer = sgd(model, 0.2)
    told = said(model, (x, y), loss=nn.functional.mse_loss, optimizer=optimizer, steps=200).layers[0]
    line = told.condensed_basis @ told.condensed.directions[0]
    first = loss = nn.functional.mse_loss(model(x), y)
    while loss > 0.7 * first:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss = nn.functional.mse_loss(model(x), y)
    neurons = torch.cat([model[0].weight, model[0].bias[:, None]], 1).detach()
    cosines = (nn.functional.normalize(neurons) @ line).abs()
    assert float((cosines > 0.98).double().mean()) > 0.9
