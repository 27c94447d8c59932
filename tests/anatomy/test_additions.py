"""Branches that are added before their activation share it; a stream that layers only read has none."""

import operator

import pytest
import torch
from models_zoo import ZOO
from torch import nn
from torch.nn import functional as fn

from cloudchamber.anatomy import capture, choose_views


class Through(nn.Module):
    """A layer and something behind it."""

    def __init__(self, behind):
        super().__init__()
        self.layer, self.behind = nn.Linear(5, 8), behind

    def forward(self, x):
        return self.behind(self.layer(x))


def feature_of(behind):
    """The layer's snapshot."""
    torch.manual_seed(0)
    return seen_in(Through(behind), torch.randn(6, 5), ("features", "outputs"))["layer"]


OTHER = torch.randn(6, 8, generator=torch.Generator().manual_seed(3))
SUMS = {
    "addition": (lambda z: fn.relu(z + OTHER), "relu after addition", lambda z: fn.relu(z + OTHER)),
    "in place": (lambda z: fn.relu(z.add_(OTHER)), "relu after addition", lambda z: fn.relu(z + OTHER)),
    "augmented": (operator.iadd, "none", lambda z: z),
    "difference": (lambda z: torch.tanh(OTHER - 2 * z), "tanh after addition", lambda z: torch.tanh(OTHER - 2 * z)),
    "three": (
        lambda z: fn.relu(z + OTHER + OTHER.cos()),
        "relu after addition",
        lambda z: fn.relu(z + OTHER + OTHER.cos()),
    ),
    "silu by hand": (
        lambda z: (z + OTHER) * torch.sigmoid(z + OTHER),
        "product after addition",
        lambda z: fn.silu(z + OTHER),
    ),
    "silu of one sum": (lambda z: _silu(z + OTHER), "product after addition", lambda z: fn.silu(z + OTHER)),
    "norm between": (
        lambda z: fn.relu(fn.layer_norm(z + OTHER, (8,))),
        "relu after addition",
        lambda z: fn.relu(fn.layer_norm(z + OTHER, (8,))),
    ),
    "own activation first": (lambda z: fn.relu(torch.tanh(z) + OTHER), "tanh", torch.tanh),
    "of itself": (lambda z: fn.relu(z + z.roll(1, 0)), "none", lambda z: z),
    "of its mean": (lambda z: fn.relu(z - z.mean(1, keepdim=True)), "none", lambda z: z),
    "averaged": (lambda z: (z + OTHER) / (z + OTHER).abs().mean(1, keepdim=True), "none", lambda z: z),
    "nothing after": (lambda z: (z + OTHER) * 2, "none", lambda z: z),
}


def _silu(z):
    return z * torch.sigmoid(z)


@pytest.mark.parametrize("case", SUMS)
def test_an_activation_after_an_addition(case):
    behind, name, function = SUMS[case]
    if case == "augmented":
        behind = lambda z: operator.iadd(z, OTHER)  # noqa: E731
    layer = feature_of(behind)
    assert layer.activation == name
    torch.testing.assert_close(layer.features, function(layer.outputs), rtol=1e-5, atol=1e-6)


def seen_in(model, x, fields=("features", "outputs", "feature_gradients", "output_gradients", "gates")):
    chosen = choose_views(model, None)
    return capture(model, x, lambda out: out.square().sum(), layers=chosen, fields=fields).layers


class BasicBlocks(nn.Module):
    """Two residual blocks, the second with a shortcut of its own."""

    def __init__(self, in_place):
        super().__init__()
        self.in_place = in_place
        self.stem, self.a1, self.a2 = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.b1, self.b2, self.short = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(8, 6)
        self.norm, self.head = nn.BatchNorm1d(8), nn.Linear(6, 3)

    def add(self, z, shortcut):
        if self.in_place:
            z += shortcut
            return fn.relu_(z)
        return fn.relu(z + shortcut)

    def forward(self, x):
        x = fn.relu(self.stem(x))
        x = self.add(self.norm(self.a2(fn.relu(self.a1(x)))), x)
        x = self.add(self.b2(fn.relu(self.b1(x))), self.short(x))
        return self.head(x)


@pytest.mark.parametrize("in_place", [False, True])
def test_the_branches_of_a_residual_block_share_the_activation_of_their_sum(in_place):
    torch.manual_seed(0)
    model, x = BasicBlocks(in_place).double().eval(), torch.randn(6, 5, dtype=torch.float64)
    layers = seen_in(model, x)
    f0 = model.stem(x).relu()
    za = model.a2(model.a1(f0).relu())
    fa = (model.norm(za) + f0).relu()
    zb, zs = model.b2(model.b1(fa).relu()), model.short(fa)
    fb = (zb + zs).relu()
    loss = model.head(fb).square().sum()
    names = {"stem": "relu", "a1": "relu", "b1": "relu", "head": "none"}
    names |= dict.fromkeys(("a2", "b2", "short"), "relu after addition")
    assert {key: layer.activation for key, layer in layers.items()} == names
    gradients = torch.autograd.grad(loss, [za, fa, zb, zs, fb])
    for name, z, f, gz, gf in (
        ("a2", za, fa, gradients[0], gradients[1]),
        ("b2", zb, fb, gradients[2], gradients[4]),
        ("short", zs, fb, gradients[3], gradients[4]),
    ):
        layer = layers[name]
        for found, expected in (
            (layer.outputs, z),
            (layer.features, f),
            (layer.output_gradients, gz),
            (layer.feature_gradients, gf),
            (layer.gates * layer.feature_gradients, gz),
        ):
            torch.testing.assert_close(found, expected.detach(), rtol=1e-10, atol=1e-12)


class PreActivation(nn.Module):
    """Norm, activation, layer, twice, then the addition: the sum is activated at the start of the next block."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(5, 8), nn.Linear(8, 3)
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(4)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(8) for _ in range(5)])

    def forward(self, x):
        x = self.stem(x)
        for first, second in ((0, 1), (2, 3)):
            h = self.layers[first](fn.relu(self.norms[first](x)))
            x = x + self.layers[second](fn.relu(self.norms[second](h)))
        return self.head(fn.relu(self.norms[4](x)))


def test_a_pre_activation_block_has_the_activation_of_the_next_block():
    torch.manual_seed(0)
    model, x = PreActivation().eval(), torch.randn(6, 5)
    layers = seen_in(model, x)
    assert {key: layer.activation for key, layer in layers.items()} == {
        "stem": "relu",
        "layers.0": "relu",
        "layers.1": "relu after addition",
        "layers.2": "relu",
        "layers.3": "relu after addition",
        "head": "none",
    }
    s0 = model.stem(x)
    s1 = s0 + layers["layers.1"].outputs
    s2 = s1 + layers["layers.3"].outputs
    for key, total, norm in (("stem", s0, 0), ("layers.1", s1, 2), ("layers.3", s2, 4)):
        torch.testing.assert_close(layers[key].features, model.norms[norm](total).relu())


@pytest.mark.parametrize("name", ["ViT", "ViT without norms", "tiny GPT"])
def test_the_stream_of_a_transformer_has_no_activation(name):
    case = ZOO[name]
    layers = seen_in(case.make(), case.batch()[0])
    for key, layer in layers.items():
        if key.endswith(("fc2", "proj")):
            assert layer.activation == "none"
            assert torch.equal(layer.features, layer.outputs)


def test_a_recurrent_cell_by_hand_has_the_activation_of_its_sum():
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.inward, self.onward, self.head = nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            h = x.new_zeros(len(x), 4)
            for _ in range(3):
                h = torch.tanh(self.inward(x) + self.onward(h))
            return self.head(h)

    layers = seen_in(Cell(), torch.randn(6, 5))
    activations = {key: layer.activation for key, layer in layers.items()}
    assert activations.pop("head") == "none"
    assert set(activations.values()) == {"tanh after addition"}
    assert torch.equal(layers["inward#2"].features, layers["onward#2"].features)
