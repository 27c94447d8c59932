"""Norms in any model, and out of it again: folded exactly, or dropped; errors change nothing."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as fn

import cloudchamber as cc
from cloudchamber._core.errors import InvalidInput, Unsupported
from cloudchamber.interventions import (
    BatchNormConfig,
    CenteringNormConfig,
    NormedLayer,
    PhaseNorm,
    PhaseNormConfig,
    normable_layers,
)
from cloudchamber.interventions.places import Place
from cloudchamber.models import MLP

QUICK = PhaseNormConfig(smoothing=0.3, watched="normalized")  # freezes at the second batch


class Own(nn.Module):
    """A model that calls its layers by hand, and reads a weight."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2, bias=False)
        self.blocks = nn.ModuleList([nn.Linear(6, 5), nn.Linear(5, 5, bias=False)])
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        f = self.up(self.conv(x.view(-1, 1, 2, 3)).tanh()).relu().mean((2, 3))
        for block in self.blocks:
            f = block(f).tanh()
        return self.out(f) + 0 * self.conv.weight.sum()


def sequences():
    return nn.Sequential(nn.Unflatten(1, (3, 2)), nn.Linear(2, 4), nn.GELU(), nn.Flatten(), nn.Linear(12, 3))


MODELS = {"mlp": lambda: MLP(6, 3, depth=4, width=8), "own": Own, "sequences": sequences}
models = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
configs = pytest.mark.parametrize(
    "config", [QUICK, CenteringNormConfig(), BatchNormConfig()], ids=lambda config: config.name
)


def made(make):
    torch.manual_seed(0)
    return make().double()


def data():
    random = torch.Generator().manual_seed(1)
    return torch.randn(24, 6, generator=random, dtype=torch.float64), torch.arange(24) % 3


def trained(model, steps=5):
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        fn.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def shape_of(model):
    """Everything about a model's structure: modules in their order, parameter names, hooks."""
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    return repr(model), list(model.state_dict()), hooks


@models
@configs
def test_folding_changes_outputs_by_rounding_only_and_leaves_the_plain_network(make, config):
    plain, model = made(make), made(make)
    cc.insert_norms(model, config)
    trained(model).eval()
    x = data()[0]
    before = model(x)
    removed = cc.remove_norms(model)
    assert torch.allclose(model(x), before, rtol=1e-12, atol=1e-12)
    assert [name for name, _ in model.named_modules()] == [name for name, _ in plain.named_modules()]
    assert list(removed) == list(normable_layers(plain))
    assert torch.equal(model.train()(x), model.eval()(x))


@models
@configs
def test_inserting_and_dropping_leaves_a_model_as_it_was_bit_for_bit(make, config):
    model = made(make)
    before, state = shape_of(model), copy.deepcopy(model.state_dict())
    norms = cc.insert_norms(model, config)
    assert cc.remove_norms(model, fold=False) == norms
    assert shape_of(model) == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@models
def test_a_model_with_norms_is_copied_saved_and_loaded_like_any_other(make):
    model = made(make)
    cc.insert_norms(model, QUICK)
    trained(model)
    other = made(make)
    cc.insert_norms(other, QUICK)
    other.load_state_dict(model.state_dict())
    x = data()[0]
    assert torch.equal(other.eval()(x), model.eval()(x))
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    copied = copy.deepcopy(model)
    cc.remove_norms(copied)
    assert any(isinstance(module, PhaseNorm) for module in model.modules())


def test_around_a_layer_the_norm_does_what_it_does_beside_one():
    alone = made(lambda: MLP(6, 3, depth=2, width=4))
    chain = copy.deepcopy(alone)

    class Calls(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear1, self.linear2 = alone.linear1, alone.linear2

        def forward(self, x):
            return self.linear2(self.linear1(x).relu())

    by_hand = Calls()
    cc.insert_norms(by_hand, QUICK)
    cc.insert_norms(chain, QUICK)
    assert isinstance(by_hand.linear1, NormedLayer)
    assert by_hand.linear1.weight is alone.linear1.weight
    with pytest.raises(AttributeError):
        _ = by_hand.linear1.unknown
    assert torch.equal(trained(by_hand)(data()[0]), trained(chain)(data()[0]))


def test_layers_with_a_norm_around_them_are_observed_as_operations_apart_from_it():
    model = made(Own)
    cc.insert_norms(model, PhaseNormConfig(after=["blocks.0"]))
    x, y = data()
    with cc.Monitor(model, probe=(x, y), loss=fn.cross_entropy, layers=["blocks.0.layer"]) as monitor:
        pass
    assert monitor.record.activation.values.tolist() == ["tanh"]


def test_an_exception_in_the_middle_leaves_the_model_untouched(monkeypatch):
    model = made(Own)
    before, put, calls = shape_of(model), Place.put, []

    def fails_at_the_third(place, norm):
        calls.append(place)
        if len(calls) == 3:
            raise RuntimeError("no memory")
        put(place, norm)

    monkeypatch.setattr(Place, "put", fails_at_the_third)
    with pytest.raises(RuntimeError, match="no memory"):
        cc.insert_norms(model, CenteringNormConfig())
    assert len(calls) == 3
    assert shape_of(model) == before


def tied():
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    model[2].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (lambda: MLP(6, 3, depth=3, width=4), {}, InvalidInput, "one after linear1, which still normalizes"),
        (tied, {"unfrozen": True}, Unsupported, "that of 0 is shared with another layer"),
        (
            lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2)),
            {"unfrozen": True},
            Unsupported,
            "that of 0 is computed from others",
        ),
    ],
    ids=["unfrozen", "tied", "computed"],
)
def test_what_cannot_be_folded_is_said_and_the_model_stays(make, options, error, message):
    model = make()
    cc.insert_norms(model, PhaseNormConfig())
    before, state = shape_of(model), copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=re.escape(message)):
        cc.remove_norms(model, **options)
    assert shape_of(model) == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert cc.remove_norms(model, fold=False)


def test_a_norm_that_is_not_frozen_is_folded_as_evaluation_uses_it_where_that_is_wanted():
    model = made(MODELS["mlp"])
    cc.insert_norms(model, PhaseNormConfig())
    before = trained(model).eval()(data()[0])
    cc.remove_norms(model, unfrozen=True)
    assert torch.allclose(model(data()[0]), before, rtol=1e-12)


def test_a_model_without_norms_says_so_and_the_users_own_stay():
    with pytest.raises(InvalidInput, match="norms put in by `insert_norms`; got Sequential without"):
        cc.remove_norms(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    shared = nn.Linear(4, 4)
    model = nn.Sequential(nn.Linear(6, 4), nn.Sequential(shared), nn.Sequential(shared), nn.Linear(4, 2))
    with pytest.raises(Unsupported, match=r"stands in one place; got 1.0, which stands in 2"):
        cc.insert_norms(model, BatchNormConfig(after=["1.0"]))
    assert normable_layers(model) == ("0",)
