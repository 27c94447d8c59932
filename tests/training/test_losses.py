"""Focal loss beside its formula, and what recipes say of losses, momentum and weight decay beside their equations."""

import math
import re

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import SINES, small
from torch import nn
from torch.nn import functional as fn

from cloudchamber._core.errors import InvalidInput, InvalidRecipe
from cloudchamber.training import load_recipe, parse_recipe, recipe_yaml, run
from cloudchamber.training.losses import FocalConfig, focal_loss
from cloudchamber.training.session import Session, loss_name_of

laws = settings(derandomize=True, max_examples=30, deadline=None, database=None)


def logits(seed, samples=7, classes=4, scale=3.0):
    random = torch.Generator().manual_seed(seed)
    outputs = scale * torch.randn(samples, classes, generator=random, dtype=torch.float64)
    return outputs, torch.randint(classes, (samples,), generator=random)


@laws
@given(st.integers(0, 1000), st.floats(0, 5))
def test_focal_loss_is_its_formula(seed, focusing):
    outputs, targets = logits(seed)
    total = 0.0
    for row, target in zip(outputs.tolist(), targets.tolist(), strict=True):
        p = math.exp(row[target]) / sum(map(math.exp, row))
        total -= (1 - p) ** focusing * math.log(p)
    assert float(focal_loss(outputs, targets, focusing)) == pytest.approx(total / 7, rel=1e-10)


@laws
@given(st.integers(0, 1000), st.floats(0, 3), st.floats(0.01, 3))
def test_more_focusing_weighs_every_sample_less(seed, focusing, more):
    outputs, targets = logits(seed)
    assert focal_loss(outputs, targets, focusing + more) < focal_loss(outputs, targets, focusing)
    torch.testing.assert_close(focal_loss(outputs, targets, 0.0), fn.cross_entropy(outputs, targets))


@pytest.mark.parametrize("focusing", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_gradient_is_that_of_differences_and_finite_where_all_is_right(focusing, dtype):
    outputs, targets = logits(3)
    assert torch.autograd.gradcheck(lambda z: focal_loss(z, targets, focusing), outputs.requires_grad_())
    sure = torch.tensor([[1000.0, 0.0]], dtype=dtype, requires_grad=True)
    loss = focal_loss(sure, torch.tensor([0]), focusing)
    loss.backward()
    assert loss == 0
    assert not sure.grad.any()


def test_a_negative_focusing_is_refused():
    with pytest.raises(InvalidInput, match="a focusing parameter is at least 0; got -1"):
        focal_loss(*logits(0), focusing=-1.0)


def test_a_recipe_trains_and_observes_with_focal_loss(tmp_path):
    recipe = small("loss.name=focal", "loss.focusing=1.5")
    session = Session.of(recipe)
    inputs, targets = session.batches.of_step(1)
    outputs = session.model(inputs)
    assert session.update(1) == focal_loss(outputs, targets, 1.5).item()
    record = run(recipe, tmp_path / "run").record
    # A constant output: p = 1/10 for each of ten balanced classes.
    assert float(record.constant_predictor_loss) == pytest.approx(0.9**1.5 * math.log(10), rel=1e-4)
    assert float(record.train_loss[-1]) < float(record.train_loss[1])


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("loss=mse", {"name": "mse"}),
        ("loss=focal", {"name": "focal", "focusing": 2.0}),
        ("loss.name=focal", {"name": "focal", "focusing": 2.0}),
        ("loss={name: focal, focusing: 0.5}", {"name": "focal", "focusing": 0.5}),
        ("norms=phase_norm", {"name": "phase_norm"}),
    ],
)
def test_a_section_may_be_said_by_its_name(said, meant):
    recipe, section = load_recipe(overrides=[said]), said.partition("=")[0].partition(".")[0]
    found = getattr(recipe, section).model_dump()
    assert {name: found[name] for name in meant} == meant
    assert parse_recipe(yaml.safe_load(recipe_yaml(recipe))) == recipe


def test_a_loss_must_fit_the_targets_and_an_ensemble_has_plain_ones():
    focal = small("loss=focal")
    with pytest.raises(InvalidRecipe, match="targets of sines, which are values; got focal"):
        Session.of(small(SINES, "loss=focal"))
    dataset = Session.of(focal).batches.dataset
    with pytest.raises(InvalidRecipe, match="the loss of an ensemble is cross_entropy or mse; got focal"):
        loss_name_of(focal, dataset)
    assert loss_name_of(small("loss=cross_entropy"), dataset) == loss_name_of(small(), dataset) == "cross_entropy"
    assert focal.loss == FocalConfig(focusing=2.0)


def gradient_steps(recipe, steps, penalty=0.0, momentum=0.0):
    """W after some steps of gradient descent on loss + λ‖W‖², by the equation."""
    session = Session.of(recipe)
    parameters = list(session.model.parameters())
    lr, velocity = recipe.optimizer.lr, [torch.zeros_like(p) for p in parameters]
    for step in range(1, steps + 1):
        inputs, targets = session.batches.of_step(step)
        loss = fn.cross_entropy(session.model(inputs), targets)
        loss = loss + penalty * sum(p.square().sum() for p in parameters)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for place, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
                velocity[place] = momentum * velocity[place] + g
                p -= lr * velocity[place]
    return parameters


def trained(recipe, steps):
    session = Session.of(recipe)
    for step in range(1, steps + 1):
        session.update(step)
    return list(session.model.parameters())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_l2_is_the_paper_s_penalty_on_the_loss(momentum):
    """Eq. (28) of mlp2024: loss + λ‖W‖² shrinks W by 1 − 2ηλ before each step."""
    recipe = small("dtype=float64", "optimizer.l2=0.03", f"optimizer.momentum={momentum}", "optimizer.lr=0.1")
    assert (recipe.optimizer.weight_decay, recipe.optimizer.l2) == (0.06, None)
    pairs = zip(trained(recipe, 8), gradient_steps(recipe, 8, penalty=0.03, momentum=momentum), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_momentum_is_the_heavy_ball_of_the_closed_form():
    """W_T = W_0 − η Σ_t (1 − m^(T−t))/(1 − m) g_t: Eq. (27) of mlp2024 with the sign that descent has."""
    torch.manual_seed(0)
    weight, m, lr = nn.Parameter(torch.randn(3, dtype=torch.float64)), 0.7, 0.1
    start = weight.detach().clone()
    optimizer = torch.optim.SGD([weight], lr=lr, momentum=m)
    gradients = torch.randn(12, 3, dtype=torch.float64)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    weights = torch.tensor([(1 - m ** (12 - t)) / (1 - m) for t in range(12)], dtype=torch.float64)
    torch.testing.assert_close(weight.detach(), start - lr * weights @ gradients, rtol=1e-12, atol=1e-12)


def test_the_same_recipe_in_two_words_is_the_same_recipe():
    assert load_recipe(overrides=["optimizer.l2=0.005"]) == load_recipe(overrides=["optimizer.weight_decay=0.01"])
    assert load_recipe(overrides=["optimizer.l2=0.005", "optimizer.weight_decay=0"]).optimizer.weight_decay == 0.01


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.l2=-1"], "optimizer.l2 must be greater than or equal to 0 or null; got -1."),
        (["optimizer.l2=.inf"], "optimizer.l2 must be a finite number or null; got inf."),
        (["optimizer.l2=true"], "optimizer.l2 must be a valid number or null; got true."),
        (["optimizer.l2=1", "optimizer.weight_decay=0.5"], "optimizer: either l2 or weight_decay may be given, not b"),
        (["loss=hinge"], "loss.name must be one of 'cross_entropy', 'mse', 'focal'; got 'hinge'."),
        (["loss=3"], "loss must be a section with fields of its own; got 3."),
        (["loss.focusing=3"], "loss: its name must be given."),
        (["loss.name=focal", "loss.focusing=-1"], "loss.focusing must be greater than or equal to 0; got -1."),
        (["norms.after=[linear1]"], "norms: its name must be given."),
        (["norms=layer_norm"], "norms.name must be one of 'batch_norm', 'centering_norm', 'phase_norm'; got 'layer_n"),
        (["norms.name=batch_norm", "norms.watched=output"], "norms.watched is not a field; choose from affine, after,"),
        (["norms.name=phase_norm", "norms.eps=0"], "norms.eps must be greater than 0; got 0."),
        (["norms.name=phase_norm", "norms.after=[]"], "norms.after List should have at least 1 item"),
        (["model.negative_slope=0.2"], "model: negative_slope is that of leaky_relu; got 0.2 with relu."),
        (["observe.mode=test"], "observe.mode must be 'eval' or 'train'; got 'test'."),
    ],
)
def test_what_a_recipe_may_not_say(overrides, message):
    with pytest.raises(InvalidRecipe, match=re.escape(message)):
        load_recipe(overrides=overrides)
