"""Which layers are observed, and a row for every module that holds weights: measured, in part, or skipped and why."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from cloudchamber._core.errors import InvalidInput, Unsupported
from cloudchamber.anatomy import capture, choose_views, coverage_table
from cloudchamber.anatomy.layer_types import dense_view, register_layer_type


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
        self.pair = nn.Bilinear(8, 8, 8)
        self.bag = nn.EmbeddingBag(10, 8)
        self.shifts = nn.ParameterList([torch.zeros(8)])
        self.batch_norm = nn.BatchNorm1d(8)
        self.unused = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        x = self.norm(self.rms(self.embedding(tokens)))
        x = self.attention(x, x, x, need_weights=False)[0]
        x = self.lstm(x)[0]
        x = self.fold(x.flatten(0, 1)).view_as(x)
        x = self.own(self.slope(self.hidden(x))) + self.pair(x, x) + self.bag(tokens)[:, None]
        x = self.batch_norm(self.conv(x.transpose(1, 2)))
        return self.head(x.mean(2) * self.scale + self.shifts[0])


class OwnLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(8))

    def forward(self, x):
        return x @ self.weight


def table(model, inputs, layers=None, fields=("features",)):
    chosen = choose_views(model, layers)
    seen = capture(model, inputs, lambda out: out.sum(), layers=chosen, fields=fields)
    rows = coverage_table(model, {layer.view.name for layer in seen.layers.values()}, chosen, seen.unusable)
    return {row.module: row for row in rows}


def made_up(model, measured=None, layers=None, reasons=None, without_rows=()):
    """The table for what is said to be measured: all that was asked for, if nothing is."""
    chosen = choose_views(model, layers)
    names = [view.name for each in chosen.values() for view in each.views] if measured is None else measured
    rows = coverage_table(model, names, chosen, reasons or {}, without_rows)
    return {row.module: row.coverage for row in rows}


def test_every_module_with_weights_has_a_row_and_a_reason():
    model = Zoo()
    rows = table(model, torch.randint(0, 10, (5, 4)))
    holders = {name for name, module in model.named_modules() if list(module.parameters(recurse=False))}
    assert {name or "(the model itself)" for name in holders} == set(rows)
    measured = {name for name, row in rows.items() if row.coverage == "measured"}
    assert measured == {"embedding", "attention", "attention.out_proj", "lstm", "hidden", "conv", "head"}
    for name, reason in {
        "(the model itself)": "Zoo is not among the layer types that can be observed: it uses its own weights (scale)",
        "norm": "it is a normalization",
        "rms": "it is a normalization",
        "batch_norm": "it is a normalization",
        "slope": "it is an activation",
        "own": "OwnLayer is not among the layer types that can be observed: it uses its own weights (weight)",
        "pair": "matrices between two inputs",
        "bag": "adds the vectors of its tokens up",
        "shifts": "only holds weights",
        "unused": "did not call it as a module",
        "fold": "its output has shape (20, 8), whose first dimension is not",
    }.items():
        assert rows[name].coverage.startswith("skipped, because ")
        assert reason in rows[name].coverage
    assert rows["attention.out_proj"].module_type == "NonDynamicallyQuantizableLinear"


def test_layers_that_were_not_asked_for_say_so():
    rows = table(Zoo(), torch.randint(0, 10, (5, 4)), layers="head")
    assert rows["head"].coverage == "measured"
    assert rows["hidden"].coverage == "skipped, because `layers` does not name it"
    assert rows["lstm"].coverage == "skipped, because `layers` does not name it"
    assert "normalization" in rows["norm"].coverage


def test_a_module_of_which_some_layers_are_measured():
    rows = made_up(Zoo(), layers=["lstm.l0.*put_gate", "attention.query"])
    without = "measured in part, without {}, because `layers` does not name it"
    assert rows["lstm"] == without.format("l0.forget_gate, l0.cell_gate")
    assert rows["attention"] == without.format("key, value")
    assert rows["attention.out_proj"] == "skipped, because `layers` does not name it"


def test_reasons_of_calls_and_rows():
    model = nn.Sequential(nn.Linear(3, 4), nn.Conv1d(4, 4, 1, groups=2), nn.LSTM(4, 4), nn.Linear(4, 2))
    reasons = {"0": "it was odd", "2": "its dropout drew other random numbers", "3": "it was odd"}
    rows = made_up(model, measured=["0", "1"], reasons=reasons, without_rows=["1"])
    assert rows["0"] == "measured in part, without some of its calls, because it was odd"
    assert rows["1"].startswith(
        "measured in part, without the gradients of its weight for single samples, because one "
    )
    assert rows["2"] == "skipped, because its dropout drew other random numbers"
    assert rows["3"] == "skipped, because it was odd"


def test_weights_beside_the_neurons_are_named():
    class Adapted(nn.Linear):
        def __init__(self):
            super().__init__(3, 4)
            self.low_rank = nn.Parameter(torch.zeros(4, 1))

    model = nn.ModuleList([nn.MultiheadAttention(4, 2, add_bias_kv=True), Adapted(), nn.GRU(3, 4)])
    rows = made_up(model)
    assert rows["0"] == "measured in part, without bias_k, bias_v, because no neurons are made of that"
    assert rows["1"] == "measured in part, without low_rank, because no neurons are made of that"
    assert rows["2"] == "measured"


def test_shared_weights_name_each_other():
    model = nn.ModuleDict({"tokens": nn.Embedding(5, 3), "body": nn.Linear(3, 3), "head": nn.Linear(3, 5, bias=False)})
    model["head"].weight = model["tokens"].weight
    rows = made_up(model)
    text = "measured in part, without what {} adds to the gradient of its weight, because both hold the same weight"
    assert rows["head"] == text.format("tokens")
    assert rows["tokens"] == text.format("head")
    assert rows["body"] == "measured"


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
        ("Linear", ["0.fc1", "0.fc2", "1.fc1", "1.fc2"]),
        (nn.Linear, ["0.fc1", "0.fc2", "1.fc1", "1.fc2"]),
    ],
)
def test_patterns(patterns, names):
    assert list(choose_views(blocks(), patterns)) == names


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("lstm", ["lstm"]),
        ([nn.Conv1d, "Embedding"], ["embedding", "conv"]),
        ([nn.RNNBase, "fold"], ["lstm", "fold"]),
        ("attention*", ["attention"]),
        ("RNNBase", ["lstm"]),
        (nn.Module, ["embedding", "attention", "lstm", "fold", "hidden", "conv", "unused", "head"]),
    ],
)
def test_types_and_patterns_of_many_kinds(layers, names):
    chosen = choose_views(Zoo(), layers)
    assert list(chosen) == names
    assert [len(each.views) for each in chosen.values()] == [4 if n in ("attention", "lstm") else 1 for n in names]


def test_layers_inside_of_modules():
    chosen = choose_views(Zoo(), ["lstm.l0.*", "*.out_proj", "attention.k*"])
    names = [view.name for each in chosen.values() for view in each.views]
    gates = [f"lstm.l0.{gate}_gate" for gate in ("input", "forget", "cell", "output")]
    assert names == ["attention.key", "attention.out_proj", *gates]
    assert [chosen[name].composite.name for name in chosen] == ["MultiheadAttention", "LSTM"]


@pytest.mark.parametrize("patterns", ["fc1", "2.*", ["0.fc1", "nothing"], "0.FC1", [], "", (), nn.Conv2d, "Module"])
def test_what_matches_nothing_is_refused(patterns):
    with pytest.raises(InvalidInput, match="Remedy"):
        choose_views(blocks(), patterns)


def test_what_does_not_match_is_told_what_there_is():
    with pytest.raises(InvalidInput, match=r"'0', '0.l0.reset_gate'.* a type among \['GRU'\]; got 'Lin'"):
        choose_views(nn.Sequential(nn.GRU(2, 2)), "Lin")


@pytest.mark.parametrize("model", [nn.LayerNorm(3), nn.ReLU(), nn.Sequential(), OwnLayer()])
def test_a_model_without_any_known_layer_is_refused(model):
    with pytest.raises(InvalidInput, match=r"at least one layer among \['Linear', 'Conv1d', .*'MultiheadAttention'\]"):
        choose_views(model, None)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (nn.Linear(2, 3), ["(the model itself)"]),
        (nn.RNN(2, 3), ["l0"]),
        (nn.RNNCell(2, 3), ["(the model itself)"]),
        (nn.MultiheadAttention(4, 2), ["query", "key", "value", "out_proj"]),
    ],
)
def test_the_model_itself_can_be_the_layer(model, names):
    chosen = choose_views(model, None)
    assert list(chosen) == ["(the model itself)"]
    assert [view.name for view in chosen["(the model itself)"].views] == names
    assert set(made_up(model).values()) == {"measured"}


def test_layers_of_a_transformer_are_those_of_its_parts():
    model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    names = [view.name for each in choose_views(model, None).values() for view in each.views]
    assert "encoder.layers.0.self_attn.query" in names
    assert "decoder.layers.0.multihead_attn.out_proj" in names
    assert "encoder.layers.0.linear1" in names
    assert len(names) == 3 * 4 + 2 * 2 == len(set(names))


def test_an_own_type_is_observed_once_it_is_registered():
    class Once(OwnLayer):
        pass

    model, x = nn.Sequential(nn.Linear(3, 8), Once(), nn.Tanh()), torch.randn(4, 3)
    assert table(model, x)["1"].coverage.startswith("skipped, because Once is not among")
    register_layer_type(Once, lambda name, module: dense_view(name, module, neurons=lambda: module.weight.detach().T))
    assert table(model, x)["1"].coverage == "measured"
    seen = capture(
        model, x, lambda out: out.sum(), layers=choose_views(model, None), fields=("inputs", "output_gradients")
    )
    X, G = seen.layers["1"].view.factors(seen.layers["1"].inputs, seen.layers["1"].output_gradients)
    model(x).sum().backward()
    torch.testing.assert_close(torch.einsum("nph,npd->hd", G, X), model[1].weight.grad.T)
    assert seen.layers["1"].activation == "tanh"


@pytest.mark.parametrize(
    "view",
    [
        lambda name, module: dense_view("other", module, neurons=lambda: torch.zeros(2, 2)),
        lambda name, module: None,
        lambda name, module: "view",
    ],
)
def test_a_registered_view_that_breaks_the_rules_is_refused(view):
    class Wrong(OwnLayer):
        pass

    register_layer_type(Wrong, view)
    with pytest.raises(InvalidInput, match="the view of Wrong '0' is a LayerView of that name"):
        choose_views(nn.Sequential(Wrong()), None)


def test_a_model_whose_shapes_are_not_known_yet_is_refused_and_stays_lazy():
    model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    with pytest.raises(InvalidInput, match="run one batch"):
        choose_views(model, None)
    assert model[0].has_uninitialized_params()


def test_subclasses_count_as_the_layer_and_shared_modules_have_one_row():
    class MyLinear(nn.Linear):
        pass

    shared = MyLinear(5, 5)
    rows = table(nn.Sequential(shared, nn.ReLU(), shared), torch.randn(4, 5))
    assert list(rows) == ["0"]
    assert rows["0"].coverage == "measured"
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
    assert rows["b"].coverage == "measured"


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
    assert rows["0"].coverage == "measured"
    assert rows["2"].coverage == "measured"
    assert not any(name.endswith("parametrizations.weight") for name in rows)
    seen = capture(model, x, lambda out: out.sum(), layers=choose_views(model, None), fields=("weight",))
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
            layers=choose_views(model, None),
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
            layers=choose_views(model, None),
            fields=("output_gradients",),
        )
