"""The stacked optimizers beside torch.optim, on the same gradients."""

import hypothesis.strategies as st
import pytest
import torch
from ensemble_cases import chain, laws, normal, stack
from hypothesis import given

from cloudchamber._core.errors import InvalidInput
from cloudchamber.training import SGD, Adam
from cloudchamber.training.ensemble import optimizers
from cloudchamber.training.ensemble.layout import Layout

K, STEPS = 4, 6
MODELS = stack(chain, K)
LAYOUT = Layout.of(MODELS[0])
rates, fractions = st.floats(1e-4, 1.0), st.floats(0.0, 0.999)


def per_member(numbers):
    return st.one_of(numbers, st.lists(numbers, min_size=K, max_size=K))


def given_to(value, k):
    return value[k] if isinstance(value, list) else value


def as_numbers(value):
    return torch.tensor(value, dtype=torch.float64) if isinstance(value, list) else value


def gradients(dtype=torch.float64):
    return [normal(K, LAYOUT.size, seed=10 + step).to(dtype) for step in range(STEPS)]


def stacked(optimizer, dtype=torch.float64):
    """Return the parameters of all members after some updates."""
    flat = LAYOUT.flat(MODELS).to(dtype)
    state = optimizer.state(flat, LAYOUT)
    for step, gradient in enumerate(gradients(dtype), start=1):
        optimizer.update(flat, gradient.clone(), state, torch.tensor(float(step), dtype=torch.float64))
    return flat


def one(k, optimizer, dtype=torch.float64, layout=LAYOUT):
    """Return those of member k, updated by an optimizer of torch's; `optimizer` makes it of named parameters."""
    held = {name: value.detach().to(dtype).clone() for name, value in MODELS[k].named_parameters()}
    updater = optimizer(held)
    for gradient in gradients(dtype):
        for name, value in layout.views(gradient[k]).items():
            held[name].grad = value.clone()
        updater.step()
    return torch.cat([value.flatten() for value in held.values()])


def assert_equal(optimizer, make, dtype=torch.float64, tolerance=1e-12):
    flat = stacked(optimizer, dtype)
    for k in range(K):
        torch.testing.assert_close(
            flat[k], one(k, lambda held, k=k: make(held, k), dtype), rtol=tolerance, atol=tolerance
        )


@laws
@given(per_member(rates), per_member(fractions), per_member(st.floats(0.0, 1.0)), st.booleans())
def test_sgd_is_that_of_torch(lr, momentum, decay, nesterov):
    nesterov = nesterov and min(momentum if isinstance(momentum, list) else [momentum]) > 0

    def make(held, k):
        return torch.optim.SGD(
            held.values(), given_to(lr, k), given_to(momentum, k), 0, given_to(decay, k), nesterov=nesterov
        )

    assert_equal(SGD(as_numbers(lr), as_numbers(momentum), as_numbers(decay), nesterov), make)


@laws
@given(
    per_member(rates),
    per_member(fractions),
    per_member(fractions),
    per_member(st.floats(1e-10, 1e-2)),
    per_member(st.floats(0.0, 0.5)),
    st.booleans(),
)
def test_adam_is_that_of_torch(lr, beta1, beta2, eps, decay, decoupled):
    def make(held, k):
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        betas = (given_to(beta1, k), given_to(beta2, k))
        return kind(held.values(), given_to(lr, k), betas, given_to(eps, k), given_to(decay, k))

    numbers = [as_numbers(value) for value in (lr, beta1, beta2, eps, decay)]
    assert_equal(Adam(*numbers, decoupled), make)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("fused", [True, False])
def test_one_number_for_all_is_that_number_for_each(decoupled, fused, monkeypatch):
    """With and without the fused kernel of torch, which takes one number only."""
    if not fused:
        monkeypatch.setattr(optimizers, "_FUSED", {})
    alike = stacked(Adam(0.01, weight_decay=0.1, decoupled=decoupled))
    each = stacked(Adam(torch.full((K,), 0.01, dtype=torch.float64), weight_decay=0.1, decoupled=decoupled))
    torch.testing.assert_close(alike, each, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_in_float32_they_differ_by_rounding(decay):
    assert_equal(
        Adam(0.01, weight_decay=decay), lambda held, _: torch.optim.Adam(held.values(), 0.01, weight_decay=decay),
        torch.float32, 2e-6,
    )  # fmt: skip
    assert_equal(
        SGD(0.1, 0.9, decay), lambda held, _: torch.optim.SGD(held.values(), 0.1, 0.9, weight_decay=decay),
        torch.float32, 2e-6,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_numbers_by_layer_are_the_parameter_groups_of_torch(kind):
    first = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    lr, decay = {"0": first, "2.bias": 0.0, "*": 0.01}, {"2": 0.1, "*": 0.0}
    ours = SGD(lr, 0.5, decay) if kind == "sgd" else Adam(lr, weight_decay=decay)

    def make(held, k):
        groups = [
            {"params": [held["0.weight"], held["0.bias"]], "lr": first[k].item(), "weight_decay": 0.0},
            {"params": [held["2.weight"]], "lr": 0.01, "weight_decay": 0.1},
            {"params": [held["2.bias"]], "lr": 0.0, "weight_decay": 0.1},
        ]
        return torch.optim.SGD(groups, momentum=0.5) if kind == "sgd" else torch.optim.Adam(groups)

    assert_equal(ours, make)


def test_some_members_have_their_numbers():
    lr = torch.arange(1.0, K + 1)
    optimizer = Adam({"0": lr, "*": 0.5}, eps=lr, weight_decay=0.1, decoupled=True)
    part = optimizer.some(torch.tensor([2, 0]), K)
    assert part.lr["0"].tolist() == part.eps.tolist() == [3.0, 1.0]
    assert (part.lr["*"], part.weight_decay, part.decoupled) == (0.5, 0.1, True)


def test_state_of_members_is_independent_of_who_else_is_there():
    lr = torch.linspace(0.01, 0.1, K, dtype=torch.float64)
    whole = stacked(Adam(lr))
    flat = LAYOUT.flat(MODELS)[2:3]
    part = Adam(lr).some(torch.tensor([2]), K)
    state = part.state(flat, LAYOUT)
    for step, gradient in enumerate(gradients(), start=1):
        part.update(flat, gradient[2:3].clone(), state, torch.tensor(float(step), dtype=torch.float64))
    assert torch.equal(flat[0], whole[2])


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf"), torch.tensor([0.1, 0.1, -1.0, 0.1])])
def test_a_number_out_of_its_range_is_refused(bad):
    flat = LAYOUT.flat(MODELS)
    for optimizer in (SGD(bad), Adam(bad), Adam(eps=bad), SGD(0.1, weight_decay=bad)):
        with pytest.raises(InvalidInput, match=r"is finite and at least 0; got .* Remedy"):
            optimizer.state(flat, LAYOUT)
    for optimizer in (SGD(0.1, momentum=bad), Adam(beta1=bad), Adam(beta2=bad)):
        with pytest.raises(InvalidInput, match=r"is at least 0 and below 1; got .* Remedy"):
            optimizer.state(flat, LAYOUT)


@pytest.mark.parametrize(
    ("lr", "message"),
    [
        (torch.tensor([0.1, 0.2]), r"`lr` is one number, or one per member: 4; got \(2,\)"),
        (torch.ones(K, 1), r"one per member: 4; got \(4, 1\)"),
        ({"0": 0.1}, r"`lr` has an entry for each parameter; got none for \['2.weight', '2.bias'\]. Remedy: add '\*'"),
        ({"0": 0.1, "0.bias": 0.2, "*": 0.1}, r"one entry for each parameter; got '0' and '0.bias' for 0.bias"),
        ({"linear": 0.1, "*": 0.1}, r"got 'linear'. Remedy: name one"),
        ({}, "none for"),
    ],
)
def test_numbers_for_other_members_or_parameters_are_refused(lr, message):
    with pytest.raises(InvalidInput, match=message):
        SGD(lr).state(LAYOUT.flat(MODELS), LAYOUT)
    if isinstance(lr, torch.Tensor):
        with pytest.raises(InvalidInput, match=message):
            SGD(lr).some(torch.tensor([0]), K)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(InvalidInput, match="Nesterov's correction needs a momentum"):
        SGD(0.1, nesterov=True).state(LAYOUT.flat(MODELS), LAYOUT)
