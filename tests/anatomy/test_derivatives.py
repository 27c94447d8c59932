"""Gates, gradients of single outputs, and which layer receives which feature."""

import pytest
import torch
from models_zoo import ZOO
from torch import nn
from torch.nn import functional as fn

from cloudchamber._core.errors import InvalidInput
from cloudchamber.anatomy import capture, choose_views

N = 6


def seen_in(model, x, fields, loss=None, **options):
    chosen = choose_views(model, None)
    return capture(model, x, loss or (lambda out: out.square().sum()), layers=chosen, fields=fields, **options)


class Behind(nn.Module):
    def __init__(self, behind):
        super().__init__()
        self.layer, self.behind = nn.Linear(5, 8), behind

    def forward(self, x):
        return self.behind(self.layer(x)).flatten(1)


SCALE = torch.linspace(-1, 2, 8, dtype=torch.float64)
OTHER = torch.randn(N, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
ENTRYWISE = {
    "relu": torch.relu,
    "in place": lambda z: z.relu_(),
    "gelu": fn.gelu,
    "tanh scaled": lambda z: torch.tanh(SCALE * z + 1),
    "silu by hand": lambda z: z * torch.sigmoid(z),
    "x tanh": lambda z: z * torch.tanh(z),
    "leaky by where": lambda z: torch.where(z > 0, z, 0.1 * z),
    "after addition": lambda z: torch.tanh(z + OTHER),
    "nothing": lambda z: z,
    "viewed": lambda z: torch.relu(z.view(N, 2, 4)),
    "norm in evaluation": nn.Sequential(nn.BatchNorm1d(8), nn.Tanh()),
}


@pytest.mark.parametrize("case", ENTRYWISE)
def test_gates_are_the_derivative_of_each_entry(case):
    torch.manual_seed(0)
    model, x = Behind(ENTRYWISE[case]).double().eval(), torch.randn(N, 5, dtype=torch.float64)
    layer = seen_in(model, x, {"outputs", "gates", "output_gradients", "feature_gradients"}).layers["layer"]

    def one(z):
        return ENTRYWISE[case](z.clone()).flatten(1)

    jacobian = torch.autograd.functional.jacobian(lambda z: one(z).sum(0), layer.outputs)  # (8, n, 8)
    expected = torch.diagonal(jacobian, dim1=0, dim2=2)
    torch.testing.assert_close(layer.gates, expected, rtol=1e-10, atol=1e-12)
    chained = layer.gates * layer.feature_gradients.reshape(layer.gates.shape)
    torch.testing.assert_close(chained, layer.output_gradients, rtol=1e-10, atol=1e-12)


NOT_ENTRYWISE = {
    "layer norm": lambda z: torch.relu(fn.layer_norm(z, (8,))),
    "pool": lambda z: torch.relu(fn.max_pool1d(z, 2)),
    "transposed": lambda z: torch.relu(z.view(N, 2, 4).transpose(1, 2)),
}


@pytest.mark.parametrize("case", NOT_ENTRYWISE)
def test_there_are_no_gates_where_entries_mix(case):
    torch.manual_seed(0)
    layer = seen_in(Behind(NOT_ENTRYWISE[case]), torch.randn(N, 5), {"gates"}).layers["layer"]
    assert layer.activation == "relu"
    assert layer.gates is None


def test_batch_statistics_mix_samples():
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    for training in (False, True):
        layers = seen_in(model, torch.randn(N, 5), {"gates"}, training_mode=training).layers
        assert (layers["0"].gates is None) == training
        assert layers["0"].outputs is None  # they were needed, but not asked for


@pytest.mark.parametrize("samples", [None, [4, 0, 1]])
@pytest.mark.parametrize(
    "name", ["MLP", "CNN with batch norm", "ResNet", "ViT", "tiny GPT", "LSTM", "shared autoencoder"]
)
def test_gradients_of_single_outputs_are_those_of_every_sample_alone(name, samples):
    case, dtype = ZOO[name], torch.float64
    model, (x, _) = case.make(dtype).eval(), case.batch(dtype=dtype, samples=N)

    def forward(model, x):
        out = model(x)
        return out if out.ndim == 2 else out[:, -1]

    chosen = None if samples is None else torch.tensor(samples)
    fields = {"inputs", "outputs", "per_output_gradients"}
    seen = seen_in(model, x, fields, forward=forward, kernel_samples=chosen)
    outputs = seen.outputs.shape[1]
    rows = range(N) if samples is None else samples
    for place, sample in enumerate(rows):
        for output in range(0, outputs, 2):
            alone = seen_in(
                model,
                x[sample : sample + 1],
                {"output_gradients"},
                lambda out, o=output: out[:, o].sum(),
                forward=forward,
            )
            for key, layer in seen.layers.items():
                assert layer.per_output_gradients.shape[:2] == (len(rows), outputs)
                found = layer.per_output_gradients[place, output]
                torch.testing.assert_close(found, alone.layers[key].output_gradients[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["MLP", "ResNet", "tiny GPT", "LSTM"])
def test_their_rows_give_the_gradients_of_the_weights(name):
    case, dtype = ZOO[name], torch.float64
    model, (x, _) = case.make(dtype).eval(), case.batch(dtype=dtype, samples=N)

    def forward(model, x):
        out = model(x)
        return out if out.ndim == 2 else out[:, -1]

    chosen = torch.tensor([3, 1])
    seen = seen_in(model, x, {"inputs", "outputs", "per_output_gradients"}, forward=forward, kernel_samples=chosen)
    for key, layer in seen.layers.items():
        for output in (0, 2):
            X, G = layer.per_output_factors(output)
            found = torch.einsum("mph,mpd->hd", G, X)
            if layer.per_output_rows is not None:
                torch.testing.assert_close(layer.per_output_rows[:, output], G)
            model.zero_grad()
            forward(model, x[chosen])[:, output].sum().backward()
            owner = model.get_submodule(layer.module)
            if hasattr(owner, "weight"):
                torch.testing.assert_close(found, owner.weight.grad.flatten(1), rtol=1e-9, atol=1e-12, msg=key)


def test_too_many_outputs_are_refused():
    model = nn.Linear(4, 101)
    with pytest.raises(InvalidInput, match="at most 100 outputs; got a network with 101"):
        seen_in(model, torch.ones(3, 4), {"per_output_gradients"})
    seen_in(model, torch.ones(3, 4), {"per_output_gradients"}, most_outputs=101)


def test_outputs_that_do_not_depend_on_a_layer_have_zero_gradients():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.unused = nn.Linear(4, 2), nn.Linear(4, 1), nn.Linear(4, 2)

        def forward(self, x):
            self.unused(x)
            return torch.cat([self.a(x), self.b(x)], 1)

    layers = seen_in(TwoHeads(), torch.randn(3, 4), {"per_output_gradients"}).layers
    assert layers["a"].per_output_gradients[:, :2].abs().sum() > 0
    assert layers["a"].per_output_gradients[:, 2].abs().sum() == 0
    assert layers["unused"].per_output_gradients is None


class Chain(nn.Module):
    def __init__(self, between, inputs=8):
        super().__init__()
        self.a, self.b, self.between = nn.Linear(5, 8), nn.Linear(inputs, 3), between

    def forward(self, x):
        return self.b(self.between(torch.relu(self.a(x)))).flatten(1)


BETWEEN = {
    "nothing": (lambda f: f, "b"),
    "dropout in evaluation": (nn.Dropout(0.5), "b"),
    "identity": (nn.Identity(), "b"),
    "flatten and back": (lambda f: f.view(N, 2, 4).flatten(1), "b"),
    "unsqueeze": (lambda f: f.unsqueeze(1), "b"),
    "reshaped copy": (lambda f: f.view(N, 2, 4).transpose(1, 2).transpose(1, 2).reshape(N, 8), ""),
    "contiguous": (lambda f: f.contiguous().clone(), "b"),
    "scaled": (lambda f: 2 * f, ""),
    "added": (lambda f: f + 1, ""),
    "permuted": (lambda f: f.flip(1), ""),
    "normalized": (nn.LayerNorm(8), ""),
    "in place": (lambda f: f.mul_(2), ""),
    "pooled": (lambda f: f.view(N, 1, 8).expand(N, 2, 8).mean(1), ""),
}


@pytest.mark.parametrize("case", BETWEEN)
def test_the_layer_that_receives_a_feature(case):
    between, following = BETWEEN[case]
    layers = seen_in(Chain(between).eval(), torch.randn(N, 5), {"features", "inputs"}).layers
    assert (layers["a"].next, layers["b"].next) == (following, "")
    if following:
        assert torch.equal(layers["a"].features.flatten(1), layers["b"].inputs.flatten(1))


def test_with_dropout_on_nothing_receives_the_feature():
    model = Chain(nn.Dropout(0.5))
    assert seen_in(model, torch.randn(N, 5), {"features"}, training_mode=True).layers["a"].next == ""


def test_channels_last_images_are_the_same_feature_in_another_layout():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3)).to(
        memory_format=torch.channels_last
    )
    x = torch.randn(N, 2, 6, 6).to(memory_format=torch.channels_last)
    layers = seen_in(model, x, {"features", "inputs"}).layers
    assert layers["0"].next == "3"
    assert torch.equal(layers["0"].features.flatten(1), layers["3"].inputs)


def test_the_first_of_several_receivers_is_named():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(8, 3)

        def forward(self, x):
            f = torch.relu(self.a(x))
            return self.b(f) + self.c(f)

    assert seen_in(Fork(), torch.randn(N, 5), {"features"}).layers["a"].next == "b"


@pytest.mark.parametrize("name", ZOO)
def test_rows_are_those_of_the_view(name):
    case = ZOO[name]
    model, (x, y) = case.make(), case.batch()
    fields = {"inputs", "outputs", "features", "output_gradients", "feature_gradients", "gates", "weight"}
    seen = seen_in(model, x, fields, lambda out: case.loss(out, y))
    for key, layer in seen.layers.items():
        X, G = layer.view.factors(layer.inputs, layer.output_gradients)
        assert torch.equal(layer.input_rows, X)
        assert torch.equal(layer.gradient_rows, G)
        assert layer.weight.shape == (layer.view.width, layer.view.fan_in + layer.view.bias), key
        if layer.view.neuron_axis is not None:
            assert layer.feature_rows.shape[2] == layer.view.width
            assert layer.feature_gradient_rows.shape == layer.feature_rows.shape
            assert layer.gate_rows.shape == G.shape
