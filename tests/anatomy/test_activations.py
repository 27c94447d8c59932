"""Which tensor is a layer's feature, and what its activation is called, however the activation is written."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as fn

from cloudchamber.anatomy import capture, choose_views


class Through(nn.Module):
    """A layer, something behind it, and a head that any shape fits."""

    def __init__(self, behind, layer=None):
        super().__init__()
        self.layer = layer or nn.Linear(5, 8)
        self.behind = behind
        if isinstance(behind, nn.Module):
            self.add_module("behind", behind)

    def forward(self, x):
        return self.behind(self.layer(x)).flatten(1)


def feature_of(behind, layer=None, shape=(5,), training_mode=False):
    """The layer's snapshot and its output Z."""
    torch.manual_seed(0)
    model = Through(behind, layer)
    x = torch.randn(6, *shape)
    seen = capture(
        model,
        x,
        lambda out: out.float().square().sum(),
        layers=choose_views(model, "layer"),
        fields=("features", "outputs", "feature_gradients"),
        training_mode=training_mode,
    )
    return seen.layers["layer"]


class Handwritten(nn.Module):
    def forward(self, x):
        return x * (x > 0)


class Swish(nn.Module):
    """A learnable slope: the module has a parameter."""

    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return x * torch.sigmoid(self.beta * x)


class Opaque(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        return g


class OpaqueModule(nn.Module):
    def forward(self, x):
        return Opaque.apply(x)


def _relu_in_place_by_mask(z):
    z = z.clone()
    z[z < 0] = 0
    return z


def _method(name, *args):
    return lambda z: getattr(z, name)(*args)


RELU = torch.relu
CASES = {
    "module": (nn.ReLU(), "relu", RELU),
    "module in place": (nn.ReLU(inplace=True), "relu", RELU),
    "fn.relu": (fn.relu, "relu", RELU),
    "fn.relu in place": (lambda z: fn.relu(z, inplace=True), "relu", RELU),
    "torch.relu": (torch.relu, "relu", RELU),
    "relu_": (_method("relu_"), "relu", RELU),
    "gelu": (fn.gelu, "gelu", fn.gelu),
    "GELU tanh": (nn.GELU("tanh"), "gelu", lambda z: fn.gelu(z, approximate="tanh")),
    "silu": (fn.silu, "silu", fn.silu),
    "SiLU in place": (nn.SiLU(inplace=True), "silu", fn.silu),
    "LeakyReLU": (nn.LeakyReLU(), "leaky_relu", fn.leaky_relu),
    "PReLU": (nn.PReLU(8), "prelu", lambda z: fn.leaky_relu(z, 0.25)),
    "tanh": (torch.tanh, "tanh", torch.tanh),
    "tanh_": (_method("tanh_"), "tanh", torch.tanh),
    "sigmoid": (nn.Sigmoid(), "sigmoid", torch.sigmoid),
    "softplus": (fn.softplus, "softplus", fn.softplus),
    "hardswish": (nn.Hardswish(), "hardswish", fn.hardswish),
    "sin": (torch.sin, "sin", torch.sin),
    # expressions
    "x tanh": (lambda z: z * torch.tanh(z), "product", lambda z: z * z.tanh()),
    "x² tanh": (lambda z: z * z * torch.tanh(z), "product", lambda z: z**2 * z.tanh()),
    "pow tanh": (lambda z: torch.tanh(z) * z.pow(2), "product", lambda z: z**2 * z.tanh()),
    "x (x > 0)": (lambda z: z * (z > 0), "product", RELU),
    "x (x > 0).float()": (lambda z: z * (z > 0).float(), "product", RELU),
    "where": (lambda z: torch.where(z > 0, z, 0.1 * z), "where", lambda z: fn.leaky_relu(z, 0.1)),
    "clamp": (lambda z: z.clamp(min=0), "clamp", RELU),
    "maximum": (lambda z: torch.maximum(z, torch.zeros(())), "maximum", RELU),
    "max of two": (lambda z: torch.max(z, torch.zeros_like(z)), "max", RELU),
    "gelu by hand": (lambda z: 0.5 * z * (1 + torch.erf(z / math.sqrt(2))), "product", fn.gelu),
    "Gaussian": (lambda z: torch.exp(-(z**2)), "exp", lambda z: torch.exp(-(z**2))),
    "squared relu": (lambda z: fn.relu(z) ** 2, "pow", lambda z: z.relu() ** 2),
    "relu by absolute value": (lambda z: (z + z.abs()) / 2, "add", lambda z: z + z.abs()),
    "relu by mask": (_relu_in_place_by_mask, "none", lambda z: z),
    # what lies between layer and activation
    "scale": (lambda z: fn.relu(z / math.sqrt(7) + 1), "relu", lambda z: fn.relu(z / math.sqrt(7) + 1)),
    "vectors": (
        lambda z: fn.relu(torch.ones(8) * z - torch.arange(8.0)),
        "relu",
        lambda z: fn.relu(z - torch.arange(8.0)),
    ),
    "in-place scale": (lambda z: z.mul_(2).add_(1).relu_(), "relu", lambda z: fn.relu(2 * z + 1)),
    "layer norm": (lambda z: fn.gelu(fn.layer_norm(z, (8,))), "gelu", lambda z: fn.gelu(fn.layer_norm(z, (8,)))),
    "BatchNorm1d": (
        nn.Sequential(nn.BatchNorm1d(8, affine=False, eps=0), nn.Tanh()),
        "tanh",
        torch.tanh,
    ),
    "dropout": (nn.Sequential(nn.Dropout(0.5), nn.ReLU()), "relu", RELU),
    "identity": (nn.Sequential(nn.Identity(), nn.ReLU()), "relu", RELU),
    "view": (lambda z: fn.relu(z.view(6, 2, 4)), "relu", lambda z: z.relu().view(6, 2, 4)),
    # a user's own modules
    "own module": (Handwritten(), "handwritten", RELU),
    "own module with a parameter": (Swish(), "swish", lambda z: z * torch.sigmoid(1.5 * z)),
    "own function in a module": (OpaqueModule(), "opaquemodule", RELU),
    # what comes after the activation is not its feature
    "scaled later": (lambda z: torch.tanh(z) * 3 + 1, "tanh", torch.tanh),
    "gate": (lambda z: 1 - torch.sigmoid(z), "sigmoid", torch.sigmoid),
    "dropped later": (nn.Sequential(nn.ReLU(), nn.Dropout(0.5)), "relu", RELU),
    "pooled later": (lambda z: fn.relu(z).view(6, 2, 4).mean(2), "relu", RELU),
    "softmax": (lambda z: fn.softmax(z, 1), "none", lambda z: z),
    "nothing": (lambda z: z * 2, "none", lambda z: z),
    "RMS by hand": (lambda z: z * torch.rsqrt(z.pow(2).mean(1, keepdim=True)), "none", lambda z: z),
    "RMS by hand, then relu": (
        lambda z: fn.relu((z * torch.rsqrt(z.square().mean(1, keepdim=True))).add_(0)),
        "none",
        lambda z: z,
    ),
    "softmax by hand": (lambda z: z.exp() / z.exp().sum(1, keepdim=True), "none", lambda z: z),
    "mean absolute value": (lambda z: z / z.abs().mean(1, keepdim=True), "none", lambda z: z),
    "other samples": (lambda z: fn.relu(z + z.roll(1, 0)), "none", lambda z: z),
}


@pytest.mark.parametrize("case", CASES)
def test_the_feature_and_its_name(case):
    behind, name, function = CASES[case]
    layer = feature_of(behind)
    assert layer.activation == name
    torch.testing.assert_close(layer.features, function(layer.outputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][1] != "none"])
def test_the_feature_has_the_gradient_that_training_gives_it(case):
    behind = CASES[case][0]
    layer = feature_of(behind)
    assert layer.feature_gradients.shape == layer.features.shape
    assert layer.feature_gradients.abs().sum() > 0


CONVOLUTIONS = {
    "pool first": (lambda z: fn.relu(fn.max_pool2d(z, 2)), "relu", lambda z: fn.max_pool2d(z, 2).relu()),
    "pool module first": (nn.Sequential(nn.MaxPool2d(2), nn.Tanh()), "tanh", lambda z: fn.max_pool2d(z, 2).tanh()),
    "pool after": (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), "relu", RELU),
    "average pool first": (lambda z: fn.relu(fn.avg_pool2d(z, 2)), "none", lambda z: z),
    "norm and in-place": (
        nn.Sequential(nn.GroupNorm(1, 4, affine=False), nn.ReLU(inplace=True)),
        "relu",
        lambda z: fn.group_norm(z, 1).relu(),
    ),
    "channel scale": (lambda z: fn.relu(torch.full((4, 1, 1), 2.0) * z), "relu", lambda z: fn.relu(2 * z)),
    "channel scale (1, c, 1, 1)": (
        lambda z: fn.relu(torch.full((1, 4, 1, 1), 2.0) * z),
        "relu",
        lambda z: fn.relu(2 * z),
    ),
    "squeeze and excite": (lambda z: z * torch.sigmoid(z.mean((2, 3), keepdim=True)), "none", lambda z: z),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_the_feature_of_a_convolution(case):
    behind, name, function = CONVOLUTIONS[case]
    layer = feature_of(behind, nn.Conv2d(2, 4, 3), (2, 6, 6))
    assert layer.activation == name
    torch.testing.assert_close(layer.features, function(layer.outputs), rtol=1e-5, atol=1e-6)


class OwnNorm(nn.Module):
    def forward(self, x):
        return (x - x.mean(0)) / x.std(0)


class OwnNormWithParameters(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(8))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.gain


class OwnDrop(nn.Module):
    def forward(self, x):
        return x * torch.rand_like(x).round() if self.training else x


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


@pytest.mark.parametrize("norm", [OwnNorm(), OwnNormWithParameters(), OwnDrop()])
@pytest.mark.parametrize("training_mode", [False, True])
def test_a_users_own_normalization_is_no_activation(norm, training_mode):
    assert feature_of(nn.Sequential(norm), training_mode=training_mode).activation == "none"
    assert feature_of(nn.Sequential(norm, nn.ReLU()), training_mode=training_mode).activation == "relu"


def test_a_module_that_joins_two_branches_is_no_activation():
    class Joins(nn.Module):
        def __init__(self):
            super().__init__()
            self.join = TwoInputs()

        def forward(self, z):
            return self.join(z, z.roll(1, 0))

    assert feature_of(Joins()).activation == "none"


def test_two_layers_that_meet_have_no_common_activation():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.up, self.down = nn.Linear(5, 8), nn.Linear(5, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.down(fn.silu(self.gate(x)) * self.up(x))

    torch.manual_seed(0)
    model = Gated()
    seen = capture(
        model, torch.randn(6, 5), lambda o: o.sum(), layers=choose_views(model, None), fields=("features", "outputs")
    )
    assert [seen.layers[name].activation for name in ("gate", "up", "down")] == ["silu", "none", "none"]


def test_one_activation_module_serves_every_layer_it_is_called_by():
    act = nn.ReLU(inplace=True)
    model = nn.Sequential(nn.Linear(5, 8), act, nn.Linear(8, 8), act, nn.Linear(8, 3))
    seen = capture(
        model, torch.randn(6, 5), lambda o: o.sum(), layers=choose_views(model, None), fields=("features", "outputs")
    )
    assert [layer.activation for layer in seen.layers.values()] == ["relu", "relu", "none"]
    for layer in seen.layers.values():
        expected = layer.outputs.relu() if layer.activation == "relu" else layer.outputs
        torch.testing.assert_close(layer.features, expected, rtol=0, atol=0)


def test_a_shape_without_a_row_per_sample_is_no_feature():
    layer = feature_of(lambda z: fn.relu(z.view(-1)).view(6, 8))
    torch.testing.assert_close(layer.features, layer.outputs, rtol=0, atol=0)
