"""Which modules are dense chains, in what order, and why others are not."""

import copy
import operator

import pytest
import torch
from dense_cases import assert_same, both, net, normal, parameters
from torch import nn
from torch.func import functional_call

from cloudchamber.models import MLP, ScaledOutput
from cloudchamber.training.ensemble.dense.chain import DenseChain, dense_chain


class Own(nn.Module):
    """A module with a `forward` of its own, given as a function."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.code = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x):
        return self.code(self, x)


def linear(fan_in=3, fan_out=3, **options):
    return nn.Linear(fan_in, fan_out, **options)


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = linear(4, 5), nn.ModuleList([linear(5, 5), linear(5, 2)])
        self.block = nn.Sequential(nn.Softplus(), nn.Sequential(nn.Identity(), nn.Dropout(0.0)))

    def forward(self, x):
        x = torch.tanh(self.first(x.view(x.size(0), -1)))
        for layer in self.second:
            x = self.block(layer(x))
        return nn.functional.leaky_relu(x, negative_slope=0.3) / 2


CHAINS = {
    "sequential": (net(4, 6, 2), (4,)),
    "one layer": (linear(4, 2), (4,)),
    "MLP": (MLP(4, 2, depth=4, width=3, act="x2tanh", bias=False), (2, 2)),
    "flatten": (nn.Sequential(nn.Flatten(), linear(4, 5), nn.ReLU(), nn.Flatten(), linear(5, 2)), (2, 2)),
    "own forward": (Deep(), (1, 4)),
    "nested own forward": (nn.Sequential(Own(lambda m, x: m.a(x).relu(), a=linear(4, 5)), linear(5, 2)), (4,)),
    "view": (Own(lambda m, x: m.a(x.reshape(-1, 4)), a=linear(4, 2)), (2, 2)),
    "shape": (Own(lambda m, x: m.a(x.view(x.shape[0], -1)), a=linear(4, 2)), (2, 2)),
    "functions": (Own(lambda m, x: 1.0 * torch.sigmoid(m.a(torch.flatten(x, 1))), a=linear(4, 2)), (2, 2)),
    "in place": (Own(lambda m, x: m.b(m.a(x).relu_()) * 3, a=linear(4, 5), b=linear(5, 2)), (4,)),
    "the same activation twice": (nn.Sequential(linear(4, 4), *[nn.Tanh()] * 2, linear(4, 2), nn.Tanh()), (4,)),
    "activation first": (nn.Sequential(nn.Sigmoid(), linear(4, 2)), (4,)),
    "dropout, evaluated": (nn.Sequential(linear(4, 4), nn.Dropout(0.5), linear(4, 2)).eval(), (4,)),
    "scaled": (ScaledOutput(net(4, 6, 2), 0.3), (4,)),
    "layers without activation": (nn.Sequential(linear(4, 6), linear(6, 2, bias=False)), (4,)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_computed_as_its_module(name):
    module, sample = CHAINS[name]
    module = module.double()
    _, flat = parameters(module, 3)
    buffers = {key: torch.stack([value] * 3) * normal(3) for key, value in module.named_buffers()}
    inputs, targets = normal(5, *sample, seed=1), normal(5, 2, seed=2)
    assert_same(both(module, flat, inputs, targets, "mse", fixed=buffers))


def tied():
    module = nn.Sequential(linear(), linear())
    module[1].weight = module[0].weight
    return module


def hooked():
    module = net(3, 3, 3)
    module[1].register_forward_hook(lambda *_: None)
    return module


def half_frozen():
    module = net(3, 3, 3)
    module[0].weight.requires_grad_(False)
    return module


class Custom(nn.Linear):
    def forward(self, input):  # noqa: A002
        return super().forward(input) + 1


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


def one(forward):
    return Own(forward, a=linear())


REFUSED = {
    "PReLU": (nn.Sequential(linear(), nn.PReLU()), "1 is a PReLU"),
    "convolution": (nn.Sequential(nn.Conv1d(1, 1, 1)), "0 is a Conv1d"),
    "batch norm": (nn.Sequential(linear(), nn.BatchNorm1d(3)), "1 is a BatchNorm1d"),
    "dropout": (nn.Sequential(linear(), nn.Dropout(0.5)), "1 is a Dropout"),
    "frozen": (half_frozen(), "frozen: 0.weight"),
    "the same layer twice": (nn.Sequential(*[linear()] * 2), "more than one place"),
    "tied weights": (tied(), "more than one place: 1.weight"),
    "hooks": (hooked(), "hooks may change what these do: 1"),
    "no layer": (nn.Sequential(nn.Tanh()), "no linear layer"),
    "idle layer": (Own(lambda m, x: m.a(x), a=linear(), b=linear()), "no linear layer uses these parameters: b"),
    "custom layer": (nn.Sequential(Custom(3, 3)), "Custom"),
    "residual": (one(lambda m, x: x + m.a(x)), "`add` in Own takes something else than the result before it"),
    "gate": (one(lambda m, x: m.a(x) * m.a(x)), "takes something else"),
    "power": (one(lambda m, x: m.a(x) ** 2), "`pow` is neither"),
    "sum": (one(lambda m, x: m.a(x).sum(1)), "`sum` is neither"),
    "softmax": (one(lambda m, x: torch.softmax(m.a(x), 1)), "`softmax` is neither"),
    "scale that is trained": (Own(lambda m, x: m.a(x) * m.b.weight, a=linear(), b=linear(1, 1)), "takes something"),
    "flatten of the batch": (nn.Sequential(nn.Flatten(0), linear()), "flattens axes 0"),
    "partial view": (one(lambda m, x: m.a(x.view(3, -1))), "`view` is neither"),
    "data-dependent": (one(lambda m, x: m.a(x) if x.sum() > 0 else x), "`forward` of Own cannot be followed"),
    "noise": (one(lambda m, x: m.a(x) + torch.randn(3)), "takes something else"),
    "several outputs": (one(lambda m, x: (m.a(x), x)), "returns something else"),
    "earlier output": (one(lambda m, x: [m.a(x), x][1]), "returns something else"),
    "two inputs": (TwoInputs(), "takes 2 arguments"),
    "infinite scale": (one(lambda m, x: m.a(x) * float("inf")), "`mul` is neither"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_chain_is_refused_with_the_reason(name):
    module, words = REFUSED[name]
    reason = dense_chain(module)
    assert isinstance(reason, str)
    assert words in reason


def test_a_buffer_of_the_users_own_is_refused():
    module = net(3, 3, 3)
    module.register_buffer("seen", torch.zeros(()))
    assert dense_chain(module) == "it has buffers: seen"


def test_neither_the_module_nor_random_numbers_change():
    calls = []

    def forward(module, x):
        calls.append(torch.rand(1))
        module.count = len(calls)
        return module.a(x)

    module = one(forward)
    weights, before = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    assert isinstance(dense_chain(module), DenseChain)
    assert calls
    assert torch.equal(before, torch.get_rng_state())
    assert not hasattr(module, "count")
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


def test_equal_modules_give_equal_chains():
    first, second = (dense_chain(net(3, 4, 1, act="gelu")) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    others = [net(3, 4, 1, act="silu"), net(3, 5, 1, act="gelu"), net(3, 4, 1, act="gelu", bias=False)]
    assert all(dense_chain(other) != first for other in others)
    slopes = [dense_chain(nn.Sequential(linear(), nn.LeakyReLU(slope))) for slope in (0.1, 0.2)]
    assert operator.ne(*slopes)


def test_an_unknown_activation_of_torch_goes_by_the_general_path():
    module = nn.Sequential(linear(), nn.Hardshrink())
    assert "1 is a Hardshrink" in dense_chain(module)
    assert functional_call(module, dict(module.named_parameters()), (torch.zeros(2, 3),)).shape == (2, 3)
