"""Native gradients and steps of dense chains beside those of torch, in float64."""

import hypothesis.strategies as st
import pytest
import torch
from dense_cases import net, normal, parameters, samples
from hypothesis import given, settings
from torch import nn

import cloudchamber as cc
from cloudchamber.models import ScaledOutput
from cloudchamber.training.ensemble.dense import native
from cloudchamber.training.ensemble.dense.chain import dense_chain
from cloudchamber.training.ensemble.dense.gradients import DenseGradients, TanhName
from cloudchamber.training.ensemble.dense.native import NativeStep, native_gradients
from cloudchamber.training.ensemble.gradients import Loss
from cloudchamber.training.ensemble.layout import Layout
from cloudchamber.training.ensemble.optimizers import SGD, Adam
from cloudchamber.training.ensemble.step import PlainStep

pytestmark = pytest.mark.skipif(not native._functions(), reason="no native code here")
FUNCTIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "none": nn.Identity}


def dense(module, loss: Loss = "mse", per_member=False, tanh: TanhName = "rational"):
    fixed = {name: normal(4, seed=5) for name, _ in module.named_buffers()}
    found = dense_chain(module)
    assert not isinstance(found, str), found
    return DenseGradients(found, Layout.of(module), loss, per_member, tanh, fixed)


def taken(plain):
    found = native_gradients(plain)
    assert found is not None
    return found


def chain(sizes, functions, bias=True):
    layers = []
    for fan_in, fan_out, name in zip(sizes, sizes[1:], functions, strict=False):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), FUNCTIONS[name]()]
    return nn.Sequential(*layers).double()


def both(plain, flat, inputs, targets):
    found = []
    for gradients in (plain, taken(plain)):
        out = torch.empty_like(flat)
        found.append((gradients(flat, inputs, targets, out), out))
    return found


def close(found, expected, tolerance=1e-10):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@settings(derandomize=True, max_examples=40, deadline=None, database=None)
@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=5),
    st.lists(st.sampled_from(sorted(FUNCTIONS)), min_size=4, max_size=4),
    st.integers(1, 100),
    st.booleans(),
    st.booleans(),
)
def test_gradients_are_those_of_torch(sizes, functions, count, bias, per_member):
    module = chain(sizes, functions, bias)
    _, flat = parameters(module, 4)
    inputs, targets = samples(module, "mse", (4, count) if per_member else (count,))
    expected, found = both(dense(module, per_member=per_member), flat, inputs, targets)
    close(found, expected)


def test_a_scale_of_the_outputs_and_samples_that_are_flattened():
    module = ScaledOutput(nn.Sequential(nn.Flatten(), chain((6, 9, 2), ("tanh", "none"))), 1.0).double()
    _, flat = parameters(module, 4)
    inputs, targets = normal(11, 2, 3, seed=1), normal(11, 2, seed=2)
    expected, found = both(dense(module), flat, inputs, targets)
    close(found, expected)


def trained(make, optimizer, dtype=torch.float64, steps=12):
    module = chain((5, 17, 3, 1), ("tanh", "relu", "none")).to(dtype)
    layout, flat = parameters(module, 6, dtype=dtype)
    inputs, targets = samples(module, "mse", (30,), dtype=dtype)
    plain = dense(module)
    step, state = make(plain, optimizer), optimizer.state(flat, layout)
    losses = flat[:, 0]
    for number in range(1, steps + 1):
        losses = step(flat, state, inputs, targets, torch.tensor(float(number), dtype=torch.float64))
    return flat, losses, {name: state[name] for name in ("mean", "square", "velocity") if name in state}


@pytest.mark.parametrize(
    "optimizer",
    [
        Adam(),
        Adam(lr=0.01, beta1=0.8, beta2=0.9, eps=1e-3, weight_decay=0.1),
        Adam(lr=0.01, weight_decay=0.1, decoupled=True),
        Adam(lr=torch.linspace(0.001, 0.01, 6, dtype=torch.float64)),
        SGD(lr=0.1, momentum=0.9),
    ],
)
def test_steps_are_those_of_torch(optimizer):
    expected = trained(PlainStep, optimizer)
    found = trained(lambda plain, by: NativeStep(taken(plain), by), optimizer)
    close(found, expected, 1e-9)


def test_members_do_not_depend_on_each_other_or_on_threads():
    module = chain((5, 17, 1), ("tanh", "none")).float()
    _, flat = parameters(module, 7, dtype=torch.float32)
    flat[3] = torch.nan
    inputs, targets = samples(module, "mse", (30,), dtype=torch.float32)
    gradients, out, alone = taken(dense(module)), torch.empty_like(flat), torch.empty_like(flat[4:])
    losses = gradients(flat, inputs, targets, out)
    assert torch.equal(gradients(flat[4:].clone(), inputs, targets, alone), losses[4:])
    assert torch.equal(alone, out[4:])
    assert losses.isnan().tolist() == [number == 3 for number in range(7)]
    torch.set_num_threads(2)
    try:
        again = torch.empty_like(flat)
        gradients(flat, inputs, targets, again)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(again.nan_to_num(), out.nan_to_num())


def test_other_samples_are_taken_and_samples_that_were_changed():
    module = chain((5, 4, 1), ("tanh", "none"))
    _, flat = parameters(module, 4)
    plain = dense(module)
    gradients, out, expected = taken(plain), torch.empty_like(flat), torch.empty_like(flat)
    inputs, targets = samples(module, "mse", (9,))
    for change in (lambda: None, lambda: inputs.mul_(2), lambda: targets.add_(1)):
        change()
        close(gradients(flat, inputs, targets, out), plain(flat, inputs, targets, expected))
        close(out, expected)
    close(gradients(flat, inputs[:3], targets[:3], out), plain(flat, inputs[:3], targets[:3], expected))


@pytest.mark.parametrize(
    "plain",
    [
        dense(net(3, 4, 2), "cross_entropy"),
        dense(net(3, 4, 1), tanh="exact"),
        dense(nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 1))),
        dense(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Tanh(), nn.Linear(4, 1))),
        dense(chain((3, 500, 1), ("relu", "none"))),
    ],
)
def test_what_it_does_not_take(plain):
    assert native_gradients(plain) is None


def test_an_ensemble_is_the_same_with_and_without():
    models = [chain((5, 9, 1), ("tanh", "none")) for _ in range(3)]
    data = normal(20, 5, seed=1), normal(20, 1, seed=2)

    def ensemble(compiled):
        optimizer = Adam(lr=0.01)
        return cc.train_ensemble(
            models, data, loss="mse", optimizer=optimizer, steps=30, tanh="rational", compile=compiled
        )

    fast, slow = ensemble(True), ensemble(False)
    close(fast.losses, slow.losses, 1e-9)
    close(dict(fast.parameters), dict(slow.parameters), 1e-9)
