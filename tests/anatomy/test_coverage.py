"""A row for every module that holds weights: measured, or skipped and why."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from cloudchamber._core.errors import InvalidInput, Unsupported
from cloudchamber.anatomy import capture, choose_layers, coverage


class Zoo(nn.Module):
    """One of everything, and a parameter on the model itself."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8))
        self.embedding = nn.Embedding(10, 8)
        self.norm = nn.LayerNorm(8)
        self.rms = nn.RMSNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.fold = nn.Linear(8, 8)
        self.hidden = nn.Linear(8, 8)
        self.conv = nn.Conv1d(8, 8, 1)
        self.slope = nn.PReLU()
        self.own = OwnLayer()
        self.batch_norm = nn.BatchNorm1d(8)
        self.unused = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        x = self.norm(self.rms(self.embedding(tokens)))
        x = self.attention(x, x, x, need_weights=False)[0]
        x = self.lstm(x)[0]
        x = self.fold(x.flatten(0, 1)).view_as(x)
        x = self.own(self.slope(self.hidden(x)))
        x = self.batch_norm(self.conv(x.transpose(1, 2)))
        return self.head(x.mean(2) * self.scale)


class OwnLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(8))

    def forward(self, x):
        return x @ self.weight


def table(model, inputs, layers=None):
    chosen = choose_layers(model, layers)
    seen = capture(model, inputs, lambda out: out.sum(), layers=chosen, fields=("features",))
    rows = coverage(model, {layer.module for layer in seen.layers.values()}, chosen, dict(seen.unusable))
    return {row.module: row for row in rows}


def test_every_module_with_weights_has_a_row_and_a_reason():
    model = Zoo()
    rows = table(model, torch.randint(0, 10, (5, 4)))
    holders = {name for name, module in model.named_modules() if list(module.parameters(recurse=False))}
    assert {name or "(the model itself)" for name in holders} == set(rows)
    assert {name for name, row in rows.items() if row.measured} == {"hidden", "head"}
    assert all(row.measured == (row.coverage == "measured") for row in rows.values())
    for name, reason in {
        "(the model itself)": "Zoo is not among the layer types that can be observed (Linear and Conv2d)",
        "embedding": "Embedding is not among the layer types",
        "norm": "it is a normalization",
        "rms": "it is a normalization",
        "batch_norm": "it is a normalization",
        "slope": "it is an activation",
        "attention": "MultiheadAttention is not among",
        "attention.out_proj": "did not call it as a module",
        "lstm": "LSTM is not among",
        "conv": "Conv1d is not among",
        "own": "OwnLayer is not among",
        "unused": "did not call it as a module",
        "fold": "its output has shape (20, 8), whose first dimension is not the probe's 5 samples",
    }.items():
        assert rows[name].coverage.startswith("skipped, because ")
        assert reason in rows[name].coverage
    assert rows["attention.out_proj"].module_type == "NonDynamicallyQuantizableLinear"


def test_layers_that_were_not_asked_for_say_so():
    rows = table(Zoo(), torch.randint(0, 10, (5, 4)), layers="head")
    assert rows["head"].measured
    assert rows["hidden"].coverage == "skipped, because `layers` does not name it"
    assert "normalization" in rows["norm"].coverage


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 5), nn.Linear(5, 5)

    def forward(self, x):
        return self.fc2(self.fc1(x))


def blocks():
    return nn.Sequential(Block(), Block())


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (None, ["0.fc1", "0.fc2", "1.fc1", "1.fc2"]),
        ("1.fc2", ["1.fc2"]),
        ("*.fc1", ["0.fc1", "1.fc1"]),
        (["1.*", "0.fc2"], ["0.fc2", "1.fc1", "1.fc2"]),
        (("?.fc[12]",), ["0.fc1", "0.fc2", "1.fc1", "1.fc2"]),
    ],
)
def test_patterns(patterns, names):
    assert list(choose_layers(blocks(), patterns)) == names


@pytest.mark.parametrize("patterns", ["fc1", "2.*", ["0.fc1", "nothing"], "0.FC1", [], "", ()])
def test_patterns_without_a_match_are_refused(patterns):
    with pytest.raises(InvalidInput, match="Remedy"):
        choose_layers(blocks(), patterns)


@pytest.mark.parametrize("model", [nn.LSTM(3, 4), nn.ReLU(), nn.Sequential(), nn.Embedding(3, 4)])
def test_a_model_without_any_known_layer_is_refused(model):
    with pytest.raises(InvalidInput, match=r"at least one layer among \['Linear', 'Conv2d'\]"):
        choose_layers(model, None)


def test_a_model_whose_shapes_are_not_known_yet_is_refused_and_stays_lazy():
    model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    with pytest.raises(InvalidInput, match="run one batch"):
        choose_layers(model, None)
    assert model[0].has_uninitialized_params()


def test_subclasses_count_as_the_layer_and_shared_modules_have_one_row():
    class MyLinear(nn.Linear):
        pass

    shared = MyLinear(5, 5)
    rows = table(nn.Sequential(shared, nn.ReLU(), shared), torch.randn(4, 5))
    assert list(rows) == ["0"]
    assert rows["0"].measured
    assert rows["0"].module_type == "MyLinear"


def test_complex_layers_are_skipped():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(5, 4, dtype=torch.complex64), nn.Linear(4, 3)

        def forward(self, x):
            return self.b(self.a(x.to(torch.complex64)).abs())

    rows = table(Complex(), torch.randn(4, 5))
    assert "of type torch.complex64, not of real numbers" in rows["a"].coverage
    assert rows["b"].measured


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, weight):
        return weight * self.gain


def test_parametrized_layers_are_seen_with_their_effective_weight():
    model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3))
    parametrize.register_parametrization(model[0], "weight", Doubled())
    parametrizations.weight_norm(model[2])
    x = torch.randn(4, 5)
    rows = table(model, x)
    assert rows["0"].measured
    assert rows["2"].measured
    assert not any(name.endswith("parametrizations.weight") for name in rows)
    seen = capture(model, x, lambda out: out.sum(), layers=choose_layers(model, None), fields=())
    torch.testing.assert_close(seen.layers["0"].weight, model[0].weight.detach())
    torch.testing.assert_close(seen.layers["2"].weight[:, :-1], model[2].weight.detach())


@pytest.mark.parametrize("training_mode", [False, True])
def test_reading_a_spectrally_normalized_weight_changes_nothing(training_mode):
    torch.manual_seed(0)
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(5, 4)), nn.ReLU(), nn.Linear(4, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(3):
        capture(
            model,
            torch.randn(4, 5),
            lambda out: out.sum(),
            layers=choose_layers(model, None),
            fields=("feature_gradients",),
            training_mode=training_mode,
        )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Returns(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.a, self.change = nn.Linear(5, 3), change

    def forward(self, x):
        return self.change(self.a(x))


@pytest.mark.parametrize("change", [lambda z: (z, z), lambda z: {"logits": z}, lambda z: None])
def test_a_model_that_does_not_return_a_tensor_is_refused(change):
    with pytest.raises(Unsupported, match=r"the model returns one tensor; got (tuple|dict|NoneType)"):
        table(Returns(change), torch.randn(4, 5))


@pytest.mark.parametrize("change", [lambda z: z.sum(), lambda z: z[:2], lambda z: z.flatten()])
def test_a_model_without_a_row_per_sample_is_refused(change):
    with pytest.raises(Unsupported, match="a row for each of the probe's 4 samples"):
        table(Returns(change), torch.randn(4, 5))


def test_a_backward_pass_that_cannot_be_made_is_explained():
    class Overwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(5, 3)

        def forward(self, x):
            h = self.a(x).relu()
            h += 1
            return h

    model = Overwrites()
    with pytest.raises(Unsupported, match="modified by an inplace operation"):
        capture(
            model,
            torch.randn(4, 5),
            lambda out: out.sum(),
            layers=choose_layers(model, None),
            fields=("output_gradients",),
        )
