"""What must hold of every prediction: nothing is touched, and units, order and scale do what they should."""

import copy
import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from models_zoo import ZOO
from predict.predict_cases import chain, cross_entropy, digits, laws, linears, said, seeds, sgd
from torch import nn

import cloudchamber as cc
from cloudchamber.models.activations import XTanh


def fingerprint(model):
    flags = [module.training for module in model.modules()]
    names = [sorted(vars(module)) for module in model.modules()]
    hooks = [len(module._forward_hooks) for module in model.modules()]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    versions = [tensor._version for tensor in (*model.parameters(), *model.buffers())]
    return flags, names, hooks, versions, grads


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_touched(name, training):
    case = ZOO[name]
    model, probe = case.make().train(training), case.batch()
    case.loss(model(probe[0]), probe[1]).backward()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    state = copy.deepcopy(model.state_dict())
    kept = [tensor.clone() for tensor in probe]
    before = fingerprint(model)
    streams = np.random.get_state()[1].copy(), torch.get_rng_state()
    said(model, probe, optimizer=optimizer, loss=case.loss)
    after = fingerprint(model)
    assert before[:4] == after[:4]
    assert all(a is None or torch.equal(a, b) for a, b in zip(before[4], after[4], strict=True))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(kept, probe, strict=True))
    assert not optimizer.state
    assert np.array_equal(np.random.get_state()[1], streams[0])
    assert torch.equal(torch.get_rng_state(), streams[1])


def test_pythons_random_stream_is_not_touched():
    """In a process of its own: the type checks of the tests draw from it."""
    code = (
        "import random, torch, cloudchamber as cc\n"
        "model = torch.nn.Linear(3, 2)\n"
        "probe = torch.randn(8, 3), torch.arange(8) % 2\n"
        "optimizer, before = torch.optim.SGD(model.parameters(), lr=0.1), random.getstate()\n"
        "cc.predict(model, probe, loss=torch.nn.functional.cross_entropy, optimizer=optimizer, steps=9)\n"
        "assert random.getstate() == before\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize("name", ZOO)
def test_twice_is_the_same_and_everything_can_be_shown(name):
    case = ZOO[name]
    model = case.make()
    first, second = (said(model, case.batch(), loss=case.loss) for _ in range(2))
    assert str(first) == str(second)
    assert first.leaves_plateau in ("leaves", "stuck", "unstable", "cannot tell")
    assert first.findings[0].title in first._repr_html_()
    assert first.dataset.sizes["layer"] == len(first.layers) > 0
    assert repr(first).startswith("<Prediction")


@laws
@given(seed=seeds, factor=st.sampled_from([0.1, 2.0, 7.0]))
def test_rate_and_steps_count_as_their_product(seed, factor):
    model = chain(seed=seed)
    one, other = (
        said(model, optimizer=sgd(model, lr), steps=steps)
        for lr, steps in ((0.01, 1000), (0.01 * factor, round(1000 / factor)))
    )
    assert one.score == pytest.approx(other.score * 1000 / (factor * round(1000 / factor)), rel=1e-4)
    assert one.stable_lr == pytest.approx(other.stable_lr, rel=1e-9)


@laws
@given(seed=seeds)
def test_the_order_of_samples_does_not_matter(seed):
    model, (x, y) = chain(seed=seed), digits()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    one, other = said(model, (x, y)), said(model, (x[order], y[order]))
    assert one.score == pytest.approx(other.score, rel=1e-6)
    assert one.stable_lr == pytest.approx(other.stable_lr, rel=5e-3)
    assert one.findings.codes == other.findings.codes


@laws
@given(seed=seeds)
def test_the_reduction_of_the_loss_is_seen_through(seed):
    model = chain(seed=seed)
    losses = [nn.CrossEntropyLoss(reduction=reduction) for reduction in ("mean", "sum", "none")]
    found = [said(model, loss=loss).score for loss in losses]
    assert found == pytest.approx([found[0]] * 3, rel=1e-9)


@laws
@given(seed=seeds)
def test_loss_times_a_number_and_rate_over_it_are_the_same(seed):
    model = chain(seed=seed)
    one = said(model)
    other = said(model, loss=lambda f, y: 8 * cross_entropy(f, y), optimizer=sgd(model, 0.05 / 8))
    assert other.score == pytest.approx(one.score, rel=1e-5)
    assert other.stable_lr == pytest.approx(one.stable_lr / 8, rel=5e-3)


def test_the_clock_starts_as_gradient_descent_does():
    """The loss's fall in a first small full-batch step, residuals without their mean, is what the clock says."""
    model, (x, y) = chain(4, 24, scale=1.0, seed=3), digits()
    found = said(model, (x, y), optimizer=sgd(model, 1e-4))
    model = model.double()
    x = x.double()
    outputs = model(x)
    residuals = (outputs.softmax(1) - nn.functional.one_hot(y, 10)).detach()
    residuals = residuals - residuals.mean(0)
    value = (outputs * residuals).sum() / len(x)
    weights = [layer.weight for layer in linears(model)]
    gradients = torch.autograd.grad(value, weights)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight -= 1e-4 * gradient
        fallen = float(value - (model(x) * residuals).sum() / len(x))
    assert fallen == pytest.approx(found.reckoning.drop / found.reckoning.linear_steps, rel=1e-3)


@laws
@given(seed=seeds, depth=st.integers(2, 7))
def test_exponents_are_one_in_a_chain_without_biases_and_zero_before_a_norm(seed, depth):
    free = said(chain(depth, seed=seed))
    assert [layer.scale_exponent for layer in free.layers] == pytest.approx([1.0] * depth, abs=1e-9)
    assert free.reckoning.structure == "chain"
    normal = said(chain(depth, norm=nn.LayerNorm, scale=1.0, seed=seed))
    assert [layer.scale_exponent for layer in normal.layers[:-1]] == pytest.approx([0.0] * (depth - 1), abs=1e-3)
    batch = said(chain(depth, norm=nn.BatchNorm1d, scale=1.0, seed=seed))
    assert batch.reckoning.structure == "batch normalized"


def test_multiplicities_of_degree_p_multiply_the_exponents():
    found = said(chain(3, activation=XTanh, scale=0.01))
    assert [layer.scale_exponent for layer in found.layers] == pytest.approx([4.0, 2.0, 1.0], rel=0.05)
    assert [layer.multiplicity for layer in found.layers] == [2, 2, None]


def test_momentum_and_weight_decay():
    model = chain(scale=1.0)
    plain, fast = said(model), said(model, optimizer=sgd(model, momentum=0.9))
    assert fast.score == pytest.approx(10 * plain.score * (300 - 9 * (1 - 0.9**300)) / 300, rel=1e-4)
    decayed = said(model, optimizer=sgd(model, weight_decay=0.1))
    assert decayed.leaves_plateau == "stuck"
    assert decayed.reckoning.plateau.steps == float("inf")
    assert any("weight decay" in text for text in decayed.findings[0].advice)


def test_the_copy_computes_in_float64_and_the_original_need_not():
    half, whole = (said(chain(4, seed=1).to(dtype)) for dtype in (torch.float32, torch.float64))
    assert half.score == pytest.approx(whole.score, rel=1e-5)


def test_the_package_can_be_called_like_the_function():
    import cloudchamber.predict

    model = chain()
    assert cloudchamber.predict(model, digits(), loss=cross_entropy, optimizer=sgd(model), steps=9).score > 0
    assert cc.predict is cloudchamber.predict or callable(cc.predict)
